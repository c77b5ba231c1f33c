"""The decision matrix: which row answers, and whether every row names things that exist."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from planner.catalog.records.policy import MatrixRow
from planner.errors import CatalogError, near_misses
from planner.planning.facts import FACTS, WORKLOADS, Situation
from planner.sizing.records import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from planner.catalog.catalog import Catalog

FILE = "decision_matrix.yaml"


class MatrixFinding(Record):
    """What `planner catalog check` says of a row, workload or quant that planning reads."""

    severity: Literal["error", "note"]
    subject: str
    text: str


def choose_row(catalog: Catalog, situation: Situation) -> MatrixRow:
    """The first row whose facts all hold. Raises CatalogError when none does, or a row names an unknown fact."""
    for row in catalog.matrix:
        if all(_fact_holds(row, name, situation) for name in row.when):
            return row
    raise CatalogError(
        f"{FILE}: no row holds for workload {situation.workload.id}",
        hint="add a last row with `when: []`, which always holds",
    )


def _fact_holds(row: MatrixRow, name: str, situation: Situation) -> bool:
    fact = FACTS.get(name)
    if fact is None:
        raise CatalogError(f"{FILE}: {row.id}: when: unknown fact {name!r}", hint=_near(name, FACTS))
    return fact(situation)


def _near(name: str, known: Iterable[str]) -> str:
    known = tuple(known)
    close = near_misses(name, known)
    return f"did you mean {', '.join(close)}?" if close else f"known: {', '.join(sorted(known)[:40])}"


def validate_row(row: MatrixRow, catalog: Catalog, file: str = FILE) -> None:
    """Raises CatalogError for the first unknown fact, server, model or quant of a row, with near misses."""
    for problem, hint in _problems(row, catalog):
        raise CatalogError(f"{file}: {problem}", hint=hint)


def validate_matrix(catalog: Catalog, file: str) -> None:
    """As `validate_row` for every row of a person's own file, so that none is wrong until it is needed."""
    for row in catalog.matrix:
        validate_row(row, catalog, file)


def _problems(row: MatrixRow, catalog: Catalog) -> Iterator[tuple[str, str]]:
    quants = {quant.id for quant in catalog.quants.values()}
    named: list[tuple[str, str, Iterable[str], Iterable[str]]] = [
        ("when", "fact", row.when, FACTS),
        ("servers", "server", row.servers, catalog.servers),
        ("shortlist", "model", row.shortlist, catalog.models),
        ("quants", "quant", row.quants, quants),
    ]
    if row.reference is not None:
        named += [
            ("reference.server", "server", (row.reference.server,), catalog.servers),
            ("reference.models", "model", row.reference.models, catalog.models),
            ("reference.quants", "quant", row.reference.quants, quants),
        ]
    for key, kind, names, known in named:
        for name in names:
            if name not in known:
                yield f"{row.id}: {key}: unknown {kind} {name!r}", _near(name, known)
    if not row.servers:
        yield f"{row.id}: servers: a row needs at least one server", "name llama-server"


def check_matrix(catalog: Catalog) -> tuple[MatrixFinding, ...]:
    """Errors of rows and workloads: unknown names, rows that can never be reached, workloads without a row."""
    found = [
        MatrixFinding(severity="error", subject=FILE, text=f"{problem} ({hint})")
        for row in catalog.matrix
        for problem, hint in _problems(row, catalog)
    ]
    found += _unreachable(catalog.matrix)
    found += _workloads(catalog)
    return tuple(found)


def _unreachable(rows: tuple[MatrixRow, ...]) -> Iterator[MatrixFinding]:
    """A row is never reached when an earlier one asks for a subset of its facts."""
    for number, row in enumerate(rows):
        for earlier in rows[:number]:
            if set(earlier.when) <= set(row.when):
                text = f"{row.id}: never reached, {earlier.id} comes first and asks for less"
                yield MatrixFinding(severity="error", subject=FILE, text=text)
                break


def _workloads(catalog: Catalog) -> Iterator[MatrixFinding]:
    quants = {quant.id for quant in catalog.quants.values()}
    for workload in catalog.workloads.values():
        where = f"workloads.yaml: {workload.id}"
        if workload.quant_floor is not None and workload.quant_floor not in quants:
            text = f"quant_floor: unknown quant {workload.quant_floor!r} ({_near(workload.quant_floor, quants)})"
            yield MatrixFinding(severity="error", subject=where, text=text)
        if workload.id in WORKLOADS and not _own_row(catalog.matrix, workload.id):
            yield MatrixFinding(severity="note", subject=where, text="no row of the decision matrix names it")


def _own_row(rows: tuple[MatrixRow, ...], workload: str) -> bool:
    return any(f"workload_is_{workload.replace('-', '_')}" in row.when for row in rows)
