"""A decode rate that no placement of a model on a machine can exceed: what the memories allow at full bandwidth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from planner.sizing.least import LeastBytes
    from planner.sizing.records import Pool

# Room for what the estimate may add to a memory's own figure: a measured calibration, a figure read below its best.
ABOVE_BANDWIDTH: Final = 1.5


def decode_ceiling_tokens_per_s(least: LeastBytes, pools: Iterable[Pool]) -> float | None:
    """Tokens per second of one user when every memory is read at `ABOVE_BANDWIDTH` times its bandwidth and GPUs work
    side by side; what GPUs cannot hold is read from RAM, experts first, since a token reads few of them. None where a
    bandwidth that counts is not known."""
    known = tuple(pools)
    ram = [pool for pool in known if pool.kind == "ram"]
    devices = [pool for pool in known if pool.kind != "ram"]
    on_devices = sum(pool.usable_bytes for pool in devices)
    in_ram = _read_from_ram(least, on_devices)
    seconds = 0.0
    for quantity, where in ((least.expert_read + least.dense_read - in_ram, devices), (in_ram, ram)):
        if quantity <= 0:
            continue
        rates = [pool.bandwidth_bytes_per_s for pool in where]
        if not rates or None in rates:
            return None
        seconds += quantity / (sum(rate for rate in rates if rate) * ABOVE_BANDWIDTH)
    return 1 / seconds if seconds else None


def _read_from_ram(least: LeastBytes, on_devices: int) -> float:
    overflow = max(least.resident - on_devices, 0.0)
    if not overflow:
        return 0.0
    experts = min(overflow, least.experts)
    return (experts * least.expert_read / least.experts if least.experts else 0.0) + overflow - experts
