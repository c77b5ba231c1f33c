"""Energy and money per million tokens: one line beside a plan, and everything behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.report.lines import bullet, heading

if TYPE_CHECKING:
    from rich.text import Text

    from planner.planning.cost import Cost, Draw, ServiceCost, TokenCost
    from planner.speed.records import Range


def cost_line(cost: Cost) -> str | None:
    """The cost of the first service in one line: money where prices were given, else energy; None when neither is
    known."""
    first = cost.services[0]
    if first.written.price_per_million is not None:
        written, read, unit = first.written.price_per_million, first.read.price_per_million, ""
    elif first.written.kwh_per_million is not None:
        written, read, unit = first.written.kwh_per_million, first.read.kwh_per_million, " kWh"
    else:
        return None
    text = f"{'GPU alone: ' if first.gpus_alone else ''}{span_text(written)}{unit} per 1M tokens written"
    return f"{text}, {span_text(read)} read" if read else text


def cost_lines(cost: Cost) -> list[Text]:
    """Every service with its devices, energy and money, and where the figures come from."""
    lines = heading("Cost, at the planned load all the time")
    there = "was read: it is there" if cost.hardware == "there" else "was described: to buy, unless somebody has it"
    lines += bullet(f"the machine {there}")
    for service in cost.services:
        for text in _service_texts(service, cost):
            lines += bullet(f"{service.name}: {text}")
    if cost.prices.per_kwh or cost.prices.per_gpu_hour:
        lines += bullet(f"prices as given, in their own currency: {_prices_text(cost)}")
    for source in cost.sources:
        lines += bullet(source)
    return lines


def _service_texts(service: ServiceCost, cost: Cost) -> list[str]:
    found = [_draw_text(draw) for draw in service.devices]
    if not service.predicted:
        return [*found, "its speed is not predicted, so neither is its energy"]
    if service.watts is not None:
        found.append(f"draws {span_text(service.watts)} W while it writes")
    for name, tokens in (("written", service.written), ("read", service.read)):
        found.append(f"a million tokens {name}: {_tokens_text(tokens)}")
    if cost.prices.per_gpu_hour and not service.devices:
        found.append("uses no GPU, so it costs no GPU hours")
    return found + [f"not counted: {text}" for text in service.not_counted]


def _draw_text(draw: Draw) -> str:
    if draw.limit_watts is None:
        return f"{draw.count} x {draw.name}: power unknown; --power says what the machine draws"
    source = f" ({', '.join(part for part in (draw.source, draw.note) if part)})" if draw.source else ""
    return f"{draw.count} x {draw.name}, at most {draw.limit_watts:g} W each{source}"


def _tokens_text(tokens: TokenCost) -> str:
    energy, price = tokens.kwh_per_million, tokens.price_per_million
    text = f"{span_text(energy)} kWh" if energy else "energy unknown"
    if price is None:
        return text
    parts = [("energy", tokens.energy_price_per_million), ("GPU hours", tokens.gpu_price_per_million)]
    told = ", ".join(f"{name} {span_text(part)}" for name, part in parts if part)
    return f"{text}; costs {span_text(price)} ({told})"


def _prices_text(cost: Cost) -> str:
    prices = cost.prices
    parts = [(prices.per_kwh, "a kWh"), (prices.per_gpu_hour, "an hour of one GPU")]
    return ", ".join(f"{value:g} for {what}" for value, what in parts if value)


def span_text(value: Range) -> str:
    """`1.3 (0.42-3.9)`, with two significant digits; large numbers whole. One number where nothing is a range."""
    if value.low == value.high:
        return _digits(value.expected)
    return f"{_digits(value.expected)} ({_digits(value.low)}-{_digits(value.high)})"


def _digits(value: float) -> str:
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.2g}" if value >= 0.001 else f"{value:.1e}"
