"""A machine in one line."""

from __future__ import annotations

import planner
from planner.hardware.facts import Gpu, Hardware
from planner.hardware.summary import machine_line
from planner.units import GIB


def test_a_machine_is_told_by_its_cards_memory_and_cores() -> None:
    two = planner.what_if(gpus=["RTX 3090:2"], ram="128GiB", ram_bandwidth="80GB/s", cores=16)
    assert machine_line(two) == "2 x GeForce RTX 3090 (24.0 GiB), 128.0 GiB RAM, 16 cores"
    nodes = planner.what_if(cores=64, ram="512GiB", ram_bandwidth="340GB/s", numa_nodes=2)
    assert machine_line(nodes) == "512.0 GiB RAM, 64 cores, 2 NUMA nodes"
    # An Apple chip is the processor, the card, and one memory for both.
    assert machine_line(planner.what_if(apple="M3 Max 40c 128GiB")) == "Apple M3 Max, 128.0 GiB RAM"


def test_what_is_not_known_is_left_out() -> None:
    assert machine_line(Hardware()) == "a machine of which nothing is known"
    card = Gpu(vendor="amd", name="RX", backend="rocm", memory_bytes=16 * GIB)
    assert machine_line(Hardware(gpus=(card, Gpu(vendor="amd", name="RX", backend="rocm")))) == "RX (16.0 GiB), RX"
