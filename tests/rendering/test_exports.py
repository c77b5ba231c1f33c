"""Configurations of other routers: the same servers under the same names, hostile names quoted or refused."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from msgspec.structs import replace
from typer.testing import CliRunner

from planner.cli.app import build
from planner.errors import RenderError, UsageError
from planner.planning.plan import Plan
from planner.rendering import EXPORTS, TARGETS, Bundle, RenderOptions, lay_out
from planner.rendering.deployment import Unit
from planner.rendering.quoting import haproxy_word
from tests.rendering import plans
from tests.rendering.test_quoting import TEXT

SCHEMA = Path(__file__).parents[1] / "data" / "schemas" / "llama-swap-config.json"
EXAMPLE = Path(__file__).parents[2] / "examples" / "cpu-vm"


def exported(case: str, name: str, target: str = "launch") -> str:
    return written(*plans.CASES[case](), name, target)


def written(plan: Plan, units: tuple[Unit, ...], name: str, target: str = "launch") -> str:
    return bundle(plan, units, target, name)[f"exports/{EXPORTS[name].file}"]


def bundle(plan: Plan, units: tuple[Unit, ...], target: str, *names: str) -> Bundle:
    return lay_out(plan, units, target, RenderOptions(exports=names))


def named(name: str) -> tuple[Plan, tuple[Unit, ...]]:
    """One llama-server whose model goes by `name`."""
    plan, (unit,) = plans.cpu()
    service = replace(unit.service, model=name)
    own = replace(unit, service=service, launch=replace(unit.launch, served_name=name))
    return replace(plan, services=(service,)), (own,)


def two_models() -> tuple[Plan, tuple[Unit, ...]]:
    """The team, its batch server with a model of its own."""
    plan, (interactive, batch) = plans.team()
    service = replace(batch.service, model="qwen3-4b")
    return plan, (interactive, replace(batch, service=service, launch=replace(batch.launch, served_name="qwen3-4b")))


def litellm_names(text: str) -> dict[str, list[str]]:
    """Names that clients may use -> the addresses behind them."""
    found: dict[str, list[str]] = {}
    for entry in yaml.safe_load(text)["model_list"]:
        found.setdefault(entry["model_name"], []).append(entry["litellm_params"]["api_base"])
    return found


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_is_exported_unless_asked_for(target: str) -> None:
    plan, units = plans.mac() if target == "launchd" else plans.team()
    plain = lay_out(plan, units, target)
    assert not any(path.startswith("exports/") for path in plain)
    assert "Other routers" not in plain["README.md"]
    more = bundle(plan, units, target, "haproxy", "litellm")
    assert set(more) - set(plain) == {"exports/haproxy.cfg", "exports/litellm.yaml"}
    assert f"planner render {target} --plan plan.json --export haproxy --export litellm --out DIR" in more["README.md"]


def test_an_unknown_export_names_the_near_one() -> None:
    with pytest.raises(UsageError, match="unknown export 'liteLLM'") as fault:
        bundle(*plans.cpu(), "launch", "liteLLM")
    assert fault.value.hint == "did you mean litellm?"


def test_llama_swap_starts_scripts_and_nothing_else() -> None:
    with pytest.raises(RenderError, match="llama-swap cannot use the servers of compose") as fault:
        bundle(*plans.team(), "compose", "llama-swap")
    assert fault.value.hint == "render launch for it"
    together = bundle(*plans.team(), "all", "llama-swap", "haproxy")
    assert [path for path in together if path.endswith("llama-swap.yaml")] == ["launch/exports/llama-swap.yaml"]
    assert "systemd/exports/haproxy.cfg" in together


def test_litellm_asks_interactive_servers_by_default_and_batch_stands_in() -> None:
    text = written(*two_models(), "litellm", "compose")
    assert litellm_names(text) == {
        "default": ["http://interactive:8000/v1"],
        "batch": ["http://batch:8081/v1"],
        "qwen3-14b": ["http://interactive:8000/v1"],
        "qwen3-4b": ["http://batch:8081/v1"],
    }
    fallbacks = yaml.safe_load(text)["router_settings"]["fallbacks"]
    assert fallbacks == [{"default": ["batch"]}, {"qwen3-14b": ["batch"]}]


def test_a_model_that_both_roles_serve_is_the_interactive_one() -> None:
    names = litellm_names(exported("team-router", "litellm", "compose"))
    assert names["qwen3-14b"] == ["http://interactive:8000/v1"]


def test_equal_servers_share_their_names() -> None:
    both = ["http://127.0.0.1:8080/v1", "http://127.0.0.1:8081/v1"]
    assert litellm_names(exported("per-node", "litellm")) == {"default": both, "qwen3-14b": both}
    selectors = yaml.safe_load(exported("per-node", "llama-swap"))["selectors"]
    assert {name: entry["targets"] for name, entry in selectors.items()} == {
        "default": ["interactive-0", "interactive-1"],
        "qwen3-14b": ["interactive-0", "interactive-1"],
    }


def test_litellm_limits_each_server_to_its_slots_and_repeats_what_it_forgets() -> None:
    plan, (unit,) = plans.ollama()
    own = replace(unit, profiles={"planned": {"temperature": 0.6, "top_p": 0.95, "word": "on"}})
    entry = yaml.safe_load(written(plan, (own,), "litellm"))["model_list"][0]["litellm_params"]
    assert entry["max_parallel_requests"] == unit.service.parallel
    assert (entry["temperature"], entry["top_p"], entry["word"]) == (0.6, 0.95, "on")


@pytest.mark.parametrize("name", EXPORTS)
@pytest.mark.parametrize("case", plans.CASES)
def test_keys_stay_in_variables(case: str, name: str) -> None:
    text = exported(case, name)
    has_key = plans.CASES[case]()[1][0].launch.has_key
    if name == "litellm":
        wanted = "os.environ/PLANNER_API_KEY" if has_key else "none"
        document = yaml.safe_load(text)
        assert document["model_list"][0]["litellm_params"]["api_key"] == wanted
        assert document["general_settings"]["master_key"] == "os.environ/PLANNER_API_KEY"
    elif name == "llama-swap":  # with keys of its own it takes away the client's, which the server may ask for
        assert yaml.safe_load(text).get("apiKeys", []) == ([] if has_key else ["${env.PLANNER_API_KEY}"])
    else:
        assert 'Bearer ${PLANNER_API_KEY}"' in text
        assert ("del-header authorization" in text) != has_key


@pytest.mark.parametrize("case", plans.CASES)
def test_llama_swap_finds_what_its_schema_says(case: str) -> None:
    document = yaml.safe_load(exported(case, "llama-swap"))
    jsonschema.Draft7Validator(json.loads(SCHEMA.read_text())).validate(document)
    plan, units = plans.CASES[case]()
    scripts = {path for path in lay_out(plan, units, "launch") if path.endswith(".sh")}
    members = document["routing"]["router"]["settings"]["groups"]["planner"]["members"]
    assert members == document["hooks"]["on_startup"]["preload"] == list(document["models"])
    names = [*document["models"], *document.get("selectors", {})]
    for entry in document["models"].values():
        names += entry.get("aliases", [])
        assert shlex.split(entry["cmd"])[1] in scripts
    assert len(names) == len(set(names))


def test_llama_swaps_schema_refuses_a_model_that_nothing_starts() -> None:
    document = yaml.safe_load(exported("cpu-numa", "llama-swap"))
    del document["models"]["interactive"]["cmd"]
    with pytest.raises(jsonschema.ValidationError, match="cmd"):
        jsonschema.Draft7Validator(json.loads(SCHEMA.read_text())).validate(document)


def haproxy_pools(text: str) -> dict[str, list[str]]:
    """Backends of a configuration with their servers' lines, the words after `server`."""
    found: dict[str, list[str]] = {}
    for block in text.split("\nbackend ")[1:]:
        found[block.split("\n", 1)[0]] = re.findall(r"^    server (.*)$", block, re.MULTILINE)
    return found


def test_haproxy_lets_batch_servers_stand_in_where_both_call_the_model_the_same() -> None:
    interactive, batch = "interactive interactive:8000 maxconn 16", "batch batch:8081 maxconn 2"
    same = haproxy_pools(exported("team-router", "haproxy", "compose"))
    assert same == {"interactive": [interactive, f"{batch} backup"], "batch": [batch]}
    other = haproxy_pools(written(*two_models(), "haproxy", "compose"))
    assert other == {"interactive": [interactive], "batch": [batch]}


def test_haproxy_looks_names_up_only_where_there_are_names() -> None:
    assert "resolvers here" in exported("team-router", "haproxy", "compose")
    host = exported("team-router", "haproxy", "systemd")
    assert "resolvers" not in host
    assert "bind 127.0.0.1:3000" in host


def test_without_interactive_servers_the_first_role_answers() -> None:
    plan, units = plans.team()
    only = lay_out(plan, units, "launch", RenderOptions(role="batch", exports=("haproxy", "litellm", "llama-swap")))
    assert "default_backend batch" in only["exports/haproxy.cfg"]
    assert "use_backend" not in only["exports/haproxy.cfg"]
    assert set(litellm_names(only["exports/litellm.yaml"])) == {"default", "qwen3-14b"}
    assert yaml.safe_load(only["exports/llama-swap.yaml"])["models"]["batch"]["aliases"] == ["default", "qwen3-14b"]


@given(TEXT)
def test_hostile_names_reach_litellm_as_they_are_or_are_refused(name: str) -> None:
    entries = yaml.safe_load(written(*named(name), "litellm"))["model_list"]
    assert {entry["model_name"] for entry in entries} == {"default", name}
    assert {entry["litellm_params"]["model"] for entry in entries} == {f"openai/{name}"}


@given(TEXT)
def test_hostile_names_reach_llama_swap_as_they_are_or_are_refused(name: str) -> None:
    if "${" in name:
        with pytest.raises(RenderError, match="for a macro"):
            written(*named(name), "llama-swap")
        return
    (entry,) = yaml.safe_load(written(*named(name), "llama-swap"))["models"].values()
    assert entry["useModelName"] == name
    assert set(entry["aliases"]) == {"default", name} - {"interactive"}


@given(TEXT)
def test_hostile_names_stay_in_haproxys_comments(name: str) -> None:
    def said(text: str) -> list[str]:
        return [line for line in text.split("\n") if not line.startswith("#")]

    assert said(written(*named(name), "haproxy")) == said(exported("cpu-numa", "haproxy"))


def test_a_name_that_litellm_would_look_up_in_the_environment_is_refused() -> None:
    with pytest.raises(RenderError, match="for a variable"):
        written(*named("os.environ/HOME"), "litellm")


@given(TEXT)
def test_a_word_of_haproxy_is_one_word_or_refused(text: str) -> None:
    """Its quotes are a shell's, but for line breaks."""
    if "\n" in text or "\r" in text:
        with pytest.raises(RenderError, match="line break"):
            haproxy_word(text)
    else:
        assert shlex.split(haproxy_word(text)) == [text]


def test_the_command_renders_what_it_says_and_finds_it_unchanged(tmp_path: Path) -> None:
    words: list[Any] = ["render", "launch", "--plan", EXAMPLE / "plan.json", "--out", tmp_path / "out"]
    words += ["--observability", "--export", "haproxy", "--export", "litellm", "--export", "haproxy"]
    run = CliRunner()
    assert run.invoke(build(), [str(word) for word in words]).exit_code == 0
    assert (tmp_path / "out/exports/haproxy.cfg").is_file()
    assert (tmp_path / "out/observability/prometheus/rules.yaml").is_file()
    assert run.invoke(build(), [str(word) for word in (*words, "--check")]).exit_code == 0
    (tmp_path / "out/exports/litellm.yaml").write_text("")
    edited = run.invoke(build(), [str(word) for word in (*words, "--check")])
    assert (edited.exit_code, edited.stdout) == (5, "different: exports/litellm.yaml\n")
    assert run.invoke(build(), [str(word) for word in (*words, "--export", "nginx")]).exit_code == 2
