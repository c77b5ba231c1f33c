"""Bundles on disk: whole or not at all, untouched when equal, cleaned up, never outside the folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from planner.errors import RenderError
from planner.rendering import Bundle, lay_out, write
from planner.rendering.write import check_bundle, diff_bundle, write_bundle
from tests.rendering import plans


def bundle(case: str = "team-router", target: str = "compose") -> Bundle:
    plan, units = plans.CASES[case]()
    return lay_out(plan, units, target)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_writing_twice_changes_nothing(tmp_path: Path) -> None:
    first = write_bundle(bundle(), tmp_path)
    assert set(first.changed) == set(bundle())
    stamps = {path: (tmp_path / path).stat().st_mtime_ns for path in bundle()}
    second = write_bundle(bundle(), tmp_path)
    assert (second.changed, second.removed) == ((), ())
    assert set(second.unchanged) == set(bundle())
    assert stamps == {path: (tmp_path / path).stat().st_mtime_ns for path in bundle()}
    assert not check_bundle(bundle(), tmp_path)
    assert diff_bundle(bundle(), tmp_path) == ""


def test_modes_are_set_and_checked(tmp_path: Path) -> None:
    scripts = bundle("cpu-numa", "launch")
    write_bundle(scripts, tmp_path)
    assert (tmp_path / "interactive.sh").stat().st_mode & 0o777 == 0o755
    (tmp_path / "interactive.sh").chmod(0o644)
    assert [str(d) for d in check_bundle(scripts, tmp_path)] == ["mode: interactive.sh"]
    write_bundle(scripts, tmp_path)
    assert not check_bundle(scripts, tmp_path)


def test_check_tells_missing_different_and_stale_apart(tmp_path: Path) -> None:
    write_bundle(bundle(), tmp_path)
    (tmp_path / "compose.yaml").write_text("name: mine\n")
    (tmp_path / "README.md").unlink()
    plan, units = plans.team()
    smaller = lay_out(replace(plan, router=None), units, "compose")
    found = {d.path: d.kind for d in check_bundle(smaller, tmp_path)}
    assert found["compose.yaml"] == "different"
    assert found["README.md"] == "missing"
    assert found["router/router.py"] == "stale"
    before = tree(tmp_path)
    text = diff_bundle(smaller, tmp_path)
    assert "--- compose.yaml\n+++ compose.yaml\n" in text
    assert "-name: mine\n" in text
    assert "--- /dev/null\n+++ README.md\n" in text
    assert "--- router/router.py\n+++ /dev/null\n" in text
    assert tree(tmp_path) == before


def test_what_an_older_plan_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    write_bundle(bundle(), tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "router" / "Dockerfile").write_text("FROM mine\n")
    plan, units = plans.team()
    done = write_bundle(lay_out(replace(plan, router=None), units, "compose"), tmp_path)
    assert "router/router.py" in done.removed
    assert done.kept == ("router/Dockerfile",)
    assert not (tmp_path / "router" / "router.py").exists()
    assert not (tmp_path / "config" / "router.json").exists()
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert (tmp_path / "router" / "Dockerfile").read_text() == "FROM mine\n"


def test_targets_share_a_folder_without_touching_each_other(tmp_path: Path) -> None:
    write_bundle(bundle("cpu-numa", "launch"), tmp_path)
    done = write_bundle(bundle("cpu-numa", "systemd"), tmp_path)
    assert done.removed == ()
    assert (tmp_path / "interactive.sh").exists()


def test_all_targets_have_a_manifest_each(tmp_path: Path) -> None:
    together = bundle("cpu-numa", "all")
    write_bundle(together, tmp_path)
    assert (tmp_path / "compose" / "planner-manifest.compose.json").exists()
    assert not check_bundle(together, tmp_path)


def test_another_planner_version_is_no_difference(tmp_path: Path) -> None:
    write_bundle(bundle(), tmp_path)
    manifest = tmp_path / "planner-manifest.compose.json"
    document = json.loads(manifest.read_text()) | {"planner_version": "9.9.9"}
    manifest.write_text(json.dumps(document, indent=2) + "\n")
    assert not check_bundle(bundle(), tmp_path)


@pytest.mark.parametrize("path", ["../out", "/etc/x", "a/../../b", "", "a\\..\\b"])
def test_nothing_is_written_outside(tmp_path: Path, path: str) -> None:
    folder = tmp_path / "in"
    with pytest.raises(RenderError, match="outside"):
        write_bundle(Bundle("compose", path, {"first": "x\n", path: "x\n"}), folder)
    assert not tree(tmp_path)


def test_links_do_not_lead_outside(tmp_path: Path) -> None:
    folder, other = tmp_path / "in", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    (folder / "config").symlink_to(other)
    with pytest.raises(RenderError, match="through a link"):
        write_bundle(bundle(), folder)
    assert not tree(other)


def test_a_forged_manifest_removes_nothing_outside(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write_bundle(bundle(), folder)
    (tmp_path / "victim").write_text("x")
    manifest = folder / "planner-manifest.compose.json"
    document = json.loads(manifest.read_text())
    document["files"].append({"path": "../victim", "mode": "0644", "sha256": "0"})
    manifest.write_text(json.dumps(document))
    with pytest.raises(RenderError, match="outside"):
        write_bundle(bundle(), folder)
    assert (tmp_path / "victim").exists()


def test_a_manifest_that_is_none_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "planner-manifest.compose.json").write_text("[]")
    with pytest.raises(RenderError, match="no manifest") as caught:
        write_bundle(bundle(), tmp_path)
    assert "delete" in (caught.value.hint or "")


@pytest.mark.parametrize("after", [0, 3])
def test_a_full_disk_leaves_the_old_bundle_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    write_bundle(bundle("cpu-numa"), tmp_path)
    before = tree(tmp_path)
    calls = 0

    def full(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls > after:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(write.os, "fsync", full)
    with pytest.raises(RenderError, match="No space left") as caught:
        write_bundle(bundle("team-router"), tmp_path)
    assert caught.value.hint
    assert tree(tmp_path) == before
    assert not (tmp_path / "router").exists()


def test_a_file_where_the_folder_belongs_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(RenderError):
        write_bundle(bundle(), tmp_path / "out")
    assert (tmp_path / "out").read_text() == "a file"


def test_a_folder_where_a_file_belongs_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").mkdir()
    with pytest.raises(RenderError):
        write_bundle(bundle(), tmp_path)
