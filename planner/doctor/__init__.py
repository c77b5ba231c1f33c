"""Reads files that start servers, and this machine, and says what will go wrong: `planner doctor`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from planner.doctor import rules_container, rules_server
from planner.doctor.files import missing_files, read_files
from planner.doctor.host import host_findings
from planner.doctor.records import Document, Finding, Patient, Rule

if TYPE_CHECKING:
    from planner.catalog.catalog import Catalog
    from planner.hardware.facts import Hardware

RULES: tuple[Rule, ...] = (
    rules_server.known_flags,
    rules_server.pointless_flags,
    rules_server.known_variables,
    rules_server.known_keys,
    rules_server.known_model,
    rules_server.quantized_repository,
    rules_server.shared_context,
    rules_server.ollama_context,
    rules_server.secrets_inline,
    rules_server.listens_openly,
    rules_container.open_ports,
    rules_container.port_range,
    rules_container.image_pinned,
    rules_container.gpu_runtime,
    rules_container.health_check,
    rules_container.waits_for_ready,
    rules_container.restart_policy,
    rules_container.memory_limit,
    rules_container.rights,
    rules_container.gpu_shared,
    rules_container.numa_unbound,
    missing_files,
)


def diagnose(paths: Iterable[str | Path], catalog: Catalog, hardware: Hardware | None = None) -> tuple[Finding, ...]:
    """Findings of all files below the paths, worst first within a file; of the machine itself when no path is given.

    Raises UsageError for a path that does not exist or holds nothing that the doctor reads."""
    found = list(paths)
    if not found:
        return host_findings(hardware) if hardware is not None else ()
    return tuple(finding for document in read_files(found) for finding in _of_document(document, catalog, hardware))


_WORST_FIRST = {"error": 0, "warning": 1, "note": 2}


def _of_document(document: Document, catalog: Catalog, hardware: Hardware | None) -> Iterator[Finding]:
    findings = list(document.findings)
    for served in document.served:
        patient = Patient(served, document, catalog, hardware)
        findings += [finding for rule in RULES for finding in rule(patient)]
    yield from sorted(dict.fromkeys(findings), key=lambda finding: _WORST_FIRST[finding.severity])
