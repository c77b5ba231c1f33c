"""Which cards would make a wish fit, for a person: per size of VRAM the first few, and how many more do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from planner.report.bars import range_text, seconds_text
from planner.report.lines import bullet, heading, wrapped
from planner.units import format_gib

if TYPE_CHECKING:
    from planner.planning.cards import CardChoice, Cards

PER_SIZE = 3

_FOOT = "Planned with the RAM and CPU of this machine, the cards in place of its GPUs. --json has all."


def cards_view(cards: Cards, title: str) -> Text:
    """What becomes of the wish here, and what would make it fit, the least VRAM first."""
    lines = heading(f"Cards for {title}, at most {format_gib(cards.budget_bytes)} of VRAM together")
    lines += bullet(f"here: {cards.here}", most=3)
    if cards.met_here:
        return Text("\n").join([*lines, *bullet("nothing to buy: ask for more with --model, --min-decode or --users")])
    sizes = dict.fromkeys(choice.vram_bytes for choice in cards.choices)
    for size in sizes:
        same = [choice for choice in cards.choices if choice.vram_bytes == size]
        lines += heading(f"{format_gib(size)}, {len(same)} of the table do")
        for choice in same[:PER_SIZE]:
            lines += _choice_lines(choice)
    lines += wrapped(_FOOT, first="", rest="")
    return Text("\n").join(lines)


def _choice_lines(choice: CardChoice) -> list[Text]:
    power = f"{choice.power_watts:g} W" if choice.power_watts else "power unknown"
    buy = f"{choice.to_buy} to buy" if choice.to_buy != choice.count else "to buy"
    speed = range_text(choice.decode_tokens_per_s, "tok/s")
    runs = f"{choice.model_name} {choice.quant} on {choice.server} {choice.placement.text}"
    lines = bullet(f"{choice.label} ({buy}, {power}): {speed}, first token {seconds_text(choice.ttft_s)}", most=2)
    return lines + wrapped(runs, first="    ", rest="    ", most=1)
