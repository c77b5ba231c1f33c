"""Which quantization a name means, per format."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from planner.catalog.records import Quant
from planner.errors import UnknownName

# Without a format the first one that has the name decides, as servers are asked: llama-server, vllm, mlx-lm.
FORMATS = ("gguf", "hf", "mlx")


def by_key(quants: Iterable[Quant]) -> Mapping[str, Quant]:
    """Quants by id; an id that a preferred format has already taken gets its format appended (`BF16|hf`)."""
    ranked = sorted(quants, key=lambda quant: FORMATS.index(quant.format))
    keyed: dict[str, Quant] = {}
    for quant in ranked:
        keyed[quant.id if quant.id not in keyed else f"{quant.id}|{quant.format}"] = quant
    return keyed


def find(quants: Iterable[Quant], name: str, format: str | None = None) -> Quant:  # noqa: A002 - as in the catalog
    """The quant of that id or alias, case ignored, in one format or in the first that has it.

    Raises UnknownName: near misses, and for an id of another format that format's name."""
    asked, known = name.strip().casefold(), tuple(quants)
    for each in FORMATS if format is None else (format,):
        inside = [quant for quant in known if quant.format == each]
        for quant in inside:
            if quant.id.casefold() == asked:
                return quant
        for quant in inside:
            if asked in (alias.casefold() for alias in quant.aliases):
                return quant
    raise UnknownName("quant", name, _spellings(known, format), hint=_elsewhere(known, asked, format))


def _spellings(quants: Iterable[Quant], format: str | None) -> list[str]:  # noqa: A002
    return [quant.id for quant in quants if format in (None, quant.format)]


def _elsewhere(quants: Iterable[Quant], asked: str, format: str | None) -> str | None:  # noqa: A002
    """Says so when the quant exists, but in another format than the one asked for."""
    others = sorted({q.format for q in quants if asked in (q.id.casefold(), *(a.casefold() for a in q.aliases))})
    if not others or format is None:
        return None
    readable = [quant.id for quant in quants if quant.format == format and not quant.rare]
    return f"{asked} is a quant of {', '.join(others)}; {format} has {', '.join(readable)}"
