"""AMD from sysfs and KFD: cards, boards that only KFD shows, and the pools of an APU."""

from __future__ import annotations

import pytest

from planner.hardware.probe import probe
from tests.hardware.conftest import SMALL_MACHINE

GIB = 1024**3
MIB = 1024**2


def test_vega64_card(machine, devices):
    (gpu,) = probe(machine("vega64-drm-card0"), devices=devices).gpus
    assert (gpu.vendor, gpu.memory_bytes, gpu.free_bytes) == ("amd", 8573157376, 8573157376 - 1490378752)
    assert (gpu.link.generation, gpu.link.width) == (3, 16)
    assert (gpu.device, gpu.unified) == ("rx-vega-64", False)
    assert gpu.bandwidth_bytes_per_s == 483.8e9


def test_kfd_boards_without_drm(machine):
    """Two Vega 10 that share a location stay two boards; 2048 bit x 945 MHz HBM2 is 484 GB/s."""
    gpus = probe(machine("vega10-x2")).gpus
    assert [gpu.memory_bytes for gpu in gpus] == [17163091968] * 2
    eight = probe(machine("mi210-x8")).gpus
    assert len(eight) == 8
    assert {gpu.architecture for gpu in eight} == {"gfx90a"}
    assert {gpu.cores for gpu in eight} == {104}
    assert {gpu.name for gpu in eight} == {"Radeon Instinct MI210"}


def kfd(gfx: int, location: int, banks: str = "", cpus: int = 0) -> dict[str, str]:
    return {
        "properties": f"cpu_cores_count {cpus}\nsimd_count 304\nsimd_per_cu 4\ngfx_target_version {gfx}\n"
        f"vendor_id 4098\ndevice_id 29857\nlocation_id {location}\ndomain 0\n",
        "mem_banks/0/properties": banks,
    }


def test_bandwidth_and_partitions_of_mi300x(build):
    """CPX shows several KFD nodes on one card; 8192 bit x 1300 MHz HBM3 is 5.3 TB/s."""
    bank = "heap_type 1\nsize_in_bytes 206141652992\nwidth 8192\nmem_clk_max 1300\n"
    files = dict(SMALL_MACHINE)
    for node in range(2):
        for name, text in kfd(90402, 0x0300 + node, bank).items():
            files[f"sys/class/kfd/kfd/topology/nodes/{node + 1}/{name}"] = text
    (gpu,) = probe(build(files)).gpus
    assert gpu.memory_bytes == 206141652992
    assert gpu.bandwidth_bytes_per_s == pytest.approx(5.3e12, rel=0.01)
    assert gpu.architecture == "gfx942"


def strix_halo(vram_mib: int, gtt_mib: int, ram_mib: int) -> dict[str, str]:
    """As reported: 1002:1586, 128 GiB; the carve-out is missing from MemTotal."""
    card = "sys/devices/pci0000:00/0000:c5:00.0"
    return SMALL_MACHINE | {
        "proc/meminfo": f"MemTotal: {ram_mib * 1024} kB\nMemAvailable: {(ram_mib - 4096) * 1024} kB\n",
        f"{card}/vendor": "0x1002\n",
        f"{card}/device": "0x1586\n",
        f"{card}/revision": "0xc1\n",
        f"{card}/class": "0x038000\n",
        f"{card}/mem_info_vram_total": f"{vram_mib * MIB}\n",
        f"{card}/mem_info_vram_used": "0\n",
        f"{card}/mem_info_gtt_total": f"{gtt_mib * MIB}\n",
        f"{card}/mem_info_gtt_used": "0\n",
        "sys/class/drm/card0/device": "->../../../devices/pci0000:00/0000:c5:00.0",
        "sys/class/drm/card0-HDMI-A-1/status": "connected\n",
    }


@pytest.mark.parametrize(
    ("vram", "gtt", "ram", "usable"),
    [
        (98304, 108000, 32768, 131072),  # more GTT than RAM: capped by what exists
        (512, 65024, 130560, 512 + 65024),  # the common default: half of the RAM
        (8192, 126976, 122880, 131072),  # 8 + 124 GiB on a 128 GiB machine is not 132
    ],
)
def test_apu_pools(build, devices, vram, gtt, ram, usable):
    (gpu,) = probe(build(strix_halo(vram, gtt, ram)), devices=devices).gpus
    assert gpu.unified
    assert gpu.memory_bytes == (ram + vram) * MIB
    assert gpu.working_set_bytes == usable * MIB
    assert gpu.carveout_bytes == vram * MIB
    assert (gpu.device, gpu.bandwidth_bytes_per_s) == ("8060s", 256e9)


def test_link_is_the_slowest_on_the_way(build):
    """A card with 16 lanes of generation 4 behind a bridge with 4 of generation 3."""
    bridge = "sys/devices/pci0000:00/0000:00:01.0"
    card = f"{bridge}/0000:01:00.0"
    files = SMALL_MACHINE | {
        f"{bridge}/max_link_speed": "8.0 GT/s PCIe\n",
        f"{bridge}/max_link_width": "4\n",
        f"{card}/max_link_speed": "16.0 GT/s PCIe\n",
        f"{card}/max_link_width": "16\n",
        f"{card}/current_link_speed": "Unknown\n",
        f"{card}/current_link_width": "255\n",
        f"{card}/vendor": "0x1002\n",
        f"{card}/device": "0x744c\n",
        f"{card}/revision": "0xc8\n",
        f"{card}/class": "0x030000\n",
        f"{card}/numa_node": "-1\n",
        f"{card}/mem_info_vram_total": str(24 * GIB),
        "sys/bus/pci/devices/0000:01:00.0": "->../../../devices/pci0000:00/0000:00:01.0/0000:01:00.0",
    }
    (gpu,) = probe(build(files)).gpus
    assert (gpu.link.generation, gpu.link.width) == (3, 4)
    assert (gpu.link.current_generation, gpu.link.current_width) == (None, None)
    assert gpu.link.bytes_per_s == pytest.approx(4 * 0.985e9)
    assert (gpu.name, gpu.numa_node) == ("Radeon RX 7900 XTX", 0)


def test_intel_cards(build, devices):
    files = dict(SMALL_MACHINE)
    for address, device, size in (("0000:00:02.0", "0x46a6", ""), ("0000:03:00.0", "0xe20b", "12")):
        folder = f"sys/bus/pci/devices/{address}"
        files |= {f"{folder}/vendor": "0x8086", f"{folder}/device": device, f"{folder}/class": "0x030000"}
        if size:
            files[f"{folder}/resource"] = (
                "0x0 0x0 0x0\n0x0 0x0 0x0\n0x0000004000000000 0x00000042ffffffff 0x000000000014220c\n"
            )
    integrated, arc = probe(build(files), devices=devices).gpus
    assert (integrated.unified, integrated.memory_bytes) == (True, 16 * GIB)
    assert (arc.unified, arc.memory_bytes, arc.name) == (False, 12 * GIB, "Arc B580")
    assert arc.backend == "sycl"
