"""Recorded outputs without a home in another test; and every recorded file has facts written down for it."""

from __future__ import annotations

import json
from types import SimpleNamespace

import psutil  # before a test pretends to be another system
import pytest

from planner.hardware import other_systems
from planner.hardware.amd import read_kfd
from planner.hardware.apple import working_set_bytes
from planner.hardware.cpu import read_topology
from planner.hardware.facts import Hardware
from planner.hardware.findings import Findings
from planner.hardware.imports.apple_text import parse_sysctl, parse_system_profiler
from planner.hardware.imports.nvidia_smi import parse
from planner.hardware.probe import probe
from planner.hardware.smbios import parse_dmidecode
from planner.hardware.tree import Tree
from tests.hardware.conftest import MACHINES, SMALL_MACHINE

MIB, GIB = 1024**2, 1024**3


def facts(name: str):
    return json.loads((MACHINES / name).read_text())


def test_every_recorded_file_has_facts():
    """A fixture that nobody wrote facts for, or facts without their file, fail here."""
    stated: set[str] = {f"sysfs/{dump['fixture']}" for dump in facts("sysfs/expected.json")["dumps"]}
    stated |= {f"dmidecode/{name}.txt" for name in facts("dmidecode/expected.json")}
    stated |= {f"kfd/{name}.tar.gz" for name in facts("kfd/expected.json")}
    for folder in ("apple", "cpuinfo", "lspci", "nvidia_smi", "rocm_smi", "wsl"):
        for file in (MACHINES / folder).glob("expected*.json"):
            stated |= {f"{folder}/{name}" for name in json.loads(file.read_text())}
    stated |= {  # with facts inside, or in a test of their own
        "apple/working_set.json", "cgroup/values.json", "cgroup/proc_self_cgroup_v1_microvm.txt",
        "cpuinfo/lscpu-aarch64-graviton2.txt", "kfd/vega64-drm-card0.tar.gz", "nvidia_smi/gb10-dgx-spark-nvml.json",
        "rocm_smi/mi300x-x4-rocm-smi-a.txt",
    }  # fmt: skip
    folders = [path for path in MACHINES.iterdir() if path.is_dir() and path.name != "containers"]
    there = {f"{folder.name}/{file.name}" for folder in folders for file in folder.iterdir()}
    assert {name for name in there if "/expected" not in name} == stated


def test_every_recorded_file_has_a_source_and_a_licence():
    rows = [line for line in (MACHINES / "SOURCES.md").read_text().splitlines() if line.startswith("| ")]
    named = {cells[0].strip(): cells[3].strip() for line in rows if len(cells := line.strip("| ").split("|")) > 3}
    folders = [path for path in MACHINES.iterdir() if path.is_dir() and path.name != "containers"]
    files = {file.name for folder in folders for file in folder.iterdir() if not file.name.startswith("expected")}
    assert {name for name in files if not named.get(name)} == set()


@pytest.mark.parametrize("dump", facts("sysfs/expected.json")["dumps"], ids=lambda dump: dump["name"])
def test_threads_per_core_products_and_displays(machine, dump):
    root = machine(dump["name"])
    topology, hardware = read_topology(Tree(root), Findings()), probe(root)
    widths = [str(len(core)) for core in topology.cores]
    assert {width: widths.count(width) for width in set(widths)} == dump["cores_with_n_threads"]
    dmi = dump["dmi"] or {}
    assert hardware.product == (" ".join(dmi[key] for key in ("sys_vendor", "product_name") if key in dmi) or None)
    vendors = {"0x10de": "nvidia", "0x1002": "amd", "0x8086": "intel"}
    cards = [vendors[display["vendor"]] for display in dump["display_devices"] if display["vendor"] in vendors]
    assert [gpu.vendor for gpu in hardware.gpus] == cards
    without_cpus = [node.id for node in hardware.numa_nodes if not node.cpus and not node.memory_only]
    assert without_cpus == dump["cpu_only_nodes"] == []


@pytest.mark.parametrize("name", facts("cpuinfo/expected.json"))
def test_cpuinfo(build, name):
    stated = facts("cpuinfo/expected.json")[name]
    hardware = probe(build({"proc/cpuinfo": (MACHINES / "cpuinfo" / name).read_text()}))
    cpu = hardware.cpu
    assert (cpu.model, cpu.vendor, cpu.architecture) == (stated["model"], stated["vendor"], stated["arch"])
    assert (cpu.threads, cpu.cores, cpu.sockets) == (stated["logical"], stated["cores"], stated.get("sockets"))
    assert list(cpu.isa) == stated["isa_relevant"]
    assert hardware.numa_nodes[0].cpus == tuple(stated.get("cpu_ids", range(stated["logical"])))
    assert (hardware.virtualization is not None) == stated.get("virtual", False)


@pytest.mark.parametrize("name", facts("kfd/expected.json"))
def test_kfd_nodes(machine, name):
    stated = [node for node in facts("kfd/expected.json")[name].values() if node["simd_count"]]
    found = read_kfd(Tree(machine(name)))
    assert len(found) == len(stated)
    for node, wanted in zip(found, stated, strict=True):
        assert (node.device, node.location, node.simds) == (
            wanted["device_id"],
            wanted["location_id"],
            wanted["simd_count"],
        )
        assert (node.domain, node.gfx) == (wanted.get("domain", 0), wanted.get("gfx_target_version", 0))
        banks = [bank for bank in wanted["banks"] if bank["heap_type"] in {1, 2}]
        assert node.memory_bytes == (sum(bank["size"] for bank in banks) or None)
        assert [(node.width_bits, node.clock_mhz)] == [
            (bank["width"], bank["mem_clk_max"]) for bank in banks[:1]
        ] or not banks


@pytest.mark.parametrize("name", facts("dmidecode/expected.json"))
def test_widths_of_modules(name):
    stated = facts("dmidecode/expected.json")[name]
    modules = parse_dmidecode((MACHINES / "dmidecode" / f"{name}.txt").read_text())
    assert sorted({dimm.width_bits or 0 for dimm in modules.dimms}) == sorted(stated["data_width_bits"])
    assert sorted({dimm.mt_per_s for dimm in modules.dimms if dimm.mt_per_s}) == stated["configured_mts"]


@pytest.mark.parametrize("name", facts("lspci/expected.json"))
def test_lspci(build, devices, name):
    stated = facts("lspci/expected.json")[name]
    hardware = probe(build(SMALL_MACHINE), devices=devices, imports=[MACHINES / "lspci" / name])
    found = [{"bus_id": gpu.bus_id, "vendor": gpu.vendor, "device": gpu.device} for gpu in hardware.gpus]
    assert found == stated["gpus"]
    assert any("lists no GPU" in note for note in hardware.notes) == (found == [])


def test_lspci_without_numbers(build, devices, tmp_path):
    """As `lspci` alone prints, with all three vendors: the name in brackets is looked up."""
    text = (
        "00:02.0 VGA compatible controller: Intel Corporation Alder Lake-P GT2 [Iris Xe Graphics] (rev 0c)\n"
        "01:00.0 VGA compatible controller: NVIDIA Corporation GA102 [GeForce RTX 3090] (rev a1)\n"
        "01:00.1 Audio device: NVIDIA Corporation GA102 High Definition Audio Controller (rev a1)\n"
        "0c:00.0 Display controller: Advanced Micro Devices, Inc. [AMD/ATI] Navi 31 [Radeon RX 7900 XTX] (rev c8)\n"
    )
    (tmp_path / "lspci.txt").write_text(text)
    gpus = probe(build(SMALL_MACHINE), devices=devices, imports=[tmp_path / "lspci.txt"]).gpus
    assert [(gpu.vendor, gpu.device, gpu.unified) for gpu in gpus] == [
        ("intel", None, True),
        ("nvidia", "rtx-3090", False),
        ("amd", "rx-7900-xtx", False),
    ]


@pytest.mark.parametrize("name", facts("wsl/expected.json"))
def test_wsl(build, name):
    stated, file = facts("wsl/expected.json")[name], MACHINES / "wsl" / name
    if "wsl" in stated:
        hardware = probe(build(SMALL_MACHINE | {"proc/version": file.read_text()}))
        assert (hardware.os.wsl, hardware.os.release) == (stated["wsl"], stated["release"])
        return
    hardware = probe(build(SMALL_MACHINE), imports=[file])
    assert hardware.gpus == ()
    assert any("paravirtual adapter" in note and "nvidia-smi" in note for note in hardware.notes)


@pytest.mark.parametrize("name", facts("nvidia_smi/expected_others.json"))
def test_other_nvidia_smi(build, devices, name):
    stated, file = facts("nvidia_smi/expected_others.json")[name], MACHINES / "nvidia_smi" / name
    driver = parse(file.read_text(), name)
    (board,) = driver.boards
    assert (driver.driver_version, driver.cuda_version) == (stated["driver"], stated["cuda"])
    assert (board.name, board.bus_id, board.memory_state) == (stated["name"], stated["bus_id"], stated["memory"])
    assert (board.display, board.architecture) == (stated.get("display"), stated.get("architecture"))
    (gpu,) = probe(build(SMALL_MACHINE), devices=devices, imports=[file]).gpus
    assert gpu.unified == stated["unified"]


@pytest.mark.parametrize("name", facts("nvidia_smi/expected.json"))
def test_more_of_nvidia_smi(name):
    for board, stated in zip(
        parse((MACHINES / "nvidia_smi" / name).read_text(), name).boards,
        facts("nvidia_smi/expected.json")[name]["gpus"],
        strict=True,
    ):
        known = {key: None if stated[key] in {"None", "N/A", None} else stated[key] for key in stated if "mode" in key}
        assert board.architecture == stated["architecture"]
        assert (board.virtualization or "None") == (stated["virtualization"] or "None")
        assert (None if board.addressing == "None" else board.addressing) == known["addressing_mode"]
        assert board.ecc == {"t4-passthrough.xml": True, "h100-sxm-x8.txt": True}.get(name, board.ecc)


MIG_TABLE = """
| NVIDIA-SMI 525.85.12    Driver Version: 525.85.12    CUDA Version: 12.0     |
|===============================+======================+======================|
|   0  NVIDIA A100 80G...  On   | 00000001:00:00.0 Off |                   On |
| N/A   34C    P0    44W / 300W |     45MiB / 81920MiB |     N/A      Default |
|                               |                      |              Enabled |
| MIG devices:                                                                |
|==================+======================+===========+=======================|
|  0    7   0   0  |      6MiB /  9728MiB | 14      0 |  1   0    0    0    0 |
|                  |      0MiB / 16383MiB |           |                       |
|  0    9   0   1  |     12MiB / 19968MiB | 28      0 |  2   0    1    0    0 |
"""
MIG_QUERY = """==============NVSMI LOG==============
Driver Version                            : 535.54.03
CUDA Version                              : 12.2

Attached GPUs                             : 1
GPU 00000000:01:00.0
    Product Name                          : NVIDIA A100-SXM4-80GB
    MIG Mode
        Current                           : Enabled
        Pending                           : Enabled
    MIG Device
        Index                             : 0
        GPU Instance ID                   : 3
        Device Attributes
            Shared
                Multiprocessor count      : 28
        FB Memory Usage
            Total                         : 19968 MiB
            Reserved                      : 0 MiB
            Free                          : 19955 MiB
    MIG Device
        Index                             : 1
        FB Memory Usage
            Total                         : 9728 MiB
            Free                          : 9715 MiB
    FB Memory Usage
        Total                             : 81920 MiB
        Reserved                          : 869 MiB
        Free                              : 80999 MiB
"""


@pytest.mark.parametrize(
    ("text", "slices"),
    [
        (
            MIG_TABLE,
            [("NVIDIA A100 80G... MIG 0 (1g)", 9728, 9722, 1), ("NVIDIA A100 80G... MIG 1 (2g)", 19968, 19956, 2)],
        ),
        (
            MIG_QUERY,
            [("NVIDIA A100-SXM4-80GB MIG 0 (2g)", 19968, 19955, 2), ("NVIDIA A100-SXM4-80GB MIG 1", 9728, 9715, None)],
        ),
    ],
)  # fmt: skip
def test_slices_in_text(text, slices):
    """Recorded tables have this form; the slices stand for their board, whose own memory comes last in the text."""
    (board,) = parse(text).boards
    assert (board.mig, board.total_bytes) == (True, 81920 * MIB)
    assert [(s.name, s.total_bytes // MIB, s.free_bytes // MIB, s.compute_slices) for s in board.slices] == slices


def test_pasted_slices_have_a_share_of_their_board(build, devices, tmp_path):
    (tmp_path / "smi.txt").write_text(MIG_QUERY)
    first, second = probe(build(SMALL_MACHINE), devices=devices, imports=[tmp_path / "smi.txt"]).gpus
    assert first.fp16_flops_per_s == pytest.approx(312e12 * 2 / 7)
    assert (second.fp16_flops_per_s, second.slice_of) == (None, "NVIDIA A100-SXM4-80GB")


def test_text_of_mi300x(build, devices):
    """`rocm-smi -a` states no VRAM size: the published one, said to be that."""
    hardware = probe(build(SMALL_MACHINE), devices=devices, imports=[MACHINES / "rocm_smi/mi300x-x4-rocm-smi-a.txt"])
    assert [gpu.device for gpu in hardware.gpus] == ["mi300x"] * 4
    assert hardware.gpus[0].uuid == "GPU-8d1457e2c20f59d2"
    assert hardware.sources["gpus.0.memory_bytes"].source == "catalog"


def test_old_name_of_the_m1(devices):
    mac = parse_system_profiler((MACHINES / "apple/m1-displays-old-name.json").read_text())
    assert mac.chip == facts("apple/expected.json")["m1-displays-old-name.json"]["chip"]


@pytest.mark.parametrize("row", facts("apple/working_set.json"), ids=lambda row: row["chip"])
def test_working_sets(row):
    """The limits that Metal logged; the one system of 2026 gives more than the rule, never less."""
    unit = MIB if row["unit"] == "MiB" else 10**6
    ours = working_set_bytes(row["physical_gib"] * GIB)[0] / unit
    if row["ratio"] == "0.78":
        assert 0.9 * row["reported_mb"] < ours < row["reported_mb"]
    else:
        assert ours == pytest.approx(row["reported_mb"], abs=0.01)


def test_usable_memory_of_a_mac():
    mac = parse_sysctl((MACHINES / "apple/sysctl-m3max-128gb.txt").read_text())
    assert mac.usable_bytes == facts("apple/expected.json")["sysctl-m3max-128gb.txt"]["usable_bytes"]
    assert mac.page_bytes == facts("apple/expected.json")["sysctl-m3max-128gb.txt"]["page"]


EDAC = "sys/devices/system/edac/mc"


def test_modules_from_edac(build):
    """Two controllers, two channels each, one channel empty; EDAC states no speed."""
    files = dict(SMALL_MACHINE)
    for number, (controller, channel, size) in enumerate(
        (("mc0", 0, 16384), ("mc0", 1, 16384), ("mc1", 0, 16384), ("mc1", 1, 0))
    ):
        folder = f"{EDAC}/{controller}/dimm{number}"
        files |= {
            f"{folder}/size": f"{size}\n",
            f"{folder}/dimm_mem_type": "Registered-DDR4\n",
            f"{folder}/dimm_location": f"channel {channel} slot 0 \n",
        }
    hardware = probe(build(files))
    assert (hardware.memory.type, hardware.memory.channels, hardware.memory.mt_per_s) == ("DDR4", 3, None)
    assert hardware.sources["memory.type"].note == f"/{EDAC}"


def test_the_bus_completes_the_driver(build):
    """NVML names no node on a machine with two, and sysfs knows a bridge of four lanes."""
    bridge, card = "sys/devices/pci0000:00/0000:00:01.0", "sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0"
    board = '{"name": "NVIDIA L4", "bus_id": "00000000:01:00.0", "memory_state": "known", "total_bytes": 24152899584'
    files = SMALL_MACHINE | {
        "sys/devices/system/node/online": "0-1\n",
        "sys/devices/system/node/node1/cpulist": "\n",
        "sys/devices/system/node/node1/meminfo": "Node 1 MemTotal: 8388608 kB\n",
        f"{bridge}/max_link_speed": "8.0 GT/s PCIe\n",
        f"{bridge}/max_link_width": "4\n",
        f"{card}/max_link_speed": "16.0 GT/s PCIe\n",
        f"{card}/max_link_width": "16\n",
        f"{card}/numa_node": "1\n",
        "sys/bus/pci/devices/0000:01:00.0": "->../../../devices/pci0000:00/0000:00:01.0/0000:01:00.0",
        "planner/nvml.json": f'{{"boards": [{board}, "generation": 4, "width": 16, "current_generation": 1}}]}}',
    }
    hardware = probe(build(files))
    (gpu,) = hardware.gpus
    assert (gpu.numa_node, gpu.link.generation, gpu.link.width, gpu.link.current_generation) == (1, 3, 4, 1)
    assert "/numa_node" in hardware.sources["gpus.0.numa_node"].note


MAC = {
    "hw.optional.arm64": "1", "machdep.cpu.brand_string": "Apple M3 Max", "hw.memsize": str(128 * GIB),
    "hw.physicalcpu_max": "16", "hw.ncpu": "16", "hw.pagesize": "16384", "hw.nperflevels": "2",
    "hw.perflevel0.name": "Performance", "hw.perflevel0.physicalcpu_max": "12",
    "hw.perflevel1.name": "Efficiency", "hw.perflevel1.physicalcpu_max": "4",
}  # fmt: skip


@pytest.fixture
def mac(monkeypatch):
    """The running machine answers as a Mac does: `system(values, gpu cores)` gives what the probe finds."""

    def system(values, cores, devices) -> Hardware:
        monkeypatch.setattr("sys.platform", "darwin")
        monkeypatch.setattr(
            other_systems.platform, "machine", lambda: "x86_64" if "VirtualApple" in str(values) else "arm64"
        )
        monkeypatch.setattr(other_systems, "_sysctl_value", lambda name, text: values.get(name))
        monkeypatch.setattr(other_systems, "gpu_core_count", lambda: cores)
        findings = Findings()
        hardware = other_systems.probe_other_system(findings, devices)
        return SimpleNamespace(hardware=hardware, notes=findings.notes)

    return system


def test_a_running_mac(mac, devices):
    """The GPU's cores tell the bin: 40 cores read at 409.6 GB/s, 30 at 307.2."""
    for cores, rate in ((40, 409.6e9), (30, 307.2e9)):
        (gpu,) = mac(MAC, cores, devices).hardware.gpus
        assert (gpu.cores, gpu.bandwidth_bytes_per_s, gpu.working_set_bytes) == (cores, rate, 96 * GIB)


def test_rosetta_is_said(mac, devices):
    """`uname` says x86_64 there; the chip and its memory are Apple's all the same."""
    values = MAC | {"sysctl.proc_translated": "1", "machdep.cpu.brand_string": "VirtualApple @ 2.50GHz"}
    found = mac(values, None, devices)
    assert (found.hardware.cpu.architecture, found.hardware.memory.total_bytes) == ("arm64", 128 * GIB)
    assert any("Rosetta" in note for note in found.notes)


def test_a_virtual_mac(mac, devices):
    values = MAC | {"machdep.cpu.brand_string": "Apple M4 Max (Virtual)", "kern.hv_vmm_present": "1"}
    found = mac(values, None, devices).hardware
    assert (found.virtualization, found.cpu.model) == ("apple", "Apple M4 Max")


def test_windows(monkeypatch, devices):
    """What psutil tells, and no sysctl is asked."""
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setattr(other_systems, "_cpu_model", lambda: "AMD Ryzen 9 7950X")
    findings = Findings()
    hardware = other_systems.probe_other_system(findings, devices)
    assert (hardware.os.name, hardware.cpu.model) == ("windows", "AMD Ryzen 9 7950X")
    assert hardware.numa_nodes[0].memory_bytes == psutil.virtual_memory().total
    assert any("not measured on windows" in note for note in findings.notes)
