"""Versions of servers: what the catalog's version does not know is an error, another version is a warning."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from msgspec.structs import replace
from typer.testing import CliRunner

import planner
from planner.catalog.catalog import Catalog
from planner.catalog.records import Model, Quant, ServerFacts
from planner.cli.app import build
from planner.errors import RenderError, UsageError
from planner.rendering.deployment import plan_units
from planner.servers.versions import at_version, parse_versions, unchecked

EXAMPLES = Path(__file__).parents[2] / "examples"
TEAM = EXAMPLES / "2x-rtx-3090" / "plan.json"


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return planner.load_catalog()


class OtherFacts:
    """The catalog with other facts of one server."""

    def __init__(self, catalog: Catalog, facts: ServerFacts) -> None:
        self._catalog, self._facts = catalog, facts
        self.digests = catalog.digests

    def server(self, name: str) -> ServerFacts:
        return self._facts if name == self._facts.id else self._catalog.server(name)

    def model(self, name: str) -> Model:
        return self._catalog.model(name)

    def quant(self, name: str, format: str | None = None) -> Quant:  # noqa: A002
        return self._catalog.quant(name, format)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"flags": "--max-num-seqs"}, "vllm 0.33.0 has no flag --max-num-seqs"),
        ({"environment": "VLLM_NO_USAGE_STATS"}, "vllm 0.33.0 has no variable VLLM_NO_USAGE_STATS"),
    ],
)
def test_what_the_version_does_not_know_is_no_file(catalog: Catalog, change: dict[str, str], message: str) -> None:
    facts = catalog.server("vllm")
    ((field, name),) = change.items()
    fewer = replace(facts, **{field: tuple(n for n in getattr(facts, field) if n != name)})
    assert plan_units(planner.load_plan(TEAM), OtherFacts(catalog, facts))
    with pytest.raises(RenderError, match=message):
        plan_units(planner.load_plan(TEAM), OtherFacts(catalog, fewer))


def test_another_version_names_its_images_drops_their_digests_and_is_said_to_be_unchecked(catalog: Catalog) -> None:
    bundle = planner.render(
        planner.load_plan(TEAM), "compose", catalog=catalog, server_versions={"vllm": "0.34.0", "llama-server": "b9"}
    )
    services = yaml.safe_load(bundle["compose.yaml"])["services"]
    assert services["interactive"]["image"].endswith("vllm-openai:v0.34.0")
    assert services["batch"]["image"].endswith("llama.cpp:server-b9")
    assert "vllm 0.34.0 was not checked: its flags and variables are taken from 0.33.0" in bundle["README.md"]
    assert "--server-version llama-server=b9 --server-version vllm=0.34.0" in bundle["compose.yaml"].split("\n")[1]
    facts = catalog.server("vllm")
    pinned = replace(facts, images=tuple(replace(i, digest="sha256:" + "0" * 64) for i in facts.images))
    assert not [image.digest for image in at_version(pinned, {"vllm": "1"}).images if image.digest]


def test_the_catalog_s_own_version_is_no_other(catalog: Catalog) -> None:
    for facts in catalog.servers.values():
        for text in (facts.version, f"v{facts.version}"):
            assert unchecked(facts, at_version(facts, {facts.id: text})) is None
        assert all(facts.version in image.reference for image in facts.images)


@pytest.mark.parametrize("text", ["0.34.0", "ollama=0.34.0", "vllm=", "vllm=$(x)", "vllm=a b", "=1", "vllm=-1"])
def test_a_version_of_nothing_planned_and_a_broken_one_are_usage_errors(text: str) -> None:
    with pytest.raises(UsageError):
        parse_versions((text,), ("vllm", "llama-server"))


def test_a_bare_version_is_that_of_the_only_server() -> None:
    assert parse_versions(("b1",), ("llama-server", "llama-server")) == {"llama-server": "b1"}
    plan = str(EXAMPLES / "cpu-vm" / "plan.json")
    done = CliRunner().invoke(build(), ["render", "launch", "--plan", plan, "--server-version", "b999"])
    assert done.exit_code == 0
    assert "b999 was not checked" in done.stderr
