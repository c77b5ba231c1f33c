"""The statistic on made-up samples, the choice of threads, the cache, and one real measurement."""

from __future__ import annotations

import pytest

from planner.hardware import bandwidth
from planner.hardware.bandwidth_cache import Measurement
from planner.hardware.bandwidth_windows import best_rate, chunk_rate, window_rates
from planner.hardware.facts import Cpu, Hardware, Memory, NumaNode
from planner.hardware.findings import Findings
from planner.hardware.linux import read_linux
from planner.hardware.memory_reader import Sample
from planner.hardware.tree import Tree


def steady(rate: float, chunk_s: float = 0.001, seconds: float = 0.4) -> list[Sample]:
    return [Sample(i * chunk_s, (i + 1) * chunk_s, int(rate * chunk_s)) for i in range(round(seconds / chunk_s))]


def test_steady_threads_add_up():
    rates = window_rates([steady(10e9), steady(20e9), steady(5e9)], {0: [0, 1], 1: [2]})
    assert rates == {0: pytest.approx(30e9), 1: pytest.approx(5e9)}


def test_a_preempted_thread_does_not_hide_the_rest():
    """Half of the time a second tenant stops one thread: the windows with both show the machine."""
    broken = [s for s in steady(10e9) if int(s.start_s / 0.1) % 2 == 0]
    rates = window_rates([steady(10e9), broken], {0: [0, 1]})
    assert rates[0] == pytest.approx(20e9, rel=0.02)


def test_threads_that_never_overlap_do_not_add_up():
    """Each reads at 10 GB/s for half of the time: the best chunks say 20, no window does."""
    first = [s for s in steady(10e9) if int(s.start_s / 0.005 + 1e-9) % 2 == 0]
    second = [s for s in steady(10e9) if int(s.start_s / 0.005 + 1e-9) % 2 == 1]
    total = window_rates([first, second], {0: [0, 1]})[0]
    assert best_rate(first) + best_rate(second) == pytest.approx(20e9)
    assert total == pytest.approx(10e9, rel=0.05)


def test_one_fast_chunk_is_no_rate():
    samples = [*steady(10e9), Sample(0.4, 0.4001, 10_000_000)]
    assert best_rate(samples) == pytest.approx(100e9)
    assert chunk_rate(samples) == pytest.approx(10e9)


@pytest.mark.parametrize("samples", [[], [[]], [steady(1e9), []], [[Sample(0, 0.001, 1)]]])
def test_no_windows_no_rate(samples):
    assert window_rates(samples, {0: list(range(len(samples)))}) == {}


NODES = (
    NumaNode(id=0, cpus=(0, 1, 4, 5), distances={0: 10, 2: 20}),
    NumaNode(id=2, cpus=(2, 3, 6, 7), distances={0: 20, 2: 10}),
)
CORES = ((0, 4), (1, 5), (2, 6), (3, 7))


def test_one_thread_for_each_core():
    hardware = Hardware(cpu=Cpu(allowed_cpus=tuple(range(8))), numa_nodes=NODES)
    assert bandwidth.reader_plan(hardware, CORES) == [(0, 0), (0, 1), (2, 2), (2, 3)]


def test_cpuset_and_quota_take_threads():
    hardware = Hardware(cpu=Cpu(allowed_cpus=(4, 5, 2, 3)), numa_nodes=NODES)
    assert bandwidth.reader_plan(hardware, CORES) == [(2, 2), (2, 3), (0, 4), (0, 5)]
    half = Hardware(cpu=Cpu(allowed_cpus=tuple(range(8)), quota_cpus=2.5), numa_nodes=NODES)
    assert bandwidth.reader_plan(half, CORES) == [(0, 0), (2, 2)]


def test_buffers_stay_small():
    """64 MiB a thread, at most 5 % of what is free, whole huge pages."""
    mib = 1024**2
    large = Hardware(memory=Memory(available_bytes=64 * 1024 * mib))
    assert bandwidth._buffer_bytes(large, 4) == 64 * mib
    small = Hardware(memory=Memory(available_bytes=400 * mib))
    assert bandwidth._buffer_bytes(small, 4) == 4 * mib


def test_one_remote_pair_for_each_distance():
    """Kunpeng 920: 16 within a package, 32 to 33 across; the matrix has all twelve pairs."""
    assert bandwidth.remote_pairs(NODES, (0, 2)) == [(0, 2)]
    assert bandwidth.remote_pairs(NODES, (0, 2), every=True) == [(0, 2), (2, 0)]
    rows = {0: (10, 16, 32, 33), 1: (16, 10, 25, 32), 2: (32, 25, 10, 16), 3: (33, 32, 16, 10)}
    four = tuple(NumaNode(id=i, distances=dict(enumerate(row))) for i, row in rows.items())
    assert bandwidth.remote_pairs(four, (0, 1, 2, 3)) == [(0, 1), (0, 2), (0, 3), (1, 2)]
    assert len(bandwidth.remote_pairs(four, (0, 1, 2, 3), every=True)) == 12


def test_a_kept_measurement_without_the_matrix_is_measured_again(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    asked = []

    def measure(*_args, numa_matrix):
        asked.append(numa_matrix)
        remote = {"0>2": 2e9, "2>0": 3e9} if numa_matrix else {"0>2": 2e9}
        return Measurement(nodes={0: 5e9, 2: 5e9}, upper={0: 6e9}, remote=remote)

    monkeypatch.setattr(bandwidth, "measure", measure)
    hardware = Hardware(numa_nodes=NODES)
    for matrix in (False, False, True, True, False):
        measured, _ = bandwidth.with_measured(Tree("/"), hardware, Findings(), None, numa_matrix=matrix)
    assert asked == [False, True]
    assert [node.remote_bandwidth_bytes_per_s for node in measured.numa_nodes] == [{2: 2e9}, {0: 3e9}]


def test_real_measurement_is_kept_and_used_again(tmp_path, monkeypatch):
    """On whatever runs the tests: a rate above zero, at most the upper bound, and the second probe measures nothing."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name in ("ALL_S", "SINGLE_S", "TOUCH_S"):
        monkeypatch.setattr(bandwidth, name, 0.06)
    tree = Tree("/")
    hardware = read_linux(tree, Findings(), None)
    measured = bandwidth.measure(tree, hardware)
    assert measured is not None
    assert measured.threads >= 1
    assert measured.single > 0
    trusted = Measurement(nodes={hardware.numa_nodes[0].id: 5e9}, upper={0: 6e9}, single=2e9, threads=1)
    monkeypatch.setattr(bandwidth, "measure", lambda *_args, **_kwargs: trusted)
    steps = []
    first, _ = bandwidth.with_measured(tree, hardware, Findings(), lambda step, done: steps.append((step, done)))
    monkeypatch.setattr(bandwidth, "measure", None)
    second, kept = bandwidth.with_measured(tree, hardware, Findings(), None)
    assert first == second
    assert kept == trusted
    assert first.numa_nodes[0].bandwidth_bytes_per_s == 5e9
    assert first.memory.bandwidth_single_bytes_per_s == 2e9


def test_cache_can_be_off(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PLANNER_CACHE", "off")
    measured = Measurement(nodes={0: 5e9}, upper={0: 6e9})
    monkeypatch.setattr(bandwidth, "measure", lambda *_args, **_kwargs: measured)
    bandwidth.with_measured(Tree("/"), Hardware(numa_nodes=(NumaNode(id=0),)), Findings(), None)
    assert list(tmp_path.iterdir()) == []


def test_doubtful_figures_are_marked_and_not_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    doubtful = Measurement(nodes={0: 5e9}, upper={0: 16e9}, trusted=False, remark="machine busy")
    monkeypatch.setattr(bandwidth, "measure", lambda *_args, **_kwargs: doubtful)
    findings = Findings()
    bandwidth.with_measured(Tree("/"), Hardware(numa_nodes=(NumaNode(id=0),)), findings, None)
    assert findings.sources["numa_nodes.0.bandwidth_bytes_per_s"].state == "suspect"
    assert findings.notes == ["machine busy"]
    assert list(tmp_path.iterdir()) == []


def test_a_machine_that_cannot_be_measured_is_a_note(monkeypatch):
    def broken(*_args, **_kwargs):
        raise MemoryError("no memory")

    monkeypatch.setenv("PLANNER_CACHE", "off")
    monkeypatch.setattr(bandwidth, "measure", broken)
    findings = Findings()
    hardware, _ = bandwidth.with_measured(Tree("/"), Hardware(numa_nodes=(NumaNode(id=0),)), findings, None)
    assert hardware.numa_nodes[0].bandwidth_bytes_per_s is None
    assert "could not be measured" in findings.notes[0]
