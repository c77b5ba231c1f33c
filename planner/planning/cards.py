"""Which graphics cards would make a wish come true on a machine: every card of the device table that the budget of
VRAM allows, one to several of a kind, planned in place of the GPUs that the machine has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from planner.catalog.records import Workload
from planner.catalog.records.device import Device
from planner.errors import NoFeasiblePlan, UsageError
from planner.hardware.facts import Hardware
from planner.hardware.findings import Findings
from planner.hardware.imagined_gpus import GpuWish, imagine_gpus
from planner.planning.card_table import CardSet, affordable
from planner.planning.comparison import missed_targets
from planner.planning.constraints import Constraints
from planner.planning.machine import site_of
from planner.planning.recommend import case_of, decide
from planner.planning.role_questions import Chosen
from planner.sizing.records import Placement, Record
from planner.speed.records import Range
from planner.units import format_gib

if TYPE_CHECKING:
    from planner.catalog.catalog import Catalog

# Sizes of VRAM that are looked into beyond the smallest that works; larger ones work too.
SIZES: Final = 4


class CardChoice(Record, kw_only=True):
    """So many of one card, and what would run on them. `to_buy`: those that the machine does not have yet;
    `power_watts`: the published limits together; `misses`: targets that this choice misses too."""

    device: str
    name: str
    count: int
    to_buy: int
    vram_bytes: int
    power_watts: float | None
    source: str
    model: str
    model_name: str
    quant: str
    server: str
    placement: Placement
    decode_tokens_per_s: Range | None
    ttft_s: Range | None
    misses: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """`2 x GeForce RTX 3090`."""
        return f"{self.count} x {self.name}"


class Cards(Record, kw_only=True):
    """The answer to a wish. `here`: what becomes of it without new cards, `met_here`: whether nothing has to be bought;
    `choices`: what would do, the least VRAM first, then the fewest cards, then the fastest; `tried`: how many sets of
    cards were planned with."""

    budget_bytes: int
    here: str
    met_here: bool
    choices: tuple[CardChoice, ...]
    tried: int


def cards_for(
    hardware: Hardware,
    catalog: Catalog,
    workload: Workload,
    constraints: Constraints,
    budget_bytes: int,
) -> Cards:
    """Cards with which a plan exists that satisfies the constraints and meets the targets of the workload.

    Nothing is searched where the machine does as it is. Else from the least VRAM on: once a card does, more of it are
    not tried, and once `SIZES` sizes do, no larger one is.
    Raises UsageError (no card fits into the machine or the budget), NoFeasiblePlan naming what comes nearest."""
    _check(hardware)
    wish = _Wish(catalog, workload, constraints)
    here, met_here = wish.outcome(hardware)
    if met_here:
        return Cards(budget_bytes=budget_bytes, here=here, met_here=True, choices=(), tried=0)
    choices: list[CardChoice] = []
    nearest: CardChoice | None = None
    tried = 0
    for sort in affordable(catalog, budget_bytes):
        sizes = {choice.vram_bytes for choice in choices}
        if len(sizes) >= SIZES and sort.vram_bytes not in sizes:
            break
        if any(choice.device == sort.device.id for choice in choices):
            continue
        tried += 1
        choice = wish.with_cards(hardware, sort)
        if choice is None:
            continue
        if not choice.misses:
            choices.append(choice)
        elif nearest is None or len(choice.misses) <= len(nearest.misses):
            nearest = choice
    if not choices:
        raise _none(budget_bytes, tried, nearest, here)
    ordered = tuple(sorted(choices, key=_order))
    return Cards(budget_bytes=budget_bytes, here=here, met_here=False, choices=ordered, tried=tried)


def _check(hardware: Hardware) -> None:
    if any(gpu.vendor == "apple" for gpu in hardware.gpus):
        raise UsageError(
            "--budget-vram: no card fits into a Mac with an Apple chip",
            hint="try other chips with --apple, or another machine: --ram 64GiB --cores 16",
        )


def with_cards(hardware: Hardware, catalog: Catalog, device: Device, count: int) -> Hardware:
    """The machine with other cards in place of its own. What was measured with those says nothing of these."""
    findings = Findings()
    gpus = imagine_gpus(GpuWish(names=(f"{device.id}:{count}",)), catalog, findings)
    kept = {path: fact for path, fact in hardware.sources.items() if not path.startswith("gpus.")}
    return replace(hardware, gpus=gpus, calibration=(), sources=kept | findings.sources)


class _Wish:
    """A workload with its constraints, asked of one machine after the other."""

    def __init__(self, catalog: Catalog, workload: Workload, constraints: Constraints) -> None:
        self._catalog, self._workload, self._constraints = catalog, workload, constraints

    def outcome(self, hardware: Hardware) -> tuple[str, bool]:
        """What becomes of it on a machine, in words, and whether everything is met."""
        try:
            main = self._plan(hardware)
        except NoFeasiblePlan as miss:
            return miss.message, False
        misses = self._misses(main)
        text = f"{main.candidate.label} {main.candidate.placement.text}"
        return (f"{text} misses {'; '.join(misses)}", False) if misses else (f"{text} meets everything", True)

    def with_cards(self, hardware: Hardware, sort: CardSet) -> CardChoice | None:
        """The plan on these cards; None where nothing fits or nothing is fast enough."""
        device = sort.device
        try:
            main = self._plan(with_cards(hardware, self._catalog, device, sort.cards))
        except NoFeasiblePlan:
            return None
        found, speed = main.candidate, main.candidate.speed
        if not found.placement.gpus:
            return None
        there = sum(gpu.device == device.id for gpu in hardware.gpus)
        return CardChoice(
            device=device.id,
            name=device.name,
            count=sort.cards,
            to_buy=max(sort.cards - there, 0),
            vram_bytes=sort.vram_bytes,
            power_watts=device.power_watts * sort.cards if device.power_watts else None,
            source=device.source,
            model=found.model.id,
            model_name=found.model.name,
            quant=found.quant.id,
            server=found.server,
            placement=found.placement,
            decode_tokens_per_s=speed.decode_tokens_per_s,
            ttft_s=speed.ttft_s,
            misses=self._misses(main),
        )

    def _plan(self, hardware: Hardware) -> Chosen:
        case = case_of(hardware, self._catalog, self._workload, self._constraints)
        return decide(case, site_of(hardware, self._constraints)).chosen[0]

    def _misses(self, main: Chosen) -> tuple[str, ...]:
        ranking, found = main.question.ranking, main.candidate
        weak = () if ranking.is_useful(found.ability) else ("a model of use",)
        return (*weak, *missed_targets(found.speed, ranking.targets))


def _order(choice: CardChoice) -> tuple[float | str, ...]:
    return choice.vram_bytes, choice.count, -_expected(choice.decode_tokens_per_s), choice.device


def _expected(rate: Range | None) -> float:
    return rate.expected if rate else 0.0


def _none(budget_bytes: int, tried: int, nearest: CardChoice | None, here: str) -> NoFeasiblePlan:
    text = f"no cards of {format_gib(budget_bytes)} or less make it fit ({tried} sets tried); here: {here}"
    if nearest is None:
        return NoFeasiblePlan(text, hint="a larger --budget-vram, a smaller --model, or fewer bits")
    return NoFeasiblePlan(
        f"{text}; the nearest, {nearest.label}, misses {'; '.join(nearest.misses)}",
        hint="a larger --budget-vram, or a lower target: --min-decode, --max-ttft",
    )
