"""Observability before its real judges: promtool, and the metrics of a real llama-server and of the rendered router."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from planner.bench.connection import Client
from planner.bench.endpoint import parse_endpoint
from planner.rendering import TARGETS, RenderOptions, lay_out
from planner.rendering.bundle import CannotServe
from planner.rendering.write import write_bundle
from tests.real.judges import compose_objections, manifest_objections, run
from tests.real.test_router_real import CHAT, client, question
from tests.rendering import plans
from tests.rendering.promql import RULES, SCRAPING, expressions, series
from tools.bundles import Stack, started_stack, two_role_plan
from tools.serving import Server

pytestmark = pytest.mark.tools

HERE = Path(__file__).parent
RULE_TESTS = HERE / "team-router.rules.yaml"
GOLDEN_RULES = HERE.parent / "golden/team-router/compose" / RULES


def promtool(*words: str | Path) -> str:
    """What promtool says against something; empty when it takes it."""
    tool = shutil.which("promtool")
    assert tool, "promtool is missing: run .ci/run, or `python tools/real_tools.py` and put it on PATH"
    done = run(tool, *words)
    return (done.stdout + done.stderr) if done.returncode else ""


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("case", plans.CASES)
def test_promtool_accepts_configuration_and_rules(case: str, target: str, tmp_path: Path) -> None:
    try:
        bundle = lay_out(*plans.CASES[case](), target, RenderOptions(observability=True))
    except CannotServe:
        assert (case == "mac") != (target == "launchd")
        return
    for path in (SCRAPING, RULES):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(bundle[path])
    assert promtool("check", "rules", "--lint=all", "--lint-fatal", tmp_path / RULES) == ""
    key = tmp_path / "key"
    key.write_text("key\n")
    text = re.sub(r"(credentials_file: ).*", rf'\1"{key}"', bundle[SCRAPING])  # the one thing that lies elsewhere
    (tmp_path / SCRAPING).write_text(text)
    assert promtool("check", "config", tmp_path / SCRAPING) == ""


def test_the_rules_fire_when_they_should_and_only_then() -> None:
    assert promtool("test", "rules", RULE_TESTS) == ""


@pytest.mark.parametrize(
    ("said", "instead"),
    [
        ("> 1.1", "> 1.3"),
        ("< 76", "< 74"),
        ("< 7.2", "< 7.0"),
        ("> 0.95", "> 0.97"),
        ('for: "600s"', 'for: "700s"'),
        ('for: "90s"', 'for: "75s"'),
        ('for: "60s"', 'for: "75s"'),
        ("up{backend=", "up{server="),
        ("histogram_quantile(0.5", "histogram_quantile(0.9"),
        ("429|503", "429"),
        ('priority=\\"interactive\\",', ""),
        (" and planner_router_running", " or planner_router_running"),
        ("rate(vllm:inter_token_latency_seconds_count", "rate(vllm:inter_token_latency_seconds_sum"),
    ],
)
def test_a_wrong_rule_fails_the_test_of_the_rules(said: str, instead: str, tmp_path: Path) -> None:
    rules = GOLDEN_RULES.read_text()
    assert said in rules
    (tmp_path / "rules.yaml").write_text(rules.replace(said, instead))
    document = yaml.safe_load(RULE_TESTS.read_text()) | {"rule_files": ["rules.yaml"]}
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(document))
    assert "FAILED" in promtool("test", "rules", tmp_path / "tests.yaml")


@pytest.mark.parametrize("case", plans.CASES)
def test_prometheus_can_parse_what_the_dashboard_asks(case: str, tmp_path: Path) -> None:
    asked = expressions(lay_out(*plans.CASES[case](), "launch", RenderOptions(observability=True)))
    rules = [{"record": f"r{number}", "expr": expression} for number, expression in enumerate(asked)]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "asked", "rules": rules}]}))
    assert promtool("check", "rules", tmp_path / "rules.yaml") == ""


def test_kubernetes_accepts_the_policy_that_lets_prometheus_in(tmp_path: Path) -> None:
    bundle = lay_out(*plans.team(), "kubernetes", RenderOptions(observability=True))
    (tmp_path / "network.yaml").write_text(bundle["cluster/network.yaml"])
    assert manifest_objections(tmp_path / "network.yaml") == ""


@pytest.mark.parametrize("case", ["team-router", "cpu-numa", "per-node", "ollama"])
def test_docker_compose_accepts_the_containers_and_yamllint_their_files(case: str, tmp_path: Path) -> None:
    write_bundle(lay_out(*plans.CASES[case](), "compose", RenderOptions(observability=True)), tmp_path)
    for profile in ((), ("--profile", "observability"), ("--profile", "*")):
        assert compose_objections(tmp_path, *profile) == ""
    rules = "{extends: default, rules: {line-length: disable, document-start: disable}}"
    done = run("yamllint", "--strict", "-d", rules, *sorted(tmp_path.rglob("*.yaml")))
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, dict[str, Server]]]:
    """Two llama-servers and the router, each of which has answered once."""
    folder = tmp_path_factory.mktemp("stack")
    with started_stack(two_role_plan(2, 2048), folder, observability=True) as (stack, servers):
        for priority in ("interactive", "batch"):
            with client(servers["router"]).stream(CHAT, question(priority, 8)) as answer:
                assert list(answer.events())[-1].data == "[DONE]"
        yield stack, servers


def scraped(stack: Stack) -> dict[str, set[str]]:
    """The names of the series of each job's targets, read as prometheus.yaml says."""
    file, found = stack.folder / SCRAPING, {}
    for job in yaml.safe_load(file.read_text())["scrape_configs"]:
        key = (file.parent / job["authorization"]["credentials_file"]).read_text().strip()
        for entry in job["static_configs"]:
            for address in entry["targets"]:
                endpoint = parse_endpoint(f"http://{address}")
                assert Client(endpoint, timeout_s=60).get("/metrics").status == 401
                answer = Client(endpoint, api_key=key, timeout_s=60).get("/metrics")
                assert answer.status == 200
                families = text_string_to_metric_families(answer.text)
                found[job["job_name"]] = {sample.name for family in families for sample in family.samples}
    return found


def test_every_series_that_rules_and_dashboard_name_is_served(running: tuple[Stack, dict[str, Server]]) -> None:
    stack, _ = running
    found = scraped(stack)
    assert found.keys() == {"planner-router", "planner-interactive", "planner-batch"}
    wanted = series(stack.bundle)
    assert {name for name in wanted if name.startswith("planner_router_")} <= found["planner-router"]
    own = {name for name in wanted if name.startswith("llamacpp:")}
    assert own <= found["planner-interactive"]
    assert own <= found["planner-batch"]
    assert len(wanted) >= 8
