"""The hooks and the workflow of docs/ci.md, judged and run by the real pre-commit and check-jsonschema."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.documents import ROOT, blocks
from tests.real.judges import run

pytestmark = pytest.mark.tools

MANIFEST = ROOT / ".pre-commit-hooks.yaml"


def test_the_manifest_and_the_configurations_are_valid(tmp_path: Path) -> None:
    done = run("pre-commit", "validate-manifest", MANIFEST)
    assert done.returncode == 0, done.stdout
    configurations = [text for name, text in blocks("ci.md", "file") if name == ".pre-commit-config.yaml"]
    known = {hook["id"] for hook in yaml.safe_load(MANIFEST.read_text())}
    for text in configurations:
        file = tmp_path / "config.yaml"
        file.write_text(text)
        done = run("pre-commit", "validate-config", file)
        assert done.returncode == 0, done.stdout
        assert {hook["id"] for repo in yaml.safe_load(text)["repos"] for hook in repo["hooks"]} <= known


def test_the_workflow_is_valid(tmp_path: Path) -> None:
    file = tmp_path / "planner.yml"
    file.write_text(dict(blocks("ci.md", "file"))[".github/workflows/planner.yml"])
    done = run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", file)
    assert done.returncode == 0, done.stdout
    file.write_text(file.read_text().replace("runs-on", "run-on"))
    assert run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", file).returncode == 1


def git(folder: Path, *words: str) -> None:
    own = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    subprocess.run(["git", *own, *words], cwd=folder, check=True, capture_output=True)


def test_the_hooks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the manifest says, but with the installed planner: an environment of their own would be a download."""
    hooks = [hook | {"language": "system"} for hook in yaml.safe_load(MANIFEST.read_text())]
    repository = tmp_path / "repository"
    shutil.copytree(ROOT / "examples" / "2x-rtx-3090", repository)
    git(repository, "init", "-q")
    (repository / ".pre-commit-config.yaml").write_text(yaml.safe_dump({"repos": [{"repo": "local", "hooks": hooks}]}))
    git(repository, "add", "--all")
    git(repository, "commit", "-qm", "bundle")
    monkeypatch.setenv("PRE_COMMIT_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(repository)
    done = run("pre-commit", "run", "--all-files")
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("Passed") == len(hooks)
    compose = repository / "bundle" / "compose" / "compose.yaml"
    compose.write_text(compose.read_text().replace('"--max-num-seqs"', '"--max-num-seq"', 1))
    git(repository, "add", "--all")
    done = run("pre-commit", "run")
    assert done.returncode == 1
    assert done.stdout.count("exit code: 5") == len(hooks), done.stdout
    assert "different: compose/compose.yaml" in done.stdout
