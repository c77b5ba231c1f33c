"""The tables of docs/plans.md: what is planned for each example machine and workload.

python tools/plans_table.py            write them anew
python tools/plans_table.py --check    exit 5 when they differ, write nothing
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

# The planner beside this file, whichever is installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import planner
from planner.planning.plan import Answer
from planner.units import format_gib, format_rate, format_tokens
from tools.pages import between, keep

if TYPE_CHECKING:
    from planner.catalog.catalog import Catalog
    from planner.hardware.facts import Hardware
    from planner.servers.records import Service

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "plans.md"
EXAMPLES = ROOT / "examples"


class Machine(NamedTuple):
    """A machine of the tables: a folder of `examples/`, or what is imagined for them alone."""

    name: str
    title: str
    imagined: dict[str, Any] | None = None

    def hardware(self, catalog: Catalog) -> Hardware:
        """The machine itself."""
        if self.imagined is not None:
            return planner.what_if(catalog=catalog, **self.imagined)
        return planner.load_hardware(EXAMPLES / self.name / "hardware.json")


MACHINES = (
    Machine(
        "laptop",
        "laptop, Radeon 780M in its processor, 16 GiB",
        {"gpus": ["Radeon 780M"], "cpu": "Ryzen 7 7840U", "ram": "16GiB", "ram_bandwidth": "89.6GB/s"},
    ),
    Machine("cpu-vm", "virtual machine, 2 cores, 24 GiB"),
    Machine("rtx-4090", "RTX 4090, 64 GiB of RAM at 80 GB/s"),
    Machine("rtx-4090-moe", "RTX 4090, 192 GiB of RAM at 80 GB/s"),
    Machine(
        "rx-7900-xtx",
        "RX 7900 XTX (ROCm), 64 GiB of RAM at 80 GB/s",
        {"gpus": ["RX 7900 XTX"], "cores": 16, "ram": "64GiB", "ram_bandwidth": "80GB/s"},
    ),
    Machine("2x-rtx-3090", "two RTX 3090, 128 GiB of RAM at 80 GB/s"),
    Machine("m3-max", "M3 Max with 40 GPU cores, 128 GiB"),
    Machine("epyc-2-nodes", "64 cores in 2 NUMA nodes, 512 GiB of RAM at 340 GB/s"),
    Machine(
        "8x-h100",
        "8 x H100 SXM5 80 GB, 96 cores in 2 NUMA nodes, 2 TiB of RAM at 600 GB/s",
        {"gpus": ["H100:8"], "cores": 96, "ram": "2048GiB", "ram_bandwidth": "600GB/s", "numa_nodes": 2},
    ),
)

HEAD = """\
| workload | role | what runs | where | memory | context | decode, tok/s | first token |
|---|---|---|---|---|---|---|---|"""


def answers(catalog: Catalog) -> Iterator[tuple[Machine, str, Answer]]:
    """Every machine with every workload of the catalog."""
    for machine in MACHINES:
        hardware = machine.hardware(catalog)
        for workload in catalog.workloads:
            yield machine, workload, planner.recommend(hardware, workload, catalog=catalog)


def tables(found: list[tuple[Machine, str, Answer]]) -> str:
    """One table for each machine; a line for each service."""
    lines: list[str] = []
    last = None
    for machine, workload, answer in found:
        if machine != last:
            lines += ["", f"### {machine.name}: {machine.title}", "", HEAD]
            last = machine
        lines += rows(workload, answer)
    return "\n".join([*lines, ""])


def rows(workload: str, answer: Answer) -> Iterator[str]:
    """The services of one plan; `!` marks a figure that misses its target."""
    decision = answer.decision
    assert decision is not None
    for number, service in enumerate(answer.plan.services):
        limits = (decision.targets.decode_tokens_per_s, decision.targets.ttft_s) if number == 0 else (None, None)
        cells = [
            f"{workload} ({answer.plan.matrix_row.id})" if number == 0 else "",
            service.role,
            f"{service.model_name} {service.quant}, {service.server}",
            service.placement.text,
            format_gib(service.footprint.total_bytes),
            "" if service.role == "image" else f"{format_tokens(service.context)} x {service.parallel}",
            *speeds(service, *limits),
        ]
        yield f"| {' | '.join(cells)} |"


def speeds(service: Service, least: float | None, longest: float | None) -> tuple[str, str]:
    """Expected decode rate of one user and wait for the first token."""
    rate, wait = service.speed.decode_tokens_per_s, service.speed.ttft_s
    if rate is None or wait is None or service.role == "image":
        return "not predicted", "not predicted"
    slow = "!" if least is not None and rate.expected < least else ""
    late = "!" if longest is not None and wait.expected > longest else ""
    shown = "" if service.role == "embedding" else f"{format_rate(rate.expected)}{slow}"
    return shown, f"{wait.expected:.2g} s{late}" if wait.expected < 10 else f"{wait.expected:.0f} s{late}"


def page(found: list[tuple[Machine, str, Answer]]) -> str:
    """docs/plans.md with its tables made anew."""
    return between(PAGE.read_text(encoding="utf-8"), "plans", tables(found))


def main() -> int:
    text = page(list(answers(planner.load_catalog())))
    return keep(PAGE, text, "tools/plans_table.py", check="--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
