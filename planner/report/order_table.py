"""The first places of an order as a table: one column per candidate, one line per level, and what separated them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from planner.report.lines import bullet, clipped, wrapped
from planner.units import format_rate

if TYPE_CHECKING:
    from planner.planning.plan import Decision, Place

LABEL, CELL = 15, 12

# Levels that only break ties between candidates of the same name say nothing in a table of different ones.
NAMES = frozenset({"name", "quant name", "placement"})


def order_lines(decision: Decision) -> list[Text]:
    """The legend, the table, and a sentence for each step down."""
    lines = [line for number, place in enumerate(decision.places, 1) for line in _legend(number, place)]
    lines.append(_row("level", [str(number) for number in range(1, len(decision.places) + 1)]))
    lines += [_level(name, index, decision) for index, name in enumerate(decision.levels) if name not in NAMES]
    lines += [_figures(name, decision) for name in ("quant loss", "first token")]
    for number, place in enumerate(decision.places[1:], 2):
        lines += bullet(f"{number} behind {number - 1} by {place.behind_by}: {place.behind_text}")
    return lines


def _legend(number: int, place: Place) -> list[Text]:
    text = f"{number}  {place.model_name} {place.quant} on {place.server}, {place.placement.text}"
    return wrapped(text, rest=" " * 5, most=2)


def _row(label: str, cells: list[str]) -> Text:
    return Text("  " + (clipped(label, LABEL).ljust(LABEL) + "".join(cell.rjust(CELL) for cell in cells)).rstrip())


def _level(name: str, index: int, decision: Decision) -> Text:
    cells = []
    for place in decision.places:
        mark = "<" if place.behind_by == name else ""
        cells.append(mark + clipped(_cell(name, place.values[index], place, decision), CELL - 2))
    return _row(name.replace("(", "").replace(")", ""), cells)


def _cell(name: str, value: float | str, place: Place, decision: Decision) -> str:
    """What is compared at one level, with the figure that it stands for."""
    number = float(value) if not isinstance(value, str) else 0.0
    match name:
        case "server" | "quant order" | "device" | "shortlist" | "quant":
            return _of_row(name, number, place, decision)
        case "usefulness":
            return "too weak" if number else "of use"
        case "targets":
            return f"{number:g} missed" if number else "met"
        case "ability" | "ability (wide)":
            return f"band {-number:g}"
        case "ability (exact)":
            return f"{-number:.2f}"
        case "speed":
            return f"{-number:g}:{format_rate(place.decode_tokens_per_s)}t/s"
        case "headroom":
            return f"{-number:g}: {place.free_fraction:.0%}"
        case _:
            return f"{abs(number):g}"


def _of_row(name: str, number: float, place: Place, decision: Decision) -> str:
    """What the row of the matrix prefers."""
    row = decision.row
    match name:
        case "server":
            return f"{number + 1:g} of {len(row.servers)}" if place.server in row.servers else "other"
        case "quant order":
            return f"{number + 1:g} {place.quant}"
        case "device":
            return "elsewhere" if number else row.device
        case "shortlist" if not row.shortlist:
            return "none"
        case _:
            return "not listed" if number else "listed"


def _figures(name: str, decision: Decision) -> Text:
    """Figures that are part of a level: the loss inside the ability, the wait inside the targets."""
    if name == "quant loss":
        return _row(name, [f"{place.quant_loss:.2f}" for place in decision.places])
    waits = (place.ttft_s for place in decision.places)
    return _row(name, ["unknown" if wait is None else f"{wait:.2g} s" for wait in waits])
