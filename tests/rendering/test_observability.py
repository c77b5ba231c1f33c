"""Observability: files only when asked for, the plan's numbers as thresholds, names that servers really have."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from msgspec.structs import replace

from planner.api import doctor
from planner.errors import RenderError
from planner.planning.plan import Plan
from planner.rendering import TARGETS, Bundle, RenderOptions, lay_out
from planner.rendering.deployment import Unit
from planner.rendering.write import write_bundle
from planner.speed.records import Range
from tests.rendering import plans
from tests.rendering.house import House
from tests.rendering.promql import DASHBOARD, RULES, SCRAPING, expressions, rules, series
from tests.rendering.test_quoting import TEXT

VLLM_METRICS = Path(__file__).parents[1] / "data" / "vllm_metrics.csv"
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


def watched(case: str, target: str = "compose", **options: Any) -> Bundle:
    return laid_out(*plans.CASES[case](), target, **options)


def laid_out(plan: Plan, units: tuple[Unit, ...], target: str = "compose", **options: Any) -> Bundle:
    return lay_out(plan, units, target, RenderOptions(observability=True, **options))


def jobs(bundle: Bundle) -> dict[str, dict[str, Any]]:
    return {job["job_name"]: job for job in yaml.safe_load(bundle[SCRAPING])["scrape_configs"]}


def alerts(bundle: Bundle) -> list[tuple[object, object]]:
    return [(rule["alert"], rule["labels"].get("backend")) for rule in rules(bundle)]  # type: ignore[attr-defined]


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_of_it_is_rendered_unless_asked_for(target: str) -> None:
    plan, units = plans.mac() if target == "launchd" else plans.team()
    plain = lay_out(plan, units, target)
    assert not any(path.startswith("observability/") for path in plain)
    assert "rometheus" not in plain[plain.main]
    more = laid_out(plan, units, target)
    assert {SCRAPING, RULES, DASHBOARD} <= set(more)
    assert f"planner render {target} --plan plan.json --observability --out DIR" in more[RULES]


def test_each_server_with_metrics_is_read_and_the_key_goes_only_to_those_that_ask_for_it() -> None:
    """llama-server checks its key on /metrics, vLLM does not (its authenticate.py guards /v1 only), the router does."""
    found = jobs(watched("team-router"))
    assert found.keys() == {"planner-router", "planner-interactive", "planner-batch"}
    key = {"type": "Bearer", "credentials_file": "/run/secrets/api_key"}
    assert found["planner-router"]["authorization"] == found["planner-batch"]["authorization"] == key
    assert "authorization" not in found["planner-interactive"]
    (batch,) = found["planner-batch"]["static_configs"]
    assert batch["targets"] == ["batch:8081"]
    assert batch["labels"] == {"backend": "batch", "model": "qwen3-14b", "role": "batch", "server": "llama-server"}


def test_every_process_of_a_service_is_a_target_of_its_job() -> None:
    (job,) = (job for name, job in jobs(watched("per-node", "systemd")).items() if name != "planner-router")
    assert [(entry["targets"], entry["labels"]["backend"]) for entry in job["static_configs"]] == [
        (["127.0.0.1:8080"], "interactive-0"),
        (["127.0.0.1:8081"], "interactive-1"),
    ]


@pytest.mark.parametrize(("case", "target", "server"), [("ollama", "compose", "ollama"), ("mac", "launchd", "mlx-lm")])
def test_a_server_without_metrics_is_seen_through_the_router_and_the_readme_says_so(
    case: str, target: str, server: str
) -> None:
    bundle = watched(case, target)
    assert jobs(bundle).keys() == {"planner-router"}
    down = next(rule for rule in rules(bundle) if rule["alert"] == "PlannerServerDown")
    assert down["expr"] == 'planner_router_backend_up{backend="interactive"} == 0'
    assert f"{server} has no metrics" in bundle["README.md"]


@pytest.mark.parametrize(
    ("target", "address", "key"),
    [
        ("launch", "127.0.0.1:3000", "../../secrets/api_key"),
        ("systemd", "127.0.0.1:3000", "/etc/planner/api-key"),
        ("quadlet", "planner-router:3000", "/run/secrets/api_key"),
        ("kubernetes", "planner-router.planner.svc:3000", "/run/secrets/api_key"),
    ],
)
def test_addresses_and_the_key_are_those_of_the_target(target: str, address: str, key: str) -> None:
    router = jobs(watched("team-router", target))["planner-router"]
    assert router["static_configs"][0]["targets"] == [address]
    assert router["authorization"]["credentials_file"] == key


def test_thresholds_are_the_ends_of_the_planned_ranges() -> None:
    plan, units = plans.team()
    speed = replace(
        units[0].service.speed,
        ttft_s=Range(low=0.25, expected=1.0, high=4.5),
        decode_tokens_per_s=Range(low=12.25, expected=20, high=30),
    )
    units = (replace(units[0], service=replace(units[0].service, speed=speed)), units[1])
    found = {(rule["alert"], rule["labels"].get("backend")): rule for rule in rules(laid_out(plan, units))}  # type: ignore[attr-defined]
    assert str(found["PlannerFirstTokenSlow", "interactive"]["expr"]).endswith(" > 4.5")
    assert str(found["PlannerDecodeSlow", "interactive"]["expr"]).endswith(" < 12.2")
    assert found["PlannerServerDown", "interactive"]["for"] == f"{units[0].launch.start_seconds}s"
    assert found["PlannerServerDown", "batch"]["for"] == f"{units[1].launch.start_seconds}s"


def test_an_unknown_speed_is_no_threshold() -> None:
    plan, units = plans.cpu()
    silent = replace(units[0].service.speed, ttft_s=None, decode_tokens_per_s=None)
    bundle = laid_out(plan, (replace(units[0], service=replace(units[0].service, speed=silent)),))
    assert alerts(bundle) == [("PlannerServerDown", "interactive"), ("PlannerRequestsWait", "interactive")]
    assert "vector(" not in bundle[DASHBOARD]


def test_batch_work_that_waits_or_starts_late_is_no_alert() -> None:
    assert [alert for alert, backend in alerts(watched("team-router")) if backend == "batch"] == [
        "PlannerServerDown",
        "PlannerDecodeSlow",
    ]


@pytest.mark.parametrize("case", plans.CASES)
def test_no_two_rules_are_the_same_alert_of_the_same_process(case: str) -> None:
    found = alerts(watched(case, "launch"))
    assert len(found) == len(set(found)) > 0


def test_the_names_of_vllm_are_those_that_it_registers() -> None:
    rows = csv.DictReader(VLLM_METRICS.read_text().splitlines())
    known = {row["name"] + suffix for row in rows for suffix in SUFFIXES[row["kind"]]}
    used = {name for name in series(watched("team-router")) if name.startswith("vllm:")}
    assert len(used) >= 5
    assert used <= known


def test_the_names_of_the_router_are_those_that_it_serves(house: House) -> None:
    text = house.client.get("/metrics").text
    used = {name for name in series(watched("team-router")) if name.startswith("planner_router_")}
    assert len(used) >= 6
    families = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert {name.removesuffix("_bucket") for name in used} <= families


@pytest.mark.parametrize("case", plans.CASES)
def test_the_dashboard_asks_which_prometheus_to_read_and_has_no_empty_panel(case: str) -> None:
    text = watched(case, "launch")[DASHBOARD]
    document = json.loads(text)
    assert text == json.dumps(document, indent=2, sort_keys=True) + "\n"
    (variable,) = document["templating"]["list"]
    assert (variable["name"], variable["type"], variable["query"]) == ("datasource", "datasource", "prometheus")
    assert len({panel["id"] for panel in document["panels"]}) == len(document["panels"]) >= 2
    for panel in document["panels"]:
        assert panel["targets"]
        for source in (panel, *panel["targets"]):
            assert source["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


def test_panels_do_not_lie_on_each_other() -> None:
    cells = [
        (place["x"] + x, place["y"] + y)
        for place in (panel["gridPos"] for panel in json.loads(watched("team-router")[DASHBOARD])["panels"])
        for x in range(place["w"])
        for y in range(place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert all(x < 24 for x, _ in cells)


@given(TEXT)
def test_a_hostile_model_name_reaches_prometheus_as_a_label_and_nothing_else(name: str) -> None:
    plan, units = plans.cpu()
    unit = replace(units[0], service=replace(units[0].service, model=name))
    bundle = laid_out(replace(plan, services=(unit.service,)), (unit,), "launch")
    assert jobs(bundle)["planner-interactive"]["static_configs"][0]["labels"]["model"] == name
    plain = laid_out(plan, units, "launch")
    assert (rules(bundle), expressions(bundle)) == (rules(plain), expressions(plain))


def services(bundle: Bundle) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(bundle["compose.yaml"])["services"]
    return found


def test_the_containers_start_only_with_their_profile_and_are_shut_in_as_the_router_is() -> None:
    found = services(watched("team-router", bind="10.0.0.5"))
    assert {port["host_ip"] for port in found["router"]["ports"]} == {"10.0.0.5"}
    for name in ("prometheus", "grafana"):
        own, router = found[name], found["router"]
        assert own["profiles"] == ["observability"]
        assert {port["host_ip"] for port in own["ports"]} == {"127.0.0.1"}
        assert own["user"] not in ("", "0", "root", "0:0")
        assert own["healthcheck"]["test"][0] == "CMD"
        assert own["image"].count(":") == 1
        assert "latest" not in own["image"]
        for key in ("read_only", "cap_drop", "security_opt", "tmpfs", "logging", "restart", "init"):
            assert own[key] == router[key]
        assert own["deploy"]["resources"]["limits"].keys() == router["deploy"]["resources"]["limits"].keys()
    assert found["prometheus"]["networks"] == ["backend", "edge"]
    assert found["grafana"]["networks"] == ["edge"]


def test_grafana_has_no_password_but_the_one_in_its_secret_file() -> None:
    bundle = watched("team-router")
    grafana = services(bundle)["grafana"]
    assert grafana["secrets"] == ["grafana_password"]
    assert grafana["environment"]["GF_SECURITY_ADMIN_PASSWORD__FILE"] == "/run/secrets/grafana_password"
    assert not {"GF_SECURITY_ADMIN_PASSWORD", "GF_AUTH_ANONYMOUS_ENABLED"} & grafana["environment"].keys()
    assert "> secrets/grafana_password" in bundle["README.md"]


def test_without_a_key_to_read_prometheus_is_given_none() -> None:
    plan, (unit,) = plans.cpu()
    service = replace(unit.service, server="vllm")
    bundle = laid_out(plan, (replace(unit, service=service),))
    assert "secrets" not in services(bundle)["prometheus"]
    assert services(bundle)["prometheus"]["networks"] == ["edge"]


def test_a_port_that_a_server_publishes_is_an_error() -> None:
    plan, (unit,) = plans.cpu()
    taken = replace(unit, service=replace(unit.service, port=9090), launch=replace(unit.launch, port=9090))
    with pytest.raises(RenderError, match="prometheus and a planned service both want port 9090"):
        laid_out(plan, (taken,))
    assert lay_out(plan, (taken,), "compose")


@pytest.mark.parametrize("name", ["prometheus", "grafana", "router"])
def test_a_service_may_not_take_the_name_of_what_bundles_start(name: str) -> None:
    with pytest.raises(RenderError, match="cannot name files and units"):
        lay_out(plans.cpu()[0], (plans.cpu_unit(name),), "compose")


def test_digests_are_required_of_its_images_too() -> None:
    plan, units = plans.cpu()
    known = {"ghcr.io/ggml-org/llama.cpp:server-b11434": plans.DIGEST}
    known |= {"docker.io/library/python:3.13.9-slim-trixie": plans.DIGEST}
    assert lay_out(plan, units, "compose", RenderOptions(require_digests=True), known)
    with pytest.raises(RenderError, match=r"no digest is known for docker\.io/prom/prometheus"):
        lay_out(plan, units, "compose", RenderOptions(require_digests=True, observability=True), known)


def test_its_images_are_among_those_whose_digest_is_to_be_looked_up() -> None:
    text = watched("team-router")["README.md"].partition("## Pinning images")[2]
    assert "docker.io/prom/prometheus:" in text
    assert "docker.io/grafana/grafana:" in text
    assert "grafana" not in watched("team-router", "quadlet")["README.md"].partition("## Pinning images")[2]


def test_a_cluster_lets_the_namespace_of_prometheus_in_only_when_it_is_asked_for() -> None:
    plan, units = plans.team()
    assert "planner/metrics" not in lay_out(plan, units, "kubernetes")["cluster/network.yaml"]
    policies = list(yaml.safe_load_all(watched("team-router", "kubernetes")["cluster/network.yaml"]))
    (policy,) = (p for p in policies if p["metadata"]["name"] == "planner-metrics")
    (rule,) = policy["spec"]["ingress"]
    assert rule["from"] == [{"namespaceSelector": {"matchLabels": {"planner/metrics": "yes"}}}]
    assert [port["port"] for port in rule["ports"]] == [8000, 8081, 3000]


@pytest.mark.parametrize("case", ["team-router", "cpu-numa", "ollama", "per-node"])
def test_the_doctor_has_nothing_to_say_about_it(case: str, tmp_path: Path) -> None:
    plan, units = plans.CASES[case]()
    write_bundle(lay_out(plan, units, "compose"), tmp_path / "plain")
    write_bundle(laid_out(plan, units, exports=("haproxy", "litellm")), tmp_path / "more")
    plain, more = ([f.rule_id for f in doctor([tmp_path / name])] for name in ("plain", "more"))
    assert more == plain
