"""Rendered Quadlets through podman's own generator: the units it makes start what was planned."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from planner.rendering.parsing import systemd_words, unit_settings
from tests.real.judges import quadlet_units

pytestmark = pytest.mark.tools

EXAMPLES = Path(__file__).parents[2] / "examples"
BUNDLES = sorted(EXAMPLES.glob("*/bundle/quadlet"))


def podman_words(unit: str) -> tuple[str, ...]:
    lines = [value for section, key, value in unit_settings(unit) if (section, key) == ("Service", "ExecStart")]
    return systemd_words(lines[0], {"N": "name", "t": "/run"}, {"PLANNER_PORT": "1"})


@pytest.mark.parametrize("folder", BUNDLES, ids=lambda path: path.parts[-3])
def test_podman_is_told_what_compose_is_told(folder: Path) -> None:
    """Image, words, variables, health and limits of each service, decoded from both files."""
    compose = yaml.safe_load((folder.parent / "compose" / "compose.yaml").read_text())
    units = quadlet_units(folder)
    for file in sorted(folder.glob("*.container")):
        name = file.stem.removeprefix("planner-")
        if name == "router":
            continue
        service = compose["services"][name]
        words = podman_words(units[f"{file.stem}.service"])
        plain = [word.replace("$$", "$") for word in service.get("entrypoint", []) + service["command"]]
        image = words.index(service["image"])
        entrypoint = plain[:1] if service.get("entrypoint") else []
        assert list(words[image + 1 :]) == plain[len(entrypoint) :]
        if entrypoint:
            assert words[words.index("--entrypoint") + 1] == entrypoint[0]
        given = {words[i + 1] for i, word in enumerate(words) if word == "--env"}
        assert given == {f"{key}={value}" for key, value in service.get("environment", {}).items()}
        health = json.loads(words[words.index("--health-cmd") + 1])
        assert health == [word.replace("$$", "$") for word in service["healthcheck"]["test"][1:]]
        limits = service["deploy"]["resources"]["limits"]
        assert f"--memory={limits['memory']}" in words
        assert "--read-only" in words if service["read_only"] else "--read-only" not in words


def test_there_are_bundles() -> None:
    assert len(BUNDLES) >= 5
