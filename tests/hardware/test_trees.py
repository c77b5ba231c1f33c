"""Every captured machine against facts that hwloc, lscpu and the files themselves agree on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from planner.hardware.files import decode_hardware, hardware_json
from planner.hardware.findings import known_paths
from planner.hardware.probe import probe
from planner.hardware.tree import parse_cpu_list

EXPECTED = json.loads((Path(__file__).parents[1] / "machines/sysfs/expected.json").read_text())["dumps"]
NAMES = [dump["name"] for dump in EXPECTED]
BY_NAME = {dump["name"]: dump for dump in EXPECTED}

# What the probe leaves out on purpose, with the reason. Nothing else differs.
DIFFERENCES = {
    "arm-2c-no-numa": "no node folder: the files state no node, a plan gets one derived node",
}


def cpus(text):
    return parse_cpu_list(text)


@pytest.mark.parametrize("name", NAMES)
def test_processors(machine, name):
    expected, cpu = BY_NAME[name], probe(machine(name)).cpu
    assert cpu.model == expected["cpu_model"]
    assert cpu.architecture == expected["arch"]
    assert (cpu.sockets, cpu.cores, cpu.threads) == (
        expected["sockets"],
        expected["physical_cores"],
        expected["logical_cpus_online"],
    )
    assert cpu.offline_cpus == cpus(expected["offline_cpus"])
    assert cpu.allowed_cpus == cpus(expected["usable_cpus"])
    assert cpu.usable_cpus == len(cpu.allowed_cpus)


@pytest.mark.parametrize("name", NAMES)
def test_memory_and_firmware_nodes(machine, name):
    expected, hardware = BY_NAME[name], probe(machine(name))
    assert hardware.memory.total_bytes == expected["memtotal_bytes"]
    stated = hardware.firmware_nodes or hardware.numa_nodes
    if name in DIFFERENCES:
        assert expected["numa_nodes"] == []
        return
    assert [(node.id, node.cpus, node.memory_bytes, node.distances) for node in stated] == [
        (
            node["id"],
            cpus(node["online_cpulist"]),
            node["memory_bytes"],
            {int(other): distance for other, distance in node["distances"].items()},
        )
        for node in expected["numa_nodes"]
    ]
    assert [node.id for node in stated if node.memory_only] == expected["memory_only_nodes"]
    assert tuple(node.id for node in stated if node.allowed) == cpus(expected["usable_nodes"])


@pytest.mark.parametrize("name", NAMES)
def test_bindable_nodes(machine, name):
    """At least one node; where firmware is wrong or silent, what hwloc keeps."""
    expected, hardware = BY_NAME[name], probe(machine(name))
    assert hardware.numa_nodes
    for node, wanted in zip(hardware.numa_nodes, expected.get("bindable_nodes", ()), strict=False):
        assert (node.id, node.cpus, node.memory_bytes) == (
            wanted["id"],
            cpus(wanted["online_cpulist"]),
            wanted["memory_bytes"],
        )
    if "bindable_nodes" in expected:
        assert len(hardware.numa_nodes) == len(expected["bindable_nodes"])
    else:
        assert hardware.firmware_nodes == ()


@pytest.mark.parametrize("name", NAMES)
def test_every_fact_has_a_source_and_the_file_reads_back(machine, name):
    hardware = probe(machine(name))
    facts = [path for path in known_paths("", hardware) if not path.startswith(("sources", "notes", "format_version"))]
    assert [path for path in facts if path not in hardware.sources] == []
    assert decode_hardware(hardware_json(hardware)) == hardware


@pytest.mark.parametrize("name", NAMES)
def test_nothing_live_is_asked(machine, name, monkeypatch):
    """Another root: no affinity, no NVML, no disk, no measurement, the same bytes every time."""

    def forbidden(*_args, **_kwargs):
        raise AssertionError("the live machine was asked")

    for target in ("os.sched_getaffinity", "os.cpu_count", "os.statvfs", "os.sysconf", "platform.machine"):
        monkeypatch.setattr(target, forbidden)
    monkeypatch.setattr("planner.hardware.nvml.read_driver", forbidden)
    monkeypatch.setattr("planner.hardware.bandwidth.measure", forbidden)
    first = probe(machine(name), measure_bandwidth=True)
    assert hardware_json(first) == hardware_json(probe(machine(name)))
    assert first.disk is None
    assert all(node.bandwidth_bytes_per_s is None for node in first.numa_nodes)


def test_kinds_of_nodes(machine):
    """lstopo names nodes 2 and 4 HBM and 6, 8, 9 NVM; the V100s' memory is theirs."""
    tiers = probe(machine("qemu-hbm-nvm-tiers")).numa_nodes
    assert {node.id: node.kind for node in tiers} == {
        0: "dram", 1: "dram", 2: "hbm", 4: "hbm", 6: "pmem", 8: "pmem", 9: "pmem",
    }  # fmt: skip
    assert {node.id: node.package for node in tiers} == dict.fromkeys((0, 1, 2, 4, 6, 8, 9), 0)
    power9 = probe(machine("power9-v100-gpu-nodes"))
    assert [node.id for node in power9.numa_nodes if node.kind == "gpu"] == [250, 251, 252, 253, 254, 255]
    host = BY_NAME["power9-v100-gpu-nodes"]["host_memory_bytes"]
    assert sum(node.memory_bytes for node in power9.numa_nodes if node.kind != "gpu") == host
    assert power9.ram_bytes == 132955242496, "only node 0 is in the cpuset"


def test_memory_of_unknown_kind_is_left_alone(machine):
    pmem = probe(machine("cascadelake-snc2-pmem-kmem"))
    assert [(node.id, node.kind) for node in pmem.numa_nodes if node.memory_only] == [(4, "unknown"), (5, "unknown")]
    assert pmem.numa_nodes[4].package == pmem.numa_nodes[0].package, "distance 17 to node 0"


def test_core_types(machine):
    hybrid = probe(machine("hybrid-raptorlake")).cpu
    assert {kind.name: (kind.cores, kind.threads) for kind in hybrid.core_types} == {"P": (6, 12), "E": (8, 8)}
    spark = probe(machine("nvidia-dgx-gb10")).cpu
    assert {kind.name: kind.cores for kind in spark.core_types} == {"Cortex-A725": 10, "Cortex-X925": 10}
    assert probe(machine("kunpeng920-128c")).cpu.core_types == ()


def test_side_cache_and_caches(machine):
    optane = probe(machine("memorysidecaches"))
    assert all(node.side_cache_bytes for node in optane.numa_nodes)
    assert [(c.level, c.size_bytes, c.instances) for c in optane.cpu.caches if c.level == 3] == [(3, 28160 * 1024, 2)]


def test_modules_from_raw_smbios(machine):
    expected = BY_NAME["xeon-e5-2680-dimms"]["dimms"]
    hardware = probe(machine("xeon-e5-2680-dimms"))
    assert (hardware.memory.type, hardware.memory.mt_per_s) == (expected["type"], expected["configured_mts"])
    assert hardware.memory.channels is None, "Dell labels (DIMM_A1) name no channel"
    assert f"{expected['populated']} of {expected['slots']} memory slots" in " ".join(hardware.notes)


def test_buggy_firmware_is_said(machine):
    notes = probe(machine("harpertown-buggy-numa")).notes
    assert any("all claim CPUs 0-7" in note for note in notes)


def test_gpus_on_the_bus_without_a_driver(machine, devices):
    vm = probe(machine("vm-tesla-p100"), devices=devices)
    (gpu,) = vm.gpus
    assert (gpu.device, gpu.memory_bytes, gpu.numa_node) == ("p100-pcie-16-gb", 16 * 1024**3, 0)
    assert vm.sources["gpus.0.memory_bytes"].source == "catalog"
    (radeon,) = probe(machine("ryzen1600-radeon"), devices=devices).gpus
    assert (radeon.vendor, radeon.memory_bytes) == ("amd", None)
    assert probe(machine("xeon-e5-2680-dimms")).gpus == (), "an ASPEED console is no GPU"


def test_theoretical_bandwidth_comes_from_the_series(machine, devices):
    """2 x 6 channels x 8 bytes x 2933 MT/s over four nodes, marked as not measured."""
    xeon = probe(machine("memorysidecaches"), devices=devices)
    assert xeon.memory.theoretical_bytes_per_s == 2 * 6 * 8 * 2933e6
    assert xeon.numa_nodes[0].bandwidth_bytes_per_s == pytest.approx(2 * 6 * 8 * 2933e6 / 4)
    source = xeon.sources["numa_nodes.0.bandwidth_bytes_per_s"]
    assert (source.source, source.state) == ("catalog", "suspect")
