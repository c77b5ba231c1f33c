"""NVML's answers as facts; the library missing, broken or hanging is a note."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from planner.hardware.facts import Memory, NumaNode
from planner.hardware.findings import Findings
from planner.hardware.nvidia import Board, Driver, Slice, gpus_from_driver, visible_boards
from planner.hardware.nvml import read_driver
from planner.hardware.published import with_published
from tests.hardware.fake_nvml import MIB, FakeNvml, board_of_capture

CAPTURES = json.loads((Path(__file__).parents[1] / "machines/nvidia_smi/expected.json").read_text())
MEMORY = Memory(total_bytes=256 * 1024 * MIB, available_bytes=200 * 1024 * MIB)
ONE_NODE = (NumaNode(id=0),)


def gpus(nvml, memory=MEMORY, nodes=ONE_NODE, devices=None):
    findings = Findings()
    found = gpus_from_driver(read_driver(load=lambda: nvml), memory, nodes, findings)
    return with_published(found, devices, findings), findings


@pytest.mark.parametrize("name", [name for name in CAPTURES if "mig" not in name])
def test_boards_of_captures(name, devices):
    stated = CAPTURES[name]["gpus"]
    found, _ = gpus(FakeNvml([board_of_capture(gpu, i) for i, gpu in enumerate(stated)]), devices=devices)
    assert len(found) == len(stated)
    for gpu, wanted in zip(found, stated, strict=True):
        assert gpu.name == wanted["name"]
        assert gpu.memory_bytes == wanted["fb_mib"]["total"] * MIB
        assert gpu.free_bytes == wanted["fb_mib"]["free"] * MIB
        assert gpu.reserved_bytes == (wanted["fb_mib"].get("reserved") or 0) * MIB
        assert not gpu.unified
        assert gpu.numa_node == 0
        if "GH200" in gpu.name:
            assert (gpu.link.kind, gpu.link.width) == ("nvlink-c2c", None), "the PCIe width of 1x says nothing"
        else:
            assert gpu.link.generation == int(wanted["pcie_gen_max"])
            assert gpu.link.current_generation == int(wanted["pcie_gen_current"])


def test_idle_link_is_not_the_capability():
    """RTX 5090: generation 1 of 5 and 8 of 16 lanes while idle."""
    ((gpu,), _) = gpus(FakeNvml([board_of_capture(CAPTURES["rtx5090.txt"]["gpus"][0])]))
    assert (gpu.link.generation, gpu.link.width) == (5, 16)
    assert (gpu.link.current_generation, gpu.link.current_width) == (1, 8)
    assert gpu.link.bytes_per_s == pytest.approx(63e9, rel=0.01)


def test_published_figures(devices):
    ((gpu,), findings) = gpus(
        FakeNvml([board_of_capture(CAPTURES["rtx3090-passthrough.xml"]["gpus"][0])]), devices=devices
    )
    assert gpu.device == "rtx-3090"
    assert gpu.bandwidth_bytes_per_s == 936.2e9
    assert findings.sources["gpus.0.bandwidth_bytes_per_s"].source == "catalog"
    assert any("Pass-Through" in note for note in findings.notes)


def test_old_driver_knows_version_1_only():
    board = board_of_capture(CAPTURES["rtx3080-v13.xml"]["gpus"][0])
    ((gpu,), _) = gpus(FakeNvml([board], old_driver=True))
    assert (gpu.memory_bytes, gpu.reserved_bytes) == (10240 * MIB, None)


def test_gb10_computes_in_system_memory():
    """DGX Spark answers NOT_SUPPORTED to both versions."""
    capture = json.loads((Path(__file__).parents[1] / "machines/nvidia_smi/gb10-dgx-spark-nvml.json").read_text())
    info = capture["meminfo_kb"]
    memory = Memory(total_bytes=info["MemTotal"] * 1024, available_bytes=info["MemAvailable"] * 1024)
    board = {"name": capture["device_name"], "uuid": "GPU-1", "memory_error": 3}
    ((gpu,), findings) = gpus(FakeNvml([board]), memory=memory)
    assert gpu.unified
    assert (gpu.memory_bytes, gpu.free_bytes) == (memory.total_bytes, memory.available_bytes)
    assert findings.sources["gpus.0.memory_bytes"].source == "derived"


def test_carve_out_of_an_integrated_chip_is_no_capacity():
    board = {"name": "NVIDIA N1X", "uuid": "GPU-1", "memory_mib": (512, 0, 0, 512)}
    ((gpu,), _) = gpus(FakeNvml([board]))
    assert gpu.unified
    assert gpu.memory_bytes == MEMORY.total_bytes


@pytest.mark.parametrize(("error", "state"), [(4, "denied"), (15, "unknown"), (3, "unknown")])
def test_other_errors_stay_unknown(error, state):
    """No permission, a lost GPU, and NOT_SUPPORTED of a card that is not integrated."""
    board = {"name": "NVIDIA GeForce RTX 4090", "uuid": "GPU-1", "memory_error": error}
    ((gpu,), findings) = gpus(FakeNvml([board]))
    assert (gpu.memory_bytes, gpu.unified) == (None, False)
    assert findings.sources["gpus.0.memory_bytes"].state == state


def test_mig_slices_stand_for_their_board(devices):
    stated = CAPTURES["a100-sxm4-mig-4gpu.xml"]["gpus"][0]
    board = board_of_capture(stated) | {"mig": (1, 1), "mig_count": 7}
    board["slices"] = {
        int(part["index"]) * 2: {
            "name": "NVIDIA A100-SXM4-80GB MIG 1g.20gb",
            "uuid": f"MIG-{part['index']}",
            "memory_mib": (part["fb_total_mib"], 0, part["fb_total_mib"] - part["fb_free_mib"], part["fb_free_mib"]),
            "attributes": SimpleNamespace(gpuInstanceSliceCount=1),
        }
        for part in stated["mig_devices"]
    }
    found, _ = gpus(FakeNvml([board]), devices=devices)
    assert [gpu.memory_bytes for gpu in found] == [19968 * MIB] * 4
    assert {gpu.slice_of for gpu in found} == {"NVIDIA A100-SXM4-80GB"}
    assert found[0].bandwidth_bytes_per_s == pytest.approx(2039e9 * 19968 / 81920)
    assert found[0].fp16_flops_per_s == pytest.approx(312e12 / 7)


def test_mig_without_slices_offers_nothing():
    board = board_of_capture(CAPTURES["a100-sxm4-mig-4gpu.xml"]["gpus"][0]) | {"mig": (1, 1), "slices": {}}
    found, findings = gpus(FakeNvml([board]))
    assert found == ()
    assert "holds no slice" in findings.notes[0]


def test_nvlink_peers_by_place():
    boards = [board_of_capture(gpu, i) for i, gpu in enumerate(CAPTURES["h100-sxm-x8.txt"]["gpus"])]
    for board in boards:
        board["nvlink"] = {other["uuid"] for other in boards} - {board["uuid"]}
    found, _ = gpus(FakeNvml(boards))
    assert found[3].nvlink_peers == (0, 1, 2, 4, 5, 6, 7)


def test_affinity_mask_names_the_node():
    board = board_of_capture(CAPTURES["l4.txt"]["gpus"][0]) | {"affinity": [0b10, 0, 0, 0]}
    ((gpu,), _) = gpus(FakeNvml([board]), nodes=(NumaNode(id=0), NumaNode(id=1)))
    assert gpu.numa_node == 1
    del board["affinity"]
    ((gpu,), _) = gpus(FakeNvml([board]), nodes=(NumaNode(id=0), NumaNode(id=1)))
    assert gpu.numa_node is None


@pytest.mark.parametrize(
    ("error", "text"),
    [(12, None), (9, None), (18, "versions differ"), (999, "refuses")],
)
def test_library_missing_or_mismatched(error, text):
    driver = read_driver(load=lambda: FakeNvml([], init_error=error))
    assert driver.boards == ()
    assert driver.problem is None if text is None else text in driver.problem


def test_a_hanging_driver_is_given_up():
    release = threading.Event()

    class Hanging(FakeNvml):
        def nvmlInit(self):  # noqa: N802
            release.wait(20)

    driver = read_driver(time_limit_s=0.05, load=lambda: Hanging([]))
    release.set()
    assert driver.boards == ()
    assert "did not answer" in driver.problem


BOARDS = Driver(
    boards=(
        Board(name="A", uuid="GPU-aaaa", nvlink_peers=(1,)),
        Board(name="A", uuid="GPU-bbbb", nvlink_peers=(0,)),
        Board(
            name="A", uuid="GPU-cccc", mig=True, slices=(Slice(name="s", uuid="MIG-1"), Slice(name="t", uuid="MIG-2"))
        ),
    )
)


@pytest.mark.parametrize(
    ("visible", "left"),
    [
        (None, ["GPU-aaaa", "GPU-bbbb", "GPU-cccc"]),
        ("", []),
        ("1", ["GPU-bbbb"]),
        ("GPU-b,GPU-a", ["GPU-aaaa", "GPU-bbbb"]),
        ("0,7,1", ["GPU-aaaa"]),
        ("-1", []),
        ("MIG-2", ["GPU-cccc"]),
    ],
)
def test_visible_devices(visible, left):
    driver = visible_boards(BOARDS, visible, None)
    assert [board.uuid for board in driver.boards] == left


def test_visible_slice_alone():
    driver = visible_boards(BOARDS, "MIG-2", None)
    assert [part.uuid for part in driver.boards[0].slices] == ["MIG-2"]


def test_peers_follow_the_boards_left():
    driver = visible_boards(BOARDS, "GPU-b,GPU-c", None)
    assert driver.boards[0].nvlink_peers == ()


def test_a_capture_of_answers_reads_back():
    assert msgspec.json.decode(msgspec.json.encode(BOARDS), type=Driver) == BOARDS
