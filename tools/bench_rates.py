"""How many sizes and speeds one core works out in a second."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from planner.catalog.catalog import Catalog
    from planner.catalog.records.quant import Quant
    from planner.sizing.records import Runtime

FOOTPRINTS_PER_S = 50_000
ESTIMATES_PER_S = 20_000
ROUNDS = 5
MODEL = "qwen3-30b-a3b"  # experts, 48 layers: no easy case


def footprints() -> bool:
    """Size one expanded model under every GGUF quant and 64 new contexts per round; print the rate; True when above
    the bound."""
    from planner.catalog.load import load_catalog
    from planner.sizing.footprint import size_model
    from planner.sizing.records import Allocation
    from planner.sizing.tensors import expand

    catalog = load_catalog()
    expanded, allocation = expand(catalog.model(MODEL)), Allocation(policy="llama.cpp", buffers="llama.cpp")

    def work(number: int) -> Iterator[object]:
        for quant, runtime, _ in questions(catalog, number):
            yield size_model(expanded, quant, runtime, allocation, server="llama.cpp")

    return _rate("footprints of an expanded model", work, FOOTPRINTS_PER_S)


def estimates() -> bool:
    """Place and size the same on an RTX 4090, then estimate its speed at a new depth each; print the rate; True when
    above the bound."""
    import planner
    from planner.catalog.load import load_catalog
    from planner.sizing.footprint import size_model
    from planner.sizing.pools import machine_pools
    from planner.sizing.records import Allocation, Placement
    from planner.sizing.tensors import expand
    from planner.speed.estimate import estimate_speed

    catalog = load_catalog()
    hardware = planner.what_if(gpus=["RTX 4090"], ram="64GiB", ram_bandwidth="80GB/s", cores=16)
    pools, placement = machine_pools(hardware), Placement(kind="gpu", gpus=(0,), text="in VRAM")
    expanded, allocation = expand(catalog.model(MODEL)), Allocation(policy="llama.cpp", buffers="llama.cpp")

    def work(number: int) -> Iterator[object]:
        for quant, runtime, depth in questions(catalog, number):
            sized = size_model(
                expanded, quant, runtime, allocation, server="llama.cpp", placement=placement, pools=pools
            )
            yield estimate_speed(
                expanded,
                quant,
                sized,
                hardware,
                pools,
                placement,
                stack="llama.cpp-cuda",
                runtime=runtime,
                depth=depth,
                prompt_tokens=512,
                output_tokens=256,
                concurrency=1,
            )

    return _rate("estimates, sizes included", work, ESTIMATES_PER_S)


def questions(catalog: Catalog, number: int) -> Iterator[tuple[Quant, Runtime, int]]:
    """Every GGUF quant with 64 contexts that no other round has, each with a depth."""
    from planner.sizing.records import Runtime

    for quant in catalog.quants.values():
        if quant.format == "gguf":
            for step in range(1, 65):
                yield quant, Runtime(context_tokens=1024 * step + 256 * number), 512 * step


def _rate(name: str, work: Callable[[int], Iterator[object]], bound: int) -> bool:
    """The median of the rounds, in CPU time; the first round fills what later ones look up."""
    rates = []
    for number in range(ROUNDS):
        start = time.process_time()
        count = sum(1 for _ in work(number))
        rates.append(count / (time.process_time() - start))
    rate = statistics.median(rates)
    print(f"{name}: {rate:,.0f} per second and core (bound {bound:,})")
    return rate >= bound
