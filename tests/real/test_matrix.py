"""Every example machine with every server: each target's real consumer takes each distinct bundle without a word."""

from __future__ import annotations

import plistlib
from pathlib import Path

import pytest

from tests import matrix
from tests.real.judges import (
    both_cores,
    compose_objections,
    is_exposed,
    kustomized,
    manifest_objections,
    quadlet_units,
    run,
    stage,
    started,
    verifier_objections,
)

pytestmark = pytest.mark.tools

YAML_RULES = "{extends: default, rules: {line-length: disable, document-start: disable}}"


def written(target: str, folder: Path) -> list[Path]:
    """A folder for each distinct bundle of the target."""
    found = matrix.bundles(target)
    assert len(found) > len(matrix.MACHINES)
    return [matrix.put(bundle, folder / cell.name) for cell, bundle in found]


def test_docker_compose_accepts_every_fresh_bundle(tmp_path: Path) -> None:
    judged = both_cores(lambda folder: compose_objections(folder, "--profile", "*"), written("compose", tmp_path))
    assert {folder.name: text for folder, text in judged.items() if text} == {}


def halves(files: list[Path]) -> list[tuple[Path, ...]]:
    """Two parts of a list, for a program each; neither is empty."""
    middle = len(files) // 2
    assert middle
    return [tuple(files[:middle]), tuple(files[middle:])]


def verified(folder: Path) -> str:
    """What systemd says against the units of a folder, all in one call."""
    root = stage(folder, folder.parent / "roots" / folder.name, {"usr/bin/python3", "bin/sh", *started(folder)})
    units = sorted(path.name for path in (root / "etc/systemd/system").glob("*.service"))
    assert units
    return verifier_objections(root, *(unit.replace("@.service", "@0.service") for unit in units))


def test_systemd_verifies_every_unit_without_a_word(tmp_path: Path) -> None:
    judged = both_cores(verified, written("systemd", tmp_path))
    assert {folder.name: text for folder, text in judged.items() if text} == {}


def test_a_broken_unit_among_sound_ones_is_found(tmp_path: Path) -> None:
    folder = matrix.put(matrix.bundles("systemd")[0][1], tmp_path / "bundle")
    unit = max(folder.glob("*.service"))
    unit.write_text(unit.read_text().replace("Type=exec\n", "Type=exec\nMemoryMaximum=1G\n"))
    assert "MemoryMaximum" in verified(folder)


def test_every_unit_is_sandboxed(tmp_path: Path) -> None:
    units = [text.put(tmp_path) for text in matrix.texts(".service") if text.target == "systemd"]
    assert units
    assert [unit for unit, weak in both_cores(is_exposed, units).items() if weak] == []


def test_podmans_generator_takes_every_file(tmp_path: Path) -> None:
    for folder, made in both_cores(quadlet_units, written("quadlet", tmp_path)).items():
        assert {f"{file.stem}.service" for file in folder.glob("*.container")} <= made.keys()


def test_kubernetes_validates_every_manifest(tmp_path: Path) -> None:
    manifests = [text.put(tmp_path) for text in matrix.texts(".yaml") if _is_manifest(text)]
    judged = both_cores(lambda files: manifest_objections(*files), halves(manifests))
    assert set(judged.values()) == {""}


def _is_manifest(text: matrix.Text) -> bool:
    return text.target == "kubernetes" and "config/" not in text.path and "kustomization" not in text.path


def test_kustomize_finds_every_part(tmp_path: Path) -> None:
    seen = set()
    for cell, bundle in matrix.bundles("kubernetes"):
        parts = tuple(sorted(bundle))
        if parts not in seen:
            seen.add(parts)
            assert "kind: Deployment" in kustomized(matrix.put(bundle, tmp_path / cell.name))


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (("yamllint", "--strict", "-d", YAML_RULES), ".yaml"),
        (("hadolint",), "Dockerfile"),
        (("shellcheck",), ".sh"),
    ],
)
def test_linters_take_every_file_of_their_kind(command: tuple[str, ...], name: str, tmp_path: Path) -> None:
    files = [text.put(tmp_path) for text in matrix.texts(name)]
    for done in both_cores(lambda part: run(*command, *part), halves(files)).values():
        assert done.returncode == 0, done.stdout


def test_property_lists_are_agents_of_their_own_name() -> None:
    for text in matrix.texts(".plist"):
        assert plistlib.loads(text.text.encode())["Label"] == Path(text.path).stem
