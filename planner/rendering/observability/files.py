"""The files of observability, the same on every target but for addresses and the way the key is read."""

from __future__ import annotations

from planner.rendering.deployment import Deployment
from planner.rendering.observability.dashboard import dashboard_json
from planner.rendering.observability.rules import Rule, alert_rules
from planner.rendering.observability.scrape import Job, scrape_jobs
from planner.rendering.parsing import yaml_documents
from planner.rendering.templates import TemplateSet
from planner.rendering.words import must_equal

FOLDER = "observability"
# What Grafana reads to find Prometheus and the dashboard by itself: only where the bundle starts both.
_PROVISIONING = ("datasources", "dashboards")


def observability_files(
    deployment: Deployment, target: str, templates: TemplateSet, header: tuple[str, ...]
) -> dict[str, str]:
    """Prometheus' configuration and rules and the dashboard; empty unless asked for. Raises RenderError when a
    template says something else than what fed it."""
    if not deployment.options.observability:
        return {}
    jobs, rules = scrape_jobs(deployment, target), alert_rules(deployment)
    scraping = templates.fill("observability/prometheus.yaml.j2", {"header": header, "jobs": jobs})
    alerts = templates.fill("observability/rules.yaml.j2", {"header": header, "rules": rules})
    _check(scraping, jobs, alerts, rules)
    files = {
        f"{FOLDER}/prometheus/prometheus.yaml": scraping,
        f"{FOLDER}/prometheus/rules.yaml": alerts,
        f"{FOLDER}/grafana/dashboards/planner.json": dashboard_json(deployment),
    }
    if target == "compose":
        for name in _PROVISIONING:
            text = templates.fill(f"observability/{name}.yaml.j2", {"header": header})
            files[f"{FOLDER}/grafana/provisioning/{name}/planner.yaml"] = text
    return files


def _check(scraping: str, jobs: tuple[Job, ...], alerts: str, rules: tuple[Rule, ...]) -> None:
    (document,) = yaml_documents(scraping, "prometheus.yaml")
    found = [
        (entry["targets"], entry["labels"]) for job in document["scrape_configs"] for entry in job["static_configs"]
    ]
    wanted = [([one.address], dict(one.labels)) for job in jobs for one in job.targets]
    must_equal("targets of prometheus.yaml", wanted, found)
    (document,) = yaml_documents(alerts, "rules.yaml")
    said = [rule["expr"] for group in document["groups"] for rule in group["rules"]]
    must_equal("expressions of rules.yaml", [rule.expression for rule in rules], said)
