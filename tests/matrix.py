"""Every example machine with every server and several workloads, rendered for every target that can serve it; what each
example stores; and machines of other kinds that no example has."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import planner
from planner.catalog.catalog import Catalog
from planner.errors import NoFeasiblePlan
from planner.hardware.facts import Hardware
from planner.planning.plan import Plan
from planner.rendering import TARGETS, Bundle
from planner.rendering.bundle import CannotServe
from planner.servers import SERVERS

EXAMPLES = Path(__file__).parents[1] / "examples"
MACHINES = tuple(sorted(path.parent.name for path in EXAMPLES.glob("*/hardware.json")))
# One service, two roles side by side, an embedding server beside the first, an image server beside it.
WORKLOADS = ("chat", "team", "agent", "multimodal")
# Devices that no example has: ROCm, Intel, eight GPUs on two NUMA nodes, RAM that nobody knows.
IMAGINED: dict[str, dict[str, Any]] = {
    "mi300x": {"gpus": ["MI300X"], "ram": "512GiB", "ram_bandwidth": "400GB/s", "cores": 64},
    "arc-b580": {"gpus": ["Arc B580"], "ram": "64GiB", "ram_bandwidth": "80GB/s", "cores": 16},
    "8x-h100": {"gpus": ["H100:8"], "ram": "1TiB", "ram_bandwidth": "500GB/s", "cores": 96, "numa_nodes": 2},
    "ram-unknown": {"gpus": ["RTX 4090"]},
}
_OF_A_MAC = frozenset({"launch", "launchd"})


class Cell(NamedTuple):
    """One machine, server and workload: the plan and its bundles by target, or why there is no plan. The plan that an
    example stores has no server and no workload here."""

    machine: str
    server: str
    workload: str
    plan: Plan | None = None
    bundles: dict[str, Bundle] = {}
    refusal: NoFeasiblePlan | None = None

    @property
    def name(self) -> str:
        """For messages and folders."""
        return "-".join(part for part in (self.machine, self.server, self.workload) if part)


class Text(NamedTuple):
    """One rendered file that differs from all others by more than the digest of its plan."""

    cell: Cell
    target: str
    path: str
    text: str

    def put(self, folder: Path) -> Path:
        """The file below the folder, under a name of its own that keeps the file's own in the end."""
        own = {self.path: self.text}
        return put(own, folder / self.cell.name / self.target) / self.path


def put(files: Mapping[str, str], folder: Path) -> Path:
    """The files in the folder, which is returned: `write_bundle` without its waits for the disk."""
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


@cache
def catalog() -> Catalog:
    """The catalog that ships."""
    return planner.load_catalog()


@cache
def cells() -> tuple[Cell, ...]:
    """The whole matrix."""
    asked = [(load(machine), machine, workload) for machine in MACHINES for workload in WORKLOADS]
    asked += [(planner.what_if(catalog=catalog(), **parts), name, "chat") for name, parts in IMAGINED.items()]
    stored = [_rendered(planner.load_plan(EXAMPLES / machine / "plan.json"), machine) for machine in MACHINES]
    return (*stored, *(_planned(*one, server) for one in asked for server in SERVERS))


def load(machine: str) -> Hardware:
    """An example's machine."""
    return planner.load_hardware(EXAMPLES / machine / "hardware.json")


def _planned(hardware: Hardware, machine: str, workload: str, server: str) -> Cell:
    try:
        plan = planner.recommend(hardware, workload, catalog=catalog(), server=server).plan
    except NoFeasiblePlan as refusal:
        return Cell(machine, server, workload, refusal=refusal)
    return _rendered(plan, machine, server, workload)


def _rendered(plan: Plan, machine: str, server: str = "", workload: str = "") -> Cell:
    bundles = {target: bundle for target in TARGETS if (bundle := _bundle(plan, target)) is not None}
    assert bundles.keys() == (_OF_A_MAC if plan.hardware.os.name == "macos" else set(TARGETS) - {"launchd"})
    return Cell(machine, server, workload, plan, bundles)


def _bundle(plan: Plan, target: str) -> Bundle | None:
    try:
        return planner.render(plan, target, catalog=catalog())
    except CannotServe:
        return None


def bundles(target: str) -> list[tuple[Cell, Bundle]]:
    """The target's bundles of all cells, each that says the same as an earlier one left out."""
    found: dict[str, tuple[Cell, Bundle]] = {}
    for cell in cells():
        if target in cell.bundles:
            bundle = cell.bundles[target]
            said = {path: text for path, text in bundle.items() if path != "README.md" and "manifest" not in path}
            found.setdefault(_key(json.dumps(said), bundle), (cell, bundle))
    return list(found.values())


def texts(*patterns: str) -> list[Text]:
    """Files of all targets by the end of their names, each that says the same as an earlier one left out."""
    found: dict[str, Text] = {}
    for cell, target, bundle in _all():
        for path, text in bundle.items():
            if path.endswith(patterns):
                key = f"{target} {Path(path).name} {_key(text, bundle)}"
                found.setdefault(key, Text(cell, target, path, text))
    return list(found.values())


def _all() -> Iterator[tuple[Cell, str, Bundle]]:
    for cell in cells():
        for target, bundle in cell.bundles.items():
            yield cell, target, bundle


def _key(text: str, bundle: Bundle) -> str:
    """The digest of a text without the digest of its plan, which stands in every header."""
    manifest = json.loads(bundle[f"planner-manifest.{bundle.target}.json"])
    return hashlib.sha256(text.replace(manifest["plan_digest"], "").encode()).hexdigest()
