"""The whole probe: garbage and missing files never raise; calibrations; the live machine."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from planner.errors import ProbeError
from planner.hardware.calibrations import save_calibration
from planner.hardware.facts import Calibration, Hardware
from planner.hardware.files import decode_hardware, hardware_json
from planner.hardware.findings import known_paths
from planner.hardware.probe import probe
from tests.hardware.conftest import SMALL_MACHINE
from tests.hardware.test_amd import strix_halo

FILES = strix_halo(512, 65024, 130560) | {
    "proc/self/cgroup": "0::/box\n",
    "proc/self/mountinfo": "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
    "sys/fs/cgroup/box/memory.max": "max\n",
    "sys/fs/cgroup/box/cpu.max": "max 100000\n",
    "sys/class/kfd/kfd/topology/nodes/1/properties": "simd_count 80\nlocation_id 50432\n",
    "sys/class/kfd/kfd/topology/nodes/1/mem_banks/0/properties": "heap_type 1\nsize_in_bytes 1024\n",
    "planner/nvml.json": '{"boards": [{"name": "NVIDIA L4"}]}',
    "planner/bandwidth.json": '{"nodes": {"0": 1e9}, "upper": {}}',
}
GARBAGE = st.one_of(
    st.none(),
    st.sampled_from(
        ["", "-1", "0", "99999999999999999999999999", "0-", "::::", "\0", "N/A", "[" * 3000, "{}", "é" * 50]
    ),
    st.text(max_size=60),
    st.integers(-(2**70), 2**70).map(str),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(
        st.sampled_from(sorted(name for name in FILES if not FILES[name].startswith("->"))), GARBAGE, max_size=8
    )
)
def test_missing_and_broken_files_are_states(changes):
    """Whatever the files hold, there is a machine with a node, each fact with its source, that reads back."""
    folder = Path(tempfile.mkdtemp())
    try:
        for name, content in (FILES | changes).items():
            if content is None:
                continue
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if content.startswith("->"):
                path.symlink_to(content[2:])
            else:
                path.write_text(content, encoding="utf-8", errors="replace")
        hardware = probe(folder)
    finally:
        shutil.rmtree(folder)
    assert hardware.numa_nodes
    assert decode_hardware(hardware_json(hardware)) == hardware
    paths = known_paths("", hardware)
    assert not [
        p for p in paths if p not in hardware.sources and not p.startswith(("sources", "notes", "format_version"))
    ]


def test_an_empty_tree_is_an_unknown_machine(tmp_path):
    hardware = probe(tmp_path)
    assert (hardware.cpu.threads, hardware.ram_bytes, hardware.gpus) == (None, None, ())
    assert [node.id for node in hardware.numa_nodes] == [0]
    assert hardware.sources["memory.total_bytes"].state == "unknown"


def test_a_missing_root_is_an_error(tmp_path):
    with pytest.raises(ProbeError):
        probe(tmp_path / "absent")


def test_virtual_machines_and_containers(build):
    hardware = probe(
        build(
            SMALL_MACHINE
            | {
                "sys/class/dmi/id/sys_vendor": "Amazon EC2\n",
                "sys/class/dmi/id/product_name": "m7i.large\n",
                "run/.containerenv": "",
            }
        )
    )
    assert (hardware.virtualization, hardware.container, hardware.product) == (
        "amazon",
        "podman",
        "Amazon EC2 m7i.large",
    )


def test_bare_metal_at_amazon(build):
    files = {"sys/class/dmi/id/sys_vendor": "Amazon EC2\n", "sys/class/dmi/id/product_name": "m7i.metal-24xl\n"}
    assert probe(build(SMALL_MACHINE | files)).virtualization is None


CALIBRATION = Calibration(
    engine="llama.cpp-cuda", placement_class="gpu", model="qwen3-14b", measured_over_predicted=0.93
)


def test_calibrations_of_this_machine(tmp_path):
    file = save_calibration(CALIBRATION, tmp_path)
    assert save_calibration(CALIBRATION, tmp_path) == file, "the same measurement again replaces it"
    (tmp_path / "calibrations/broken.json").write_text("{")
    (tmp_path / "calibrations/newer.json").write_text(
        json.dumps({**json.loads(file.read_text()), "format_version": "9.0"})
    )
    hardware = probe(measure_bandwidth=False, state_dir=tmp_path)
    assert hardware.calibration == (CALIBRATION,)
    assert sum("is ignored" in note for note in hardware.notes) == 2


def test_calibrations_do_not_reach_other_machines(build, tmp_path):
    save_calibration(CALIBRATION, tmp_path / "state")
    assert probe(build(SMALL_MACHINE), state_dir=tmp_path / "state").calibration == ()


def test_this_machine():
    hardware = probe(measure_bandwidth=False)
    assert isinstance(hardware, Hardware)
    assert hardware.cpu.usable_cpus
    assert hardware.cpu.usable_cpus <= hardware.cpu.threads
    assert hardware.memory.available_bytes <= hardware.memory.total_bytes
    assert hardware.disk is not None
    paths = [p for p in known_paths("", hardware) if not p.startswith(("sources", "notes", "format_version"))]
    assert [p for p in paths if p not in hardware.sources] == []
