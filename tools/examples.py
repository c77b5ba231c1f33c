"""Rebuild `examples/`: for each machine its hardware file, plan, screen and bundle.

    python tools/examples.py            rebuild all
    python tools/examples.py --check    exit 5 when anything differs, write nothing

The hardware file of a probed machine is an input and stays; imagined machines are made anew.
"""

from __future__ import annotations

import argparse
import io
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# The planner beside this file, whichever is installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import planner
from planner.hardware.files import hardware_json
from planner.planning.files import plan_json
from planner.planning.plan import Answer
from planner.rendering.write import check_bundle, write_bundle
from planner.report.recommendation import recommendation_view

EXAMPLES = Path(__file__).parents[1] / "examples"


@dataclass(frozen=True)
class Example:
    """A machine (imagined when `machine` is given, else probed and stored), and what is asked of it."""

    name: str
    workload: str
    machine: dict[str, Any] = field(default_factory=dict)
    wishes: dict[str, Any] = field(default_factory=dict)


ALL = (
    Example("cpu-vm", "chat"),
    Example("rtx-4090", "code", {"gpus": ["RTX 4090"], "ram": "64GiB", "ram_bandwidth": "80GB/s", "cores": 16}),
    Example(
        "2x-rtx-3090",
        "team",
        {"gpus": ["RTX 3090:2"], "ram": "128GiB", "ram_bandwidth": "80GB/s", "cores": 16},
        {"users": 10},
    ),
    Example(
        "epyc-2-nodes",
        "long-context",
        {"cores": 64, "ram": "512GiB", "ram_bandwidth": "340GB/s", "numa_nodes": 2},
    ),
    Example("m3-max", "macos", {"apple": "M3 Max 40c 128GiB"}),
    Example(
        "rtx-4090-moe",
        "chat",
        {"gpus": ["RTX 4090"], "ram": "192GiB", "ram_bandwidth": "80GB/s", "cores": 16},
        {"model": "qwen3-235b-a22b", "quant": "Q4_K_M"},
    ),
)


def screen(answer: Answer) -> str:
    """What `planner recommend` prints on an 80-column terminal."""
    from rich.console import Console

    console = Console(file=io.StringIO(), width=80, highlight=False, color_system=None)
    console.print(recommendation_view(answer, cost=planner.cost(answer.plan)))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def build(example: Example) -> tuple[dict[str, bytes], planner.rendering.Bundle]:  # type: ignore[name-defined]
    """The files of one example beside its bundle, and the bundle."""
    catalog = planner.load_catalog()
    stored = EXAMPLES / example.name / "hardware.json"
    hardware = planner.what_if(catalog=catalog, **example.machine) if example.machine else planner.load_hardware(stored)
    answer = planner.recommend(hardware, example.workload, catalog=catalog, **example.wishes)
    files = {
        "hardware.json": hardware_json(hardware),
        "plan.json": plan_json(answer.plan),
        "screen.txt": screen(answer).encode(),
    }
    return files, planner.render(answer.plan, "all", catalog=catalog)


def differences(example: Example) -> list[str]:
    """What of an example is not current."""
    files, bundle = build(example)
    folder = EXAMPLES / example.name
    changed = [
        f"{example.name}/{name}"
        for name, data in files.items()
        if not (folder / name).is_file() or (folder / name).read_bytes() != data
    ]
    return changed + [f"{example.name}/bundle: {line}" for line in check_bundle(bundle, folder / "bundle")]


def write(example: Example) -> None:
    """Write one example."""
    files, bundle = build(example)
    folder = EXAMPLES / example.name
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    write_bundle(bundle, folder / "bundle")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    chosen = [example for example in ALL if not arguments.names or example.name in arguments.names]
    if arguments.check:
        changed = [line for example in chosen for line in differences(example)]
        print("\n".join(changed) or "examples are current")
        return 5 if changed else 0
    for example in chosen:
        write(example)
    return 0


if __name__ == "__main__":
    sys.exit(main())
