"""Names that break naive templates, through the parsers of the programs that read the files: each comes back whole."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from msgspec.structs import replace

from planner.errors import RenderError
from planner.planning.plan import Plan
from planner.rendering import RenderOptions, lay_out
from planner.rendering.deployment import Unit
from planner.rendering.parsing import kubernetes_value, systemd_words, unit_settings
from planner.servers.records import Argument
from tests.matrix import put
from tests.real.judges import kustomized, quadlet_units, run
from tests.rendering import plans
from tests.rendering.test_quoting import NASTY

pytestmark = pytest.mark.tools

# Server rooms refuse control characters and empty words.
WORDS = tuple(word for word in NASTY if word.isprintable() and word)
VARIABLES = {f"ODD_{number}": word for number, word in enumerate(WORDS)}


@pytest.fixture
def planned() -> tuple[Plan, tuple[Unit, ...]]:
    """One llama-server that is told every strange word, and each again in a variable."""
    plan, (unit,) = plans.cpu()
    argv = (*unit.launch.argv, *(Argument(text=word) for word in WORDS))
    launch = replace(unit.launch, argv=argv, environment=tuple(VARIABLES.items()))
    return plan, (replace(unit, launch=launch),)


def test_docker_compose_reads_what_was_meant(planned: tuple[Plan, tuple[Unit, ...]], tmp_path: Path) -> None:
    folder = put(lay_out(*planned, "compose"), tmp_path)
    tool = shutil.which("docker-compose")
    assert tool
    words = ("-f", folder / "compose.yaml", "--env-file", folder / ".env.example", "config", "--format", "json")
    done = run(tool, *words)
    assert (done.returncode, done.stderr) == (0, "")
    service = json.loads(done.stdout)["services"]["interactive"]
    # What `config` prints is a Compose file again, with each dollar doubled.
    plain = [word.replace("$$", "$") for word in service["command"]]
    assert tuple(plain[-len(WORDS) :]) == WORDS
    found = {name: value.replace("$$", "$") for name, value in service["environment"].items()}
    assert {name: found[name] for name in VARIABLES} == VARIABLES


def test_podmans_generator_reads_what_was_meant(planned: tuple[Plan, tuple[Unit, ...]], tmp_path: Path) -> None:
    folder = put(lay_out(*planned, "quadlet"), tmp_path)
    unit = quadlet_units(folder)["planner-interactive.service"]
    starts = [value for section, key, value in unit_settings(unit) if (section, key) == ("Service", "ExecStart")]
    words = systemd_words(starts[0], {"N": "name", "t": "/run"}, {})
    assert tuple(words[-len(WORDS) :]) == WORDS
    given = {words[index + 1] for index, word in enumerate(words) if word == "--env"}
    assert given >= {f"{name}={value}" for name, value in VARIABLES.items()}


def test_kustomize_reads_what_was_meant(planned: tuple[Plan, tuple[Unit, ...]], tmp_path: Path) -> None:
    folder = put(lay_out(*planned, "kubernetes"), tmp_path)
    sent = next(d for d in yaml.safe_load_all(kustomized(folder)) if d["kind"] == "Deployment")
    (container,) = sent["spec"]["template"]["spec"]["containers"]
    assert tuple(kubernetes_value(word, {}) for word in container["args"][-len(WORDS) :]) == WORDS
    assert {e["name"]: kubernetes_value(e["value"], {}) for e in container["env"]} == VARIABLES


FOLDERS = ["/srv/it's", "/srv/$(id)", "/srv/${X}", "/srv/a b", "/srv/#c", "/srv/é", "/srv/{{x}}"]


@pytest.mark.parametrize("name", FOLDERS)
def test_compose_mounts_a_models_folder_of_any_name(name: str, tmp_path: Path) -> None:
    folder = put(lay_out(*plans.cpu(), "compose", RenderOptions(models_dir=name)), tmp_path)
    tool = shutil.which("docker-compose")
    assert tool
    done = run(tool, "-f", folder / "compose.yaml", "config", "--format", "json")
    assert (done.returncode, done.stderr) == (0, "")
    mounts = json.loads(done.stdout)["services"]["interactive"]["volumes"]
    assert name in {mount["source"].replace("$$", "$") for mount in mounts}


@pytest.mark.parametrize("name", ["/srv/a b", "/srv/%n", "/srv/a:b"])
def test_a_models_folder_that_no_quadlet_can_name_is_refused(name: str) -> None:
    with pytest.raises(RenderError, match="cannot stand in a"):
        lay_out(*plans.cpu(), "quadlet", RenderOptions(models_dir=name))


@pytest.mark.parametrize("name", [name for name in FOLDERS if " " not in name])
def test_podman_mounts_a_models_folder_of_any_other_name(name: str, tmp_path: Path) -> None:
    folder = put(lay_out(*plans.cpu(), "quadlet", RenderOptions(models_dir=name)), tmp_path)
    unit = quadlet_units(folder)["planner-interactive.service"]
    starts = [value for section, key, value in unit_settings(unit) if (section, key) == ("Service", "ExecStart")]
    assert f"{name}:/models:ro" in systemd_words(starts[0], {"N": "name", "t": "/run"}, {})
