"""Reads files that start servers, and this machine, and says what will go wrong: `planner doctor`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from planner.doctor import rules_container, rules_server
from planner.doctor.files import as_rendered, missing_files, read_files
from planner.doctor.naming import Names
from planner.doctor.records import Document, Finding, Patient, Rule
from planner.doctor.scene import setups_of
from planner.planning.pitfalls import fix_of, look, severity_of
from planner.planning.pitfalls.scene import Pitfall, Scene, Sign

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
    missing_files,
)


def diagnose(
    paths: Iterable[str | Path], catalog: Catalog, hardware: Hardware | None = None, *, users: int | None = None
) -> tuple[Finding, ...]:
    """Findings of all files below the paths, worst first within a file; of the machine itself when no path is given.
    `users`: how many will send requests at once.

    Raises UsageError for a path that does not exist or holds nothing that the doctor reads."""
    found = list(paths)
    if not found:
        return host_findings(hardware) if hardware is not None else ()
    return findings_of(read_files(found), catalog, hardware, users)


def host_findings(hardware: Hardware) -> tuple[Finding, ...]:
    """What about a machine itself will hurt serving, whatever is started on it."""
    return tuple(_finding(pitfall, sign) for pitfall, sign in look(Scene(hardware), "host"))


_WORST_FIRST = {"error": 0, "warning": 1, "note": 2}


def findings_of(
    documents: Iterable[Document], catalog: Catalog, hardware: Hardware | None = None, users: int | None = None
) -> tuple[Finding, ...]:
    """Findings document by document, worst first within each."""
    found = {document.path: document for document in documents}
    shared = _pitfalls(tuple(found.values()), catalog, hardware, users)
    findings = (
        finding
        for path, document in found.items()
        for finding in _sorted([*_by_rules(document, catalog, hardware), *shared[path]])
    )
    return tuple(findings)


def _sorted(findings: list[Finding]) -> Iterator[Finding]:
    yield from sorted(dict.fromkeys(findings), key=lambda finding: _WORST_FIRST[finding.severity])


def _by_rules(document: Document, catalog: Catalog, hardware: Hardware | None) -> Iterator[Finding]:
    yield from document.findings
    for served in document.served:
        patient = Patient(served, document, catalog, hardware)
        for rule in RULES:
            yield from rule(patient)


def _pitfalls(
    documents: tuple[Document, ...], catalog: Catalog, hardware: Hardware | None, users: int | None
) -> dict[str, list[Finding]]:
    """What the checks that plans share find, by document. What a plan has weighed, its bundle's README says."""
    found: dict[str, list[Finding]] = {document.path: [] for document in documents}
    names = Names(catalog)
    for group in _side_by_side(documents):
        setups = [(document, setup) for document in group for setup in setups_of(document, names, hardware)]
        owner = {setup.place: document.path for document, setup in setups}
        rendered = {document.path for document in group if as_rendered(Path(document.path))}
        scene = Scene(hardware, tuple(setup for _, setup in setups), users=users)
        for pitfall, sign in look(scene, "file"):
            path = owner[sign.setup.place] if sign.setup else group[0].path
            if not (pitfall.weighed and path in rendered):
                found[path].append(_finding(pitfall, sign))
    return found


def _side_by_side(documents: tuple[Document, ...]) -> Iterable[list[Document]]:
    """Documents that run at the same time: systemd and launchd start all of a folder, other files stand
    alone."""
    groups: dict[str, list[Document]] = {}
    for document in documents:
        by_folder = document.kind in {"unit", "quadlet", "launchd"}
        groups.setdefault(str(Path(document.path).parent) if by_folder else document.path, []).append(document)
    return groups.values()


def _finding(pitfall: Pitfall, sign: Sign) -> Finding:
    place = ".".join(part for part in (sign.setup.place if sign.setup else "", sign.key) if part)
    return Finding(
        rule_id=pitfall.id,
        severity=severity_of(pitfall, sign),
        place=place,
        text=sign.text,
        fix=fix_of(pitfall, sign),
    )
