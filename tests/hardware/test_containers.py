"""Containers on real hosts, from the files to the plan: the limit decides, not the host."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

import planner
from planner.cli.app import build as build_app
from planner.hardware.facts import Hardware
from tests.hardware.conftest import MACHINES, Trees

GIB = 1024**3
# container files -> (the host's tree that they lie over, limit, available, usable CPUs, quota, nodes it may use)
CONTAINERS = {
    # the pod's 24 GiB hold: its parents allow 128 GiB, the container itself asks for 40
    "v2-kubernetes": ("memorysidecaches", 24 * GIB, 22 * GIB, 10, 8.0, [0]),
    "v1-docker": ("kunpeng920-128c", 12 * GIB, 11 * GIB, 16, None, [0]),
    # v1 holds the memory (9 GiB between 20 above and 16 below), v2 the CPU time (4 of 6)
    "hybrid-lxc": ("xeon-e5-2680-dimms", 9 * GIB, 8 * GIB, 16, 4.0, [0, 1]),
}


@pytest.fixture
def inside(machine: Trees, tmp_path: Path):
    def root(name: str) -> Path:
        shutil.copytree(machine(CONTAINERS[name][0]), tmp_path / name, symlinks=True)
        shutil.copytree(MACHINES / "containers" / name, tmp_path / name, dirs_exist_ok=True)
        return tmp_path / name

    return root


def command(*words: str) -> None:
    result = CliRunner().invoke(build_app(), words)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("name", CONTAINERS)
def test_limits_of_the_whole_path(inside, name: str) -> None:
    _, limit, available, cpus, quota, nodes = CONTAINERS[name]
    hardware = planner.probe(inside(name))
    assert (hardware.memory.limit_bytes, hardware.memory.available_bytes) == (limit, available)
    assert (hardware.cpu.usable_cpus, hardware.cpu.quota_cpus) == (cpus, quota)
    assert [node.id for node in hardware.plan_nodes] == nodes
    assert hardware.ram_bytes == limit


@pytest.mark.parametrize("name", CONTAINERS)
def test_the_plan_keeps_the_limit(inside, machine: Trees, tmp_path: Path, name: str) -> None:
    """probe --root, recommend, plan: a 14B model in F16 (27.5 GiB) fits every host here and none of the containers."""
    host, limit, _, cpus, quota, nodes = CONTAINERS[name]
    file, saved = tmp_path / "machine.json", tmp_path / "plan.json"
    command("probe", "--root", str(inside(name)), "--save", str(file))
    command("recommend", "--hardware", str(file), "--save", str(saved))
    plan = planner.load_plan(saved)
    total = sum(use.total_bytes for service in plan.services for use in service.footprint.pools)
    assert 0 < total < limit
    assert {node for service in plan.services for node in service.placement.numa_nodes} <= set(nodes)
    assert any("container" in warning.text for warning in plan.warnings)
    script = planner.render(plan, "launch")
    words = " ".join(text for path, text in script.items() if path.endswith(".sh")).split()
    assert 1 <= int(words[words.index("--threads") + 1]) <= min(cpus, quota or cpus)
    asked = {"model": "qwen3-14b", "quant": "F16", "context": 2048, "gpu_only": False}
    with pytest.raises(planner.NoFeasiblePlan):
        planner.recommend(planner.load_hardware(file), **asked)
    assert planner.recommend(planner.probe(machine(host)), **asked).plan.services[0].quant == "F16"


def test_a_bound_server_has_the_quotas_threads(inside) -> None:
    """8 cores a node, CPU time for 4."""
    plan = planner.recommend(planner.probe(inside("hybrid-lxc")), model="qwen3.5-0.8b", quant="Q4_K_M").plan
    assert plan.services[0].placement.numa == "bind"
    assert "--threads 4" in planner.render(plan, "launch")["interactive.sh"]


def test_values_of_the_kernel(build, machine: Trees) -> None:
    """Each line of values.json, as the whole limit of a process on a machine of 1 TiB."""
    for number, row in enumerate(json.loads((MACHINES / "cgroup/values.json").read_text())):
        hardware = _with_value(build, row, f"case{number}")
        got = hardware.cpu.quota_cpus if row["file"].startswith("cpu") else hardware.memory.limit_bytes
        assert got == row["expected"], row


def _with_value(build, row: dict[str, str], group: str) -> Hardware:
    controller = row["file"].partition(".")[0]
    file, _, key = row["file"].partition(" ")
    content = f"{key} {row['content']}" if key else row["content"]
    version = {"v2": "cgroup2", "v1": "cgroup"}[row["kind"]]
    folder = f"sys/fs/cgroup/{group}"
    files = {
        "proc/meminfo": "MemTotal: 1073741824 kB\n",
        "proc/self/cgroup": f"0::/{group}\n" if version == "cgroup2" else f"1:{controller}:/{group}\n",
        "proc/mounts": f"x /sys/fs/cgroup {version} rw,{controller} 0 0\n",
        f"{folder}/{file}": content,
        f"{folder}/cpu.cfs_period_us": "100000\n",
    }
    for name in ("proc/meminfo", "proc/self/cgroup", "proc/mounts"):
        (build({}) / name).unlink(missing_ok=True)
    return planner.probe(build(files))


def test_a_microvm_without_limits(build) -> None:
    """v1 hierarchies with an empty v2 line: the memory group has a path, the others the root."""
    text = (MACHINES / "cgroup/proc_self_cgroup_v1_microvm.txt").read_text()
    mounts = "".join(f"c /sys/fs/cgroup/{name} cgroup rw,{name} 0 0\n" for name in ("memory", "cpu", "cpuset"))
    group = "sys/fs/cgroup/memory/process_api/0123456789abcdef"
    files = {"proc/meminfo": "MemTotal: 8388608 kB\n", "proc/self/cgroup": text, "proc/mounts": mounts}
    root = build(files | {f"{group}/memory.limit_in_bytes": f"{3 * GIB}\n"})
    assert planner.probe(root).memory.limit_bytes == 3 * GIB
