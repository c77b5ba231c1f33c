"""Pasted outputs of other people's machines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from planner.errors import ProbeError
from planner.hardware.imports import kind_of
from planner.hardware.imports.apple_text import parse_sysctl, parse_system_profiler
from planner.hardware.imports.nvidia_smi import parse
from planner.hardware.probe import probe
from planner.hardware.smbios import parse_dmidecode
from tests.hardware.conftest import MACHINES, SMALL_MACHINE

MIB, GIB = 1024**2, 1024**3
SMI = json.loads((MACHINES / "nvidia_smi/expected.json").read_text())
DMI = json.loads((MACHINES / "dmidecode/expected.json").read_text())
ROCM = json.loads((MACHINES / "rocm_smi/expected.json").read_text())
APPLE = json.loads((MACHINES / "apple/expected.json").read_text())


@pytest.mark.parametrize("name", SMI)
def test_nvidia_smi(name):
    driver, stated = parse((MACHINES / "nvidia_smi" / name).read_text(), name), SMI[name]
    assert (driver.driver_version, driver.cuda_version) == (stated["driver"], stated["cuda"])
    assert len(driver.boards) == len(stated["gpus"])
    for board, gpu in zip(driver.boards, stated["gpus"], strict=True):
        assert (board.name, board.bus_id) == (gpu["name"], gpu["bus_id"])
        for ours, theirs in (
            (board.total_bytes, "total"),
            (board.free_bytes, "free"),
            (board.reserved_bytes, "reserved"),
        ):
            wanted = gpu["fb_mib"].get(theirs)
            assert ours == (None if wanted is None else wanted * MIB)
        assert str(board.generation) == gpu["pcie_gen_max"]
        assert f"{board.current_width}x" == gpu["pcie_width_current"]
        assert board.mig == (gpu["mig_current"] == "Enabled")
        sizes = [part["fb_total_mib"] * MIB for part in gpu["mig_devices"] or ()]
        assert [part.total_bytes for part in board.slices] == sizes, "slices are addressed by path"


def test_plain_table_of_a_jetson(build, devices):
    """Memory `Not Supported` on a known integrated chip: the machine's."""
    hardware = probe(build(SMALL_MACHINE), devices=devices, imports=[MACHINES / "nvidia_smi/jetson-orin-table.txt"])
    assert [(gpu.name, gpu.unified, gpu.memory_bytes) for gpu in hardware.gpus] == [("Orin (nvgpu)", True, 16 * GIB)]


TABLE = """
| NVIDIA-SMI 550.54.14              Driver Version: 550.54.14      CUDA Version: 12.4     |
|=========================================+========================+======================|
|   0  NVIDIA GeForce RTX 3090        On  |   00000000:01:00.0 Off |                  N/A |
|  0%   35C    P8             24W /  350W |    1234MiB /  24576MiB |      0%      Default |
|   1  NVIDIA GeForce RTX 4090        Off |   00000000:41:00.0  On |                  Off |
|  0%   35C    P8             24W /  450W |       1MiB /  24564MiB |      0%      Default |
"""


def test_plain_table_of_two_cards(devices):
    first, second = parse(TABLE).boards
    assert (first.name, first.total_bytes, first.free_bytes) == ("NVIDIA GeForce RTX 3090", 24576 * MIB, 23342 * MIB)
    assert (second.name, second.bus_id) == ("NVIDIA GeForce RTX 4090", "00000000:41:00.0")


@pytest.mark.parametrize("name", DMI)
def test_dmidecode(name):
    modules, stated = parse_dmidecode((MACHINES / "dmidecode" / f"{name}.txt").read_text()), DMI[name]
    assert (modules.slots, len(modules.dimms)) == (stated["slots"], stated["populated"])
    assert sum(dimm.size_bytes for dimm in modules.dimms) == stated["total_gib"] * GIB
    assert modules.channels == stated["populated_channels"]
    assert modules.mt_per_s == (stated["configured_mts"][0] if stated["configured_mts"] else None)
    if stated["theoretical_gb_s"] is None:
        assert modules.theoretical_bytes_per_s is None, "unknown, not 0"
    else:
        assert modules.theoretical_bytes_per_s == pytest.approx(stated["theoretical_gb_s"] * 1e9)
    assert modules.type == (stated["types"][0] if stated["types"] not in ([], ["RAM"]) else None)


def test_modules_fill_a_machine(build):
    hardware = probe(build(SMALL_MACHINE), imports=[MACHINES / "dmidecode/ryzen7950x-4dimm-3600.txt"])
    memory = hardware.memory
    assert (memory.total_bytes, memory.type, memory.channels, memory.mt_per_s) == (16 * GIB, "DDR5", 2, 3600)
    assert hardware.numa_nodes[0].bandwidth_bytes_per_s == 57.6e9


@pytest.mark.parametrize("name", [name for name in ROCM if "amdgpu_top" not in name])
def test_rocm_smi(build, devices, name):
    gpus = probe(build(SMALL_MACHINE), devices=devices, imports=[MACHINES / "rocm_smi" / name]).gpus
    for gpu, stated in zip(gpus, ROCM[name].values(), strict=True):
        assert gpu.memory_bytes == int(stated["VRAM Total Memory (B)"])
        assert gpu.free_bytes == int(stated["VRAM Total Memory (B)"]) - int(stated["VRAM Total Used Memory (B)"])
        assert gpu.bus_id == stated["PCI Bus"].lower()
        assert gpu.device is not None


def test_amdgpu_top(build):
    name = "amdgpu_top_rx9060xt_dump.json"
    card, integrated = probe(build(SMALL_MACHINE), imports=[MACHINES / "rocm_smi" / name]).gpus
    first, second = ROCM[name]
    assert (card.name, card.memory_bytes) == (first["name"], first["vram_bytes"])
    assert card.bandwidth_bytes_per_s == first["peak_gb_s"] * 1e9
    assert (integrated.unified, integrated.carveout_bytes) == (True, second["vram_bytes"])
    assert integrated.working_set_bytes == second["vram_bytes"] + second["gtt_bytes"]


def test_macs():
    for name in ("m2-mbp-hardware.json", "m4-air-hardware.json", "m4max-virtual-hardware.json"):
        stated, mac = APPLE[name], parse_system_profiler((MACHINES / "apple" / name).read_text())
        assert (mac.chip, mac.cores) == (stated["chip"], stated["cores"])
        assert [tier.cores for tier in mac.tiers] == [n for n in (stated["p"], stated["e"]) if n]
        assert mac.memory_bytes == stated["memory_gib"] * GIB
        assert mac.virtual == stated.get("virtual", False)
    for name in ("sysctl-m3max-128gb.txt", "sysctl-m4-8p4e-24gb-head.txt"):
        stated, mac = APPLE[name], parse_sysctl((MACHINES / "apple" / name).read_text())
        assert (mac.cores, mac.memory_bytes) == (stated["cores"], stated["memory_bytes"])
        assert [(tier.name, tier.cores) for tier in mac.tiers] == [
            ("Performance", stated["p"]),
            ("Efficiency", stated["e"]),
        ]
    assert set(parse_sysctl((MACHINES / "apple/sysctl-m3max-128gb.txt").read_text()).isa) == {
        "asimddp", "asimdhp", "bf16", "i8mm",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["m1-memory.json", "lpddr5-memory.json"])
def test_memory_of_macs(name):
    mac = parse_system_profiler((MACHINES / "apple" / name).read_text())
    assert mac.memory_type == APPLE[name]["type"]
    assert mac.memory_bytes == int(APPLE[name]["size"].split()[0]) * GIB


def test_four_tiers_of_macos_26():
    text = '{"SPHardwareDataType": [{"chip_type": "Apple M5 Max", "number_processors": "proc 18:6:12:0"}]}'
    mac = parse_system_profiler(text)
    assert [(tier.name, tier.cores) for tier in mac.tiers] == [("Super", 6), ("Performance", 12)]


def test_a_mac_replaces_this_machine(devices):
    hardware = probe(
        devices=devices, imports=[MACHINES / "apple/m2-mbp-hardware.json", MACHINES / "apple/lpddr5-memory.json"]
    )
    (gpu,) = hardware.gpus
    assert (gpu.device, gpu.unified, hardware.os.name) == ("m2-8c", True, "macos")
    assert (hardware.cpu.model, hardware.cpu.cores, hardware.disk) == ("Apple M2", 8, None)
    assert hardware.memory.type == "LPDDR5"


def test_lscpu_and_nvidia_smi_make_a_machine(devices):
    files = [MACHINES / "cpuinfo/lscpu-aarch64-graviton2.txt", MACHINES / "nvidia_smi/rtx3090-passthrough.xml"]
    hardware = probe(devices=devices, imports=files)
    assert (hardware.cpu.model, hardware.cpu.cores, hardware.cpu.threads) == ("Neoverse-N1", 2, 2)
    assert (hardware.numa_nodes[0].cpus, hardware.ram_bytes) == ((0, 1), None)
    assert hardware.gpus[0].device == "rtx-3090"


def test_unknown_text_and_broken_files(tmp_path):
    with pytest.raises(ProbeError, match="not recognised"):
        kind_of("hello", "x")
    broken = tmp_path / "smi.xml"
    broken.write_text("<nvidia_smi_log><gpu></nvidia_smi_log>")
    with pytest.raises(ProbeError, match=r"smi\.xml: broken XML"):
        probe(imports=[broken], measure_bandwidth=False)
    broken.write_text('<!DOCTYPE x [<!ENTITY a "b">]><nvidia_smi_log></nvidia_smi_log>')
    with pytest.raises(ProbeError, match="entities"):
        probe(imports=[broken], measure_bandwidth=False)
    with pytest.raises(ProbeError, match="No such file"):
        probe(imports=[Path("absent.txt")])
