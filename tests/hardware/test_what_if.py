"""Imagined machines: what was named, what is assumed and said, what contradicts."""

from __future__ import annotations

import pytest

from planner.errors import UnknownName, UsageError
from planner.hardware.apple import parse_chip, working_set_bytes
from planner.hardware.what_if import what_if

GIB = 1024**3
MIB = 1024**2


def test_one_card(devices):
    hardware = what_if(devices, gpus=["RTX 4090"], ram="64GiB")
    (gpu,) = hardware.gpus
    assert (gpu.device, gpu.backend, gpu.vendor) == ("rtx-4090", "cuda", "nvidia")
    assert gpu.memory_bytes == (devices.device("RTX 4090").driver_memory_bytes or 24 * GIB)
    assert gpu.bandwidth_bytes_per_s == 1008.4e9
    assert (gpu.compute_capability, gpu.link.generation, gpu.link.width) == ("8.9", 4, 16)
    assert hardware.ram_bytes == 64 * GIB
    assert hardware.sources["memory.total_bytes"].source == "given"
    assert hardware.sources["gpus.0.bandwidth_bytes_per_s"].source == "catalog"


def test_what_is_not_named_is_assumed_and_said_first(devices):
    """A desktop's 2 x DDR4-3200: 51.2 GB/s."""
    hardware = what_if(devices, gpus=["RTX 4090"], ram="64GiB")
    assert hardware.numa_nodes[0].bandwidth_bytes_per_s == 51.2e9
    assert hardware.sources["numa_nodes.0.bandwidth_bytes_per_s"].source == "assumed"
    assert hardware.sources["cpu.cores"].source == "assumed"
    assert "--ram-bandwidth" in hardware.notes[0]


def test_two_cards(devices):
    hardware = what_if(devices, gpus=["RTX 3090:2"], ram="128GiB", ram_bandwidth="80GB/s", cores=16)
    assert [gpu.device for gpu in hardware.gpus] == ["rtx-3090", "rtx-3090"]
    assert {gpu.memory_bytes for gpu in hardware.gpus} == {24576 * MIB}, "what nvidia-smi shows"
    assert {gpu.bandwidth_bytes_per_s for gpu in hardware.gpus} == {936.2e9}
    assert hardware.ram_bandwidth_bytes_per_s == 80e9
    assert hardware.cpu.cores == 16
    assert hardware.notes == ()


def test_mixed_cards(devices):
    hardware = what_if(devices, gpus=["RTX 3090", "rtx4090 : 2"], ram="128GiB")
    assert [gpu.device for gpu in hardware.gpus] == ["rtx-3090", "rtx-4090", "rtx-4090"]


def test_sxm_modules_are_linked(devices):
    gpus = what_if(devices, gpus=["H100:8"]).gpus
    assert gpus[2].nvlink_peers == (0, 1, 3, 4, 5, 6, 7)
    assert gpus[0].memory_bytes == 81559 * MIB


@pytest.mark.parametrize("text", ["M3 Max 40c 128GiB", "Apple M3 Max 40-core GPU, 128 GiB", "m3 max 128gib 40 cores"])
def test_apple(devices, text):
    hardware = what_if(devices, apple=text)
    (gpu,) = hardware.gpus
    assert (gpu.device, gpu.cores, gpu.backend, gpu.unified) == ("m3-max-40c", 40, "metal", True)
    assert gpu.name == "Apple M3 Max"
    assert gpu.bandwidth_bytes_per_s == 409.6e9
    assert gpu.memory_bytes == hardware.memory.total_bytes == 128 * GIB
    assert gpu.working_set_bytes == 96 * GIB, "3/4 above 36 GiB"
    assert hardware.sources["gpus.0.working_set_bytes"].source == "assumed"
    assert hardware.os.name == "macos"
    assert hardware.unified


def test_apple_without_cores_takes_the_lower_bin_and_says_so(devices):
    hardware = what_if(devices, apple="M3 Max", ram="36GiB")
    assert hardware.gpus[0].cores == 30
    assert hardware.gpus[0].bandwidth_bytes_per_s == 307.2e9
    assert hardware.gpus[0].working_set_bytes == 24 * GIB
    assert "30 or 40 GPU cores: the lower bin (30)" in " ".join(hardware.notes)


def test_apple_without_a_size_has_unknown_memory(devices):
    hardware = what_if(devices, apple="M3 Max 40c")
    assert hardware.ram_bytes is None
    assert hardware.gpus[0].memory_bytes is None
    assert "--apple" in hardware.notes[0]


@pytest.mark.parametrize(
    ("gib", "reported_mib"),
    [(16, 10922.67), (32, 21845.34), (96, 73728.0)],
)
def test_working_set_defaults(gib, reported_mib):
    """recommendedMaxWorkingSetSize as llama.cpp users logged it."""
    assert working_set_bytes(gib * GIB)[0] / MIB == pytest.approx(reported_mib, abs=0.01)


def test_working_set_that_was_set():
    assert working_set_bytes(64 * GIB, 57344)[0] == 56 * GIB
    assert working_set_bytes(64 * GIB, 0)[0] == 48 * GIB


def test_numa_server(devices):
    hardware = what_if(devices, cores=64, ram="512GiB", ram_bandwidth="400GB/s", numa_nodes=2)
    assert [node.memory_bytes for node in hardware.numa_nodes] == [256 * GIB] * 2
    assert [node.bandwidth_bytes_per_s for node in hardware.numa_nodes] == [200e9] * 2
    assert [node.cpus for node in hardware.numa_nodes] == [tuple(range(32)), tuple(range(32, 64))]
    assert hardware.numa_nodes[0].distances == {0: 10, 1: 20}
    assert (hardware.gpus, hardware.cpu.cores, hardware.notes) == ((), 64, ())


def test_uneven_split_loses_nothing(devices):
    hardware = what_if(devices, cores=10, ram=10**9 + 1, ram_bandwidth="90GB/s", numa_nodes=3)
    assert sum(node.memory_bytes for node in hardware.numa_nodes) == 10**9 + 1
    assert sorted(cpu for node in hardware.numa_nodes for cpu in node.cpus) == list(range(10))
    assert hardware.ram_bandwidth_bytes_per_s == pytest.approx(90e9)


def test_named_processor(devices):
    """EPYC 9654: 96 cores, 12 channels of DDR5-4800 a socket."""
    hardware = what_if(devices, cpu="2x EPYC 9654", ram="768GiB")
    assert (hardware.cpu.sockets, hardware.cpu.cores, len(hardware.numa_nodes)) == (2, 192, 2)
    assert hardware.ram_bandwidth_bytes_per_s == 2 * 12 * 8 * 4800e6
    assert hardware.sources["numa_nodes.1.bandwidth_bytes_per_s"].source == "catalog"
    assert (hardware.memory.type, hardware.memory.channels) == ("DDR5", 24)
    assert "avx512_bf16" in hardware.cpu.isa
    assert hardware.notes == ()


def test_memory_without_a_name_can_be_sized_only(devices):
    hardware = what_if(devices, vram="24GiB")
    (gpu,) = hardware.gpus
    assert (gpu.memory_bytes, gpu.bandwidth_bytes_per_s, gpu.backend) == (24 * GIB, None, "cuda")
    assert hardware.ram_bytes is None
    assert any("--gpu" in note for note in hardware.notes)
    assert any("no plan may use it: give --ram" in note for note in hardware.notes)


def test_vram_decides_between_variants(devices):
    with pytest.raises(UsageError, match="fits several devices"):
        what_if(devices, gpus=["RTX 4060 Ti"])
    (gpu,) = what_if(devices, gpus=["RTX 4060 Ti"], vram="16GiB").gpus
    assert gpu.memory_bytes == 16 * GIB
    assert gpu.name.endswith("16 GB")


def test_given_figures_win(devices):
    hardware = what_if(devices, gpus=["RTX 4090"], vram="48GiB", gpu_bandwidth="900GB/s", backend="Vulkan")
    (gpu,) = hardware.gpus
    assert (gpu.memory_bytes, gpu.bandwidth_bytes_per_s, gpu.backend) == (48 * GIB, 900e9, "vulkan")
    assert {
        hardware.sources[f"gpus.0.{name}"].source for name in ("memory_bytes", "bandwidth_bytes_per_s", "backend")
    } == {"given"}
    assert "planned with 48.0 GiB as asked" in " ".join(hardware.notes)


def test_chips_with_shared_memory(devices):
    (spark,) = what_if(devices, gpus=["GB10"]).gpus
    assert (spark.unified, spark.memory_bytes, spark.working_set_bytes) == (True, 128 * GIB, 128 * GIB)
    halo = what_if(devices, gpus=["8060S"], ram="128GiB")
    assert halo.gpus[0].working_set_bytes == 64 * GIB, "amdgpu's default: half of the RAM"
    assert "--vram" in halo.notes[0]
    assert what_if(devices, gpus=["8060S"], ram="128GiB", vram="96GiB").gpus[0].working_set_bytes == 96 * GIB


def test_nothing_is_borrowed_from_this_machine(devices, monkeypatch):
    def forbidden(*_args, **_kwargs):
        raise AssertionError("this machine was asked")

    for target in ("os.cpu_count", "os.sched_getaffinity", "os.sysconf", "platform.machine", "platform.system"):
        monkeypatch.setattr(target, forbidden)
    what_if(devices, gpus=["RTX 4090"], ram="64GiB")
    what_if(devices, apple="M3 Max 40c 128GiB")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"numa_nodes": 2},
        {"gpu_bandwidth": "900GB/s", "ram": "64GiB"},
        {"backend": "cuda", "ram": "64GiB"},
        {"backend": "cpu", "gpus": ["RTX 4090"]},
        {"backend": "rocm", "gpus": ["RTX 4090"]},
        {"backend": "directx", "gpus": ["RTX 4090"]},
        {"backend": "metal", "vram": "24GiB"},
        {"apple": "M3 Max 40c 128GiB", "gpus": ["RTX 4090"]},
        {"apple": "M3 Max 40c 128GiB", "vram": "24GiB"},
        {"apple": "M3 Max 40c 128GiB", "cpu": "EPYC 9654"},
        {"apple": "M3 Max 40c 128GiB", "ram": "64GiB"},
        {"apple": "M3 Max 40c 128GiB", "numa_nodes": 2},
        {"apple": "M3 Max 40c 128GiB", "backend": "cuda"},
        {"apple": "M3 Max 40c 128"},
        {"apple": "128GiB"},
        {"apple": "RTX 4090"},
        {"gpus": ["M3 Max"]},
        {"gpus": ["EPYC 9654"]},
        {"gpus": ["RTX 4090:0"]},
        {"gpus": ["RTX 4090:1000"]},
        {"gpus": [""]},
        {"gpus": ["RTX 4090", "RTX 3090"], "vram": "24GiB"},
        {"gpus": ["GB10:2"]},
        {"gpus": ["8060S"], "ram": "64GiB", "vram": "96GiB"},
        {"gpus": ["GB10"], "numa_nodes": 2},
        {"cpu": "EPYC 9654", "cores": 64},
        {"cpu": "RTX 4090"},
        {"cores": 0},
        {"cores": True},
        {"ram": "64"},
        {"ram": "64GiB", "ram_bandwidth": "80"},
        {"ram": "-1GiB"},
    ],
)
def test_contradictions_are_usage_errors(devices, options):
    with pytest.raises(UsageError):
        what_if(devices, **options)


@pytest.mark.parametrize("options", [{"gpus": ["RTX 4900"]}, {"apple": "M9 Max 128GiB"}, {"cpu": "EPIC 9999Q"}])
def test_unknown_names(devices, options):
    with pytest.raises(UnknownName):
        what_if(devices, **options)


def test_near_misses(devices):
    with pytest.raises(UnknownName) as caught:
        what_if(devices, gpus=["GeForce RTX 4900"])
    assert caught.value.matches


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("M3 Max 40c 128GiB", ("M3 Max", 40, 128 * GIB)),
        ("M4", ("M4", None, None)),
        ("Apple M2 Ultra 76-core GPU 192 GiB", ("M2 Ultra", 76, 192 * GIB)),
        ("M1 16GB", ("M1", None, 16 * 10**9)),
    ],
)
def test_chip_texts(text, parts):
    chip = parse_chip(text)
    assert (chip.name, chip.gpu_cores, chip.memory_bytes) == parts
