"""What a million tokens cost: energy from the power of the devices in use and the predicted speed, and money at prices
that the person gives. Nothing here knows a price: they age."""

from __future__ import annotations

from collections import Counter
from math import sqrt
from typing import Final, Literal

from planner.catalog.records.policy import Role
from planner.errors import UsageError
from planner.hardware.facts import Hardware, SourceKind
from planner.planning.plan import Plan
from planner.servers.records import Service
from planner.sizing.records import Record
from planner.speed.records import Range
from planner.units import KWH_JOULES

MILLION: Final = 1e6

# The share of its power limit that a card draws while decoding: 137 of 700 W (H200, memory bound; arXiv 2605.11999)
# to 172.7 of 180 W (RTX 5060 Ti, Qwen2.5-Coder-7B on llama.cpp; inventivehq.com/blog/gpu-power-limit-tokens-per-watt).
# What is expected lies in the geometric middle; none draws more than its limit.
_DECODE_SOURCE: Final = "H200: arXiv 2605.11999; RTX 5060 Ti: inventivehq.com/blog/gpu-power-limit-tokens-per-watt"
DECODE_SHARE: Final = Range(low=137 / 700, expected=sqrt(137 / 700 * 172.7 / 180), high=1.0)

# While reading a prompt, from 9,893 tok/s at 43.5 million tokens per kWh, 818 of 2,100 W (six RTX 3090 that take turns
# layer by layer; llmgarage.ai/power-limit-tokens-per-second-benchmark), up to the limit, which is what holds prefill
# back there: less power, fewer tokens.
_PREFILL_SOURCE: Final = "six RTX 3090: llmgarage.ai/power-limit-tokens-per-second-benchmark"
PREFILL_SHARE: Final = Range(low=818 / 2100, expected=sqrt(818 / 2100), high=1.0)

# Placements that let the CPU compute too.
_WITH_CPU: Final = frozenset({"cpu", "experts-in-ram", "split"})
# Roles whose speed is predicted: they write text.
WRITES: Final = frozenset({"interactive", "batch"})


class Prices(Record, kw_only=True):
    """What the person says, in a currency of their own: of a kWh, of an hour of one GPU; and what the machine draws
    under load as a meter shows it."""

    per_kwh: float | None = None
    per_gpu_hour: float | None = None
    power_watts: float | None = None

    def __post_init__(self) -> None:
        for option, value in (("--price-kwh", self.per_kwh), ("--price-gpu-hour", self.per_gpu_hour)):
            if value is not None and not 0 < value < float("inf"):
                raise UsageError(
                    f"{option} {value:g} must be more than zero", hint="leave it out where it is not known"
                )


class Draw(Record, kw_only=True):
    """Devices of one kind in use: how many, the most that one of them may draw, and where that figure is from."""

    name: str
    count: int
    limit_watts: float | None
    source: SourceKind | None = None
    note: str | None = None


class TokenCost(Record, kw_only=True):
    """A million tokens read or written: energy and money, None where power, speed or price is not known."""

    kwh_per_million: Range | None = None
    energy_price_per_million: Range | None = None
    gpu_price_per_million: Range | None = None

    @property
    def price_per_million(self) -> Range | None:
        """Energy and GPU hours together, as far as they were priced."""
        parts = [part for part in (self.energy_price_per_million, self.gpu_price_per_million) if part is not None]
        return _sum(parts) if parts else None


class ServiceCost(Record, kw_only=True):
    """One service at its planned load: `read` of prompts, `written` by all users together. `watts` while it writes;
    `not_counted`: what else draws power, by how much is not known; `gpus_alone`: the CPU computes too, uncounted."""

    name: str
    role: Role
    devices: tuple[Draw, ...]
    watts: Range | None = None
    read: TokenCost = TokenCost()
    written: TokenCost = TokenCost()
    not_counted: tuple[str, ...] = ()
    gpus_alone: bool = False

    @property
    def predicted(self) -> bool:
        """Whether the speed of such a service is predicted at all."""
        return self.role in WRITES


class Cost(Record, kw_only=True):
    """The cost of a plan's services. `hardware`: `there` when the machine was read, `imagined` when it was described:
    then it is to buy, unless somebody has it."""

    hardware: Literal["there", "imagined"]
    prices: Prices
    services: tuple[ServiceCost, ...]
    sources: tuple[str, ...] = ()


def cost_of(plan: Plan, prices: Prices | None = None) -> Cost:
    """Energy per million tokens of each service, and money where prices were given. All tokens come at the planned
    load: hours without work are not in it. Raises UsageError for a price of GPUs that the machine does not have."""
    asked = prices or Prices()
    if asked.per_gpu_hour is not None and not plan.hardware.gpus:
        raise UsageError("--price-gpu-hour: this machine has no GPU", hint="leave it out, or name one with --gpu")
    services = tuple(_of_service(service, plan.hardware, asked) for service in plan.services)
    return Cost(
        hardware="there" if _is_there(plan.hardware) else "imagined",
        prices=asked,
        services=services,
        sources=_sources(asked) if any(service.watts for service in services) else (),
    )


def _is_there(hardware: Hardware) -> bool:
    """Whether anything of the machine was read or measured."""
    return any(fact.source in {"read", "measured"} and fact.state == "known" for fact in hardware.sources.values())


def _of_service(service: Service, hardware: Hardware, prices: Prices) -> ServiceCost:
    devices = draws_of(service, hardware)
    most = _limit_watts(devices)
    measured = prices.power_watts
    writing = _exactly(measured) if measured else _share_of(most, DECODE_SHARE)
    reading = _exactly(measured) if measured else _share_of(most, PREFILL_SHARE)
    known = service.role in WRITES
    cards = len(service.placement.gpus)
    return ServiceCost(
        name=service.name,
        role=service.role,
        devices=devices,
        watts=writing if known else None,
        read=_token_cost(service.speed.prefill_tokens_per_s if known else None, reading, cards, prices),
        written=_token_cost(written_tokens_per_s(service) if known else None, writing, cards, prices),
        not_counted=() if measured else _not_counted(service, devices),
        gpus_alone=bool(cards) and not measured and service.placement.kind in _WITH_CPU,
    )


def draws_of(service: Service, hardware: Hardware) -> tuple[Draw, ...]:
    """The GPUs of a service by name, with the limit that the driver told or the device table publishes."""
    counts = Counter(hardware.gpus[index].name for index in service.placement.gpus)
    found = []
    for name, count in counts.items():
        index = next(i for i in service.placement.gpus if hardware.gpus[i].name == name)
        fact = hardware.sources.get(f"gpus.{index}.power_watts")
        watts = hardware.gpus[index].power_watts
        source, note = (fact.source, fact.note) if fact and watts is not None else (None, None)
        found.append(Draw(name=name, count=count, limit_watts=watts, source=source, note=note))
    return tuple(found)


def written_tokens_per_s(service: Service) -> Range | None:
    """Tokens that all users of a service get together while it writes, prompts not counted."""
    rate, speed = service.speed.decode_tokens_per_s, service.speed
    if rate is None:
        return None
    at_once = min(speed.concurrency, service.parallel * max(service.placement.instances, 1))
    return _times(rate, float(at_once))


def _limit_watts(devices: tuple[Draw, ...]) -> float | None:
    """The limits together; None without a device, or where one of them is not known."""
    limits = [draw.count * draw.limit_watts for draw in devices if draw.limit_watts is not None]
    return sum(limits) if limits and len(limits) == len(devices) else None


def _not_counted(service: Service, devices: tuple[Draw, ...]) -> tuple[str, ...]:
    unknown = [f"the power of {draw.name} is not known" for draw in devices if draw.limit_watts is None]
    if service.placement.kind in _WITH_CPU:
        what = "the CPU," if service.placement.kind == "cpu" else "the CPU, which computes a part, and"
        unknown.append(f"{what} whose power is not known")
    elif service.placement.kind != "unified":
        unknown.append("the machine around the GPUs")
    return tuple(unknown)


def _token_cost(rate: Range | None, watts: Range | None, cards: int, prices: Prices) -> TokenCost:
    if rate is None:
        return TokenCost()
    energy = _energy(watts, rate)
    hours = _inverse(rate, MILLION / 3600.0)
    return TokenCost(
        kwh_per_million=energy,
        energy_price_per_million=_times(energy, prices.per_kwh) if energy and prices.per_kwh else None,
        gpu_price_per_million=_times(hours, prices.per_gpu_hour * cards) if prices.per_gpu_hour and cards else None,
    )


def _energy(watts: Range | None, rate: Range) -> Range | None:
    """Energy of a million tokens in kWh: the least power at the best speed to the most at the worst."""
    if watts is None:
        return None
    per_watt = _inverse(rate, MILLION / KWH_JOULES)
    return Range(
        low=watts.low * per_watt.low, expected=watts.expected * per_watt.expected, high=watts.high * per_watt.high
    )


def _sources(prices: Prices) -> tuple[str, ...]:
    if prices.power_watts:
        return (f"power: {prices.power_watts:g} W as given, for the whole machine under load",)
    return (
        f"writing draws {DECODE_SHARE.low:.0%} to all of a card's power limit ({_DECODE_SOURCE})",
        f"reading prompts draws {PREFILL_SHARE.low:.0%} to all of it ({_PREFILL_SOURCE})",
    )


def _exactly(value: float) -> Range:
    return Range(low=value, expected=value, high=value)


def _share_of(most: float | None, share: Range) -> Range | None:
    return None if most is None else _times(share, most)


def _times(value: Range, factor: float) -> Range:
    return Range(low=value.low * factor, expected=value.expected * factor, high=value.high * factor)


def _inverse(rate: Range, quantity: float) -> Range:
    return Range(low=quantity / rate.high, expected=quantity / rate.expected, high=quantity / rate.low)


def _sum(parts: list[Range]) -> Range:
    return Range(
        low=sum(part.low for part in parts),
        expected=sum(part.expected for part in parts),
        high=sum(part.high for part in parts),
    )
