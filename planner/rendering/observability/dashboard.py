"""A Grafana dashboard: what the router and the servers do, with the plan's numbers drawn beside what is measured."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

import msgspec

from planner.rendering.deployment import Deployment, Unit
from planner.rendering.observability.metrics import WINDOW, ask, first_token_buckets, quantile, selector, source
from planner.speed.records import Range

# Grafana's grid is 24 columns wide; two panels a row.
_WIDTH, _HEIGHT = 12, 8
# Of Grafana 10; newer ones bring an older panel model up to date when they load it.
_SCHEMA_VERSION = 39
_DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a panel; `legend` may name labels as `{{label}}`."""

    expression: str
    legend: str


class Panel(msgspec.Struct, frozen=True, kw_only=True):
    """One graph; `unit` is Grafana's name of what is counted."""

    title: str
    unit: str
    queries: tuple[Query, ...]


def dashboard_json(deployment: Deployment) -> str:
    """The dashboard as a file that Grafana provisions or imports; its datasource is a variable."""
    document = {
        "uid": "planner",
        "title": "Local models",
        "tags": ["planner"],
        "schemaVersion": _SCHEMA_VERSION,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": [_datasource_variable()]},
        "panels": [_panel(number, panel) for number, panel in enumerate(panels(deployment))],
    }
    return json.dumps(document, indent=2, sort_keys=True) + "\n"


def panels(deployment: Deployment) -> tuple[Panel, ...]:
    """The panels that have something to show for this deployment."""
    found = (
        _servers_up(deployment),
        *_router_panels(deployment),
        _waiting(deployment),
        _first_token(deployment),
        _decode(deployment),
        _output(deployment),
        _cache(deployment),
    )
    return tuple(panel for panel in found if panel.queries)


def _datasource_variable() -> dict[str, object]:
    return {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}


def _panel(number: int, panel: Panel) -> dict[str, object]:
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "datasource": _DATASOURCE,
        "gridPos": {"x": number % 2 * _WIDTH, "y": number // 2 * _HEIGHT, "w": _WIDTH, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {
                "refId": chr(ord("A") + n) if n < 26 else f"A{n}",
                "datasource": _DATASOURCE,
                "expr": query.expression,
                "legendFormat": query.legend,
            }
            for n, query in enumerate(panel.queries)
        ],
    }


def _servers_up(deployment: Deployment) -> Panel:
    queries = [Query(expression='up{job=~"planner-.+"}', legend="{{job}} {{backend}}")]
    if deployment.router is not None:
        queries.append(Query(expression="planner_router_backend_up", legend="{{backend}}, seen by the router"))
    return Panel(title="Answers (1) or does not (0)", unit="none", queries=tuple(queries))


def _router_panels(deployment: Deployment) -> tuple[Panel, ...]:
    if deployment.router is None:
        return ()
    answers = f"sum by (priority, code) (rate(planner_router_requests_total[{WINDOW}]))"
    failures = f"sum by (backend, kind) (rate(planner_router_backend_failures_total[{WINDOW}]))"
    slots = (
        Query(expression="planner_router_running", legend="{{backend}} running"),
        Query(expression="planner_router_slots", legend="{{backend}} slots"),
    )
    return (
        Panel(
            title="Answers by code", unit="reqps", queries=(Query(expression=answers, legend="{{priority}} {{code}}"),)
        ),
        Panel(
            title="Servers passed over",
            unit="ops",
            queries=(Query(expression=failures, legend="{{backend}} {{kind}}"),),
        ),
        Panel(title="Users at a time", unit="none", queries=slots),
    )


def _waiting(deployment: Deployment) -> Panel:
    queries = _of_servers(deployment, lambda unit: _plain(unit, "waiting"))
    if deployment.router is not None:
        queries = (Query(expression="planner_router_waiting", legend="{{backend}}, at the router"), *queries)
    return Panel(title="Requests that wait", unit="none", queries=queries)


def _first_token(deployment: Deployment) -> Panel:
    queries: list[Query] = []
    for unit in deployment.units:
        buckets = first_token_buckets(deployment, unit)
        if unit.service.role not in ("interactive", "batch") or buckets is None:
            continue
        for instance in deployment.instances(unit):
            chosen = selector(instance.name)
            queries += [
                Query(expression=quantile(share, buckets, chosen), legend=f"{instance.name} {text}")
                for share, text in ((0.5, "median"), (0.9, "9 of 10"))
            ]
        queries += _planned(unit.name, unit.service.speed.ttft_s, "high")
    return Panel(title="Time to the first token", unit="s", queries=tuple(queries))


def _decode(deployment: Deployment) -> Panel:
    queries = _of_servers(deployment, lambda unit: _plain(unit, "decode_rate"))
    for unit in deployment.units:
        own = source(unit)
        if own is not None and own.decode_rate is not None:
            queries += tuple(_planned(unit.name, unit.service.speed.decode_tokens_per_s, "low"))
    return Panel(title="Tokens per second of one user", unit="none", queries=queries)


def _output(deployment: Deployment) -> Panel:
    def rate(unit: Unit) -> str | None:
        counter = _plain(unit, "output_tokens")
        return None if counter is None else f"sum by (backend) (rate({counter}[{WINDOW}]))"

    return Panel(title="Tokens per second of all users", unit="none", queries=_of_servers(deployment, rate))


def _cache(deployment: Deployment) -> Panel:
    return Panel(
        title="KV cache in use",
        unit="percentunit",
        queries=_of_servers(deployment, lambda unit: _plain(unit, "cache_used")),
    )


def _plain(unit: Unit, question: str) -> str | None:
    """A server's own expression for all of its processes."""
    own = source(unit)
    expression: str | None = getattr(own, question) if own is not None else None
    return None if expression is None else ask(expression)


def _of_servers(deployment: Deployment, expression: Callable[[Unit], str | None]) -> tuple[Query, ...]:
    """One query per kind of server: it draws a line for each process."""
    found = dict.fromkeys(expression(unit) for unit in deployment.units)
    return tuple(Query(expression=text, legend="{{backend}}") for text in found if text is not None)


def _planned(name: str, value: Range | None, end: str) -> Iterable[Query]:
    """What was planned, as level lines: the expected value and the end of the range that alerts hold against."""
    if value is None:
        return ()
    ends = (("expected", value.expected), (end, getattr(value, end)))
    return tuple(Query(expression=f"vector({number:.6g})", legend=f"{name} planned: {text}") for text, number in ends)
