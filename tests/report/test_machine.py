"""The screen of a machine: nodes, what hangs on them, links, and what is unknown."""

from __future__ import annotations

import io

import msgspec
import pytest
from rich.console import Console

from planner.hardware.facts import Cpu, FactSource, Gpu, Hardware, Link, Memory, NumaNode, Os
from planner.report.machine import machine_view

GIB = 1024**3
MODULES = Memory(
    total_bytes=512 * GIB,
    available_bytes=500 * GIB,
    type="DDR5",
    channels=16,
    mt_per_s=4800,
    theoretical_bytes_per_s=614.4e9,
)


def node(number, **more):
    first = NumaNode(
        id=number,
        cpus=(*range(32 * number, 32 * number + 32), *range(64 + 32 * number, 96 + 32 * number)),
        memory_bytes=256 * GIB,
        distances={number: 10, 1 - number: 21},
        bandwidth_bytes_per_s=182e9,
        package=number,
    )
    return msgspec.structs.replace(first, **more)


def card(number, **more):
    first = Gpu(
        vendor="nvidia",
        name="NVIDIA H100 80GB HBM3",
        backend="cuda",
        memory_bytes=80 * GIB,
        free_bytes=79 * GIB,
        bandwidth_bytes_per_s=3352e9,
        numa_node=number // 2,
        link=Link(generation=5, width=16, bytes_per_s=63e9),
        nvlink_peers=tuple(other for other in range(4) if other != number),
        bus_id=f"0000:{number}1:00.0",
    )
    return msgspec.structs.replace(first, **more)


def machine(**more):
    """Two sockets, two nodes, two H100 on each."""
    first = Hardware(
        cpu=Cpu(model="Intel(R) Xeon(R) Platinum 8462Y+", sockets=2, cores=64, threads=128, usable_cpus=128),
        memory=MODULES,
        numa_nodes=(node(0, remote_bandwidth_bytes_per_s={1: 96e9}), node(1)),
        gpus=tuple(card(number) for number in range(4)),
        os=Os(name="linux", release="6.8.0"),
        sources={
            "numa_nodes.0.bandwidth_bytes_per_s": FactSource(source="measured"),
            "numa_nodes.1.bandwidth_bytes_per_s": FactSource(source="catalog", state="suspect"),
            "gpus.0.bandwidth_bytes_per_s": FactSource(source="catalog"),
        },
    )
    return msgspec.structs.replace(first, **more)


def screen(hardware):
    """The lines as a terminal of 80 columns shows them."""
    text = io.StringIO()
    Console(file=text, width=80, highlight=False).print(machine_view(hardware))
    return [line.rstrip() for line in text.getvalue().splitlines()]


def said(hardware):
    return " ".join(" ".join(screen(hardware)).split())


def place(lines, start):
    return next(i for i, line in enumerate(lines) if line.strip().startswith(start))


def test_gpus_stand_under_their_node():
    lines = screen(machine())
    order = [place(lines, name) for name in ("node 0", "gpu 0", "gpu 1", "node 1", "gpu 2", "gpu 3")]
    assert order == sorted(order)


def test_nodes_say_cpus_memory_bandwidth_and_the_way_to_each_other():
    lines = screen(machine())
    first, second = lines[place(lines, "node 0")], lines[place(lines, "node 1")]
    assert " ".join(first.split()) == "node 0 CPUs 0-31,64-95 256.0 GiB read 182 GB/s measured"
    assert second.endswith("read 182 GB/s catalog?"), "a doubtful figure is marked"
    assert lines[place(lines, "node 0") + 1].strip() == "distance to node 1: 21 (96.0 GB/s)"


def test_gpus_say_memory_bandwidth_and_links():
    first = "gpu 0 NVIDIA H100 80GB HBM3 80.0 GiB (79.0 GiB free), 3352 GB/s catalog PCIe 5.0 x16 (63.0 GB/s),"
    assert f"{first} NVLink to gpu 1-3" in said(machine())


def test_what_a_link_is_at_now_and_who_is_read_directly():
    """RTX 5090 when idle: generation 1 of 5, 8 of 16 lanes."""
    idle = Link(generation=5, width=16, bytes_per_s=63e9, current_generation=1, current_width=8)
    text = said(machine(gpus=(card(0, link=idle, nvlink_peers=(), p2p_peers=(1,), ecc=True), card(1))))
    assert "PCIe 5.0 x16 (63.0 GB/s), now 1.0 x8 (idle or its slot), reads gpu 1 directly" in text
    assert "(79.0 GiB free), ECC, 3352 GB/s" in text
    slow = Link(generation=5, width=16, bytes_per_s=63e9, current_generation=2, current_width=16)
    assert "now 2.0 x16 (idle)" in said(machine(gpus=(card(0, link=slow),)))


def test_what_the_question_mark_means():
    assert "figures with ?: a theoretical peak, not measured: `planner probe` on the machine" in said(machine())
    busy = {"numa_nodes.0.bandwidth_bytes_per_s": FactSource(source="measured", state="suspect")}
    assert "182 GB/s measured?" in said(machine(sources=busy))
    assert "figures with ?: measured while the machine was busy" in said(machine(sources=busy))
    assert "?" not in said(machine(sources={}))


def test_sub_numa_clusters_and_memory_caches():
    """Two sockets of two nodes each, CPUs in turn, Optane behind DRAM."""
    nodes = tuple(
        node(
            i, cpus=tuple(range(i, 80, 4)), distances={0: 10, 1: 21, 2: 11, 3: 21}, package=i % 2, side_cache_bytes=GIB
        )
        for i in range(4)
    )
    text = said(machine(numa_nodes=nodes, gpus=()))
    assert "NUMA nodes (2 a socket: SNC or NPS) node 0 CPUs 0-76/4" in text
    assert "slower memory behind 1.0 GiB of DRAM as its cache (2LM)" in text
    assert "distance to nodes 1,3: 21, node 2: 11" in text
    assert "a socket" not in said(machine())


def test_a_peak_of_the_series_is_said_to_be_that():
    unread = Memory(total_bytes=512 * GIB, theoretical_bytes_per_s=282e9)
    suspect = {"memory.theoretical_bytes_per_s": FactSource(source="catalog", state="suspect")}
    text = said(machine(memory=unread, sources=suspect))
    assert "modules RAM, at most 282 GB/s? (the processor's series) catalog" in text
    assert "DDR5, 16 channels x 4800 MT/s = 614 GB/s" in said(machine())


def test_a_known_machine_leaves_nothing_open():
    assert "nknown" not in said(machine(sources={}))


def test_unified_memory():
    shared = card(0, unified=True, working_set_bytes=64 * GIB, link=None, nvlink_peers=())
    text = said(machine(gpus=(shared,), sources={}))
    assert "80.0 GiB (64.0 GiB usable), 3352 GB/s unified memory" in text
    assert "nknown" not in text


@pytest.mark.parametrize(
    ("change", "sentences"),
    [
        (
            {"numa_nodes": (node(0, bandwidth_bytes_per_s=None), node(1, bandwidth_bytes_per_s=None))},
            ["read unknown", "read bandwidth of nodes 0, 1: `planner probe` on the machine measures it"],
        ),
        (
            {"gpus": (card(0, memory_bytes=None, free_bytes=None),)},
            ["memory unknown, 3352 GB/s", "memory of gpu 0: `nvidia-smi -q -x > gpus.xml` there"],
        ),
        (
            {"gpus": (card(0, numa_node=None),)},
            ["node unknown gpu 0 NVIDIA", "NUMA node of gpu 0: `nvidia-smi topo -m`"],
        ),
        ({"gpus": (card(0, link=None),)}, ["link unknown", "link of gpu 0: `sudo lspci -vv -s 0000:01:00.0`"]),
        (
            {"memory": Memory(total_bytes=512 * GIB)},
            ["type, channels, MT/s of the memory modules: `sudo dmidecode -t 17 > modules.txt`"],
        ),
        ({"cpu": Cpu(model="X")}, ["CPU sockets, cores, threads: save what `lscpu` prints"]),
    ],
)
def test_what_is_unknown_says_how_to_learn_it(change, sentences):
    text = said(machine(**change))
    assert "Unknown, and how to learn it" in text
    assert [sentence for sentence in sentences if sentence not in text] == []


def test_no_line_is_wider_than_80_columns():
    interleaved = node(0, cpus=tuple(range(0, 128, 4)))
    wide = machine(numa_nodes=(interleaved, node(1)), gpus=(card(0, name="N" * 120), *(card(i) for i in range(1, 4))))
    noted = msgspec.structs.replace(wide, notes=("word " * 60,) * 12)
    for hardware in (machine(), wide, noted, Hardware()):
        assert max(map(len, screen(hardware))) <= 80
    assert said(noted).endswith("and 4 more: --json")
