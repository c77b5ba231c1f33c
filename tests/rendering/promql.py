"""What alert rules and dashboards ask for: their expressions, and the names of series in them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

import yaml

RULES = "observability/prometheus/rules.yaml"
SCRAPING = "observability/prometheus/prometheus.yaml"
DASHBOARD = "observability/grafana/dashboards/planner.json"
_SERIES = re.compile(r"\b(?:vllm:|llamacpp:|planner_router_)\w+")


def rules(bundle: Mapping[str, str]) -> list[dict[str, object]]:
    """The alert rules of a bundle."""
    (group,) = yaml.safe_load(bundle[RULES])["groups"]
    found: list[dict[str, object]] = group["rules"]
    return found


def expressions(bundle: Mapping[str, str]) -> list[str]:
    """Every expression of the rules and of the dashboard."""
    asked = [target["expr"] for panel in json.loads(bundle[DASHBOARD])["panels"] for target in panel["targets"]]
    return [str(rule["expr"]) for rule in rules(bundle)] + asked


def series(bundle: Mapping[str, str]) -> set[str]:
    """The names of the servers' and the router's series that they use."""
    return {name for expression in expressions(bundle) for name in _SERIES.findall(expression)}
