"""Container limits: v1, v2, both at once, in a namespace; the smallest on the path counts."""

from __future__ import annotations

import pytest

from planner.hardware.probe import probe
from tests.hardware.conftest import SMALL_MACHINE

GIB = 1024**3
V2_MOUNT = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
V1_MOUNTS = "".join(
    f"{30 + i} 23 0:{26 + i} / /sys/fs/cgroup/{name} rw - cgroup cgroup rw,{name}\n"
    for i, name in enumerate(("memory", "cpu,cpuacct", "cpuset"))
)


def test_v2_limit_set_higher_up_the_path(build):
    root = build(
        SMALL_MACHINE
        | {
            "proc/self/cgroup": "0::/pod/box\n",
            "proc/self/mountinfo": V2_MOUNT,
            "sys/fs/cgroup/pod/memory.max": f"{6 * GIB}\n",
            "sys/fs/cgroup/pod/memory.current": f"{3 * GIB}\n",
            "sys/fs/cgroup/pod/memory.stat": f"anon 1\ninactive_file {GIB}\n",
            "sys/fs/cgroup/pod/cpu.max": "150000 100000\n",
            "sys/fs/cgroup/pod/box/memory.max": "max\n",
            "sys/fs/cgroup/pod/box/memory.high": "max\n",
            "sys/fs/cgroup/pod/box/cpu.max": "max 100000\n",
            "sys/fs/cgroup/pod/box/cpuset.cpus.effective": "1-2\n",
            "sys/fs/cgroup/pod/box/cpuset.mems.effective": "0\n",
        }
    )
    hardware = probe(root)
    assert hardware.memory.limit_bytes == 6 * GIB
    assert hardware.ram_bytes == 6 * GIB
    assert hardware.memory.available_bytes == 6 * GIB - (3 * GIB - GIB)
    assert hardware.cpu.quota_cpus == 1.5
    assert (hardware.cpu.threads, hardware.cpu.allowed_cpus) == (4, (1, 2))
    assert hardware.sources["memory.limit_bytes"].note == "/sys/fs/cgroup/pod/memory.max"


def test_v2_high_is_a_limit_too(build):
    root = build(
        SMALL_MACHINE
        | {
            "proc/self/cgroup": "0::/box\n",
            "proc/mounts": "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n",
            "sys/fs/cgroup/box/memory.max": f"{8 * GIB}\n",
            "sys/fs/cgroup/box/memory.high": f"{4 * GIB}\n",
        }
    )
    assert probe(root).memory.limit_bytes == 4 * GIB


def test_v1_limits(build):
    root = build(
        SMALL_MACHINE
        | {
            "proc/self/cgroup": "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n2:cpuset:/docker/abc\n",
            "proc/self/mountinfo": V1_MOUNTS,
            "sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": "9223372036854771712\n",
            "sys/fs/cgroup/memory/docker/abc/memory.usage_in_bytes": f"{GIB}\n",
            "sys/fs/cgroup/memory/docker/abc/memory.stat": f"hierarchical_memory_limit {3 * GIB}\n",
            "sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us": "200000\n",
            "sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/cpuset/docker/abc/cpuset.cpus": "0-3\n",
            "sys/fs/cgroup/cpuset/docker/abc/cpuset.effective_cpus": "0,2\n",
        }
    )
    hardware = probe(root)
    assert hardware.memory.limit_bytes == 3 * GIB
    assert hardware.memory.available_bytes == 2 * GIB
    assert hardware.cpu.quota_cpus == 2.0
    assert hardware.cpu.allowed_cpus == (0, 2), "the kernel enforces the effective list"
    assert hardware.container == "docker"


def test_hybrid_v1_holds_memory_and_v2_the_rest(build):
    """Docker's path in a namespace: what is mounted is the own group."""
    root = build(
        SMALL_MACHINE
        | {
            "proc/self/cgroup": "4:memory:/docker/abc\n0::/\n",
            "proc/self/mountinfo": "31 23 0:27 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
            "32 23 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{5 * GIB}\n",
            "sys/fs/cgroup/unified/cpu.max": "50000 100000\n",
        }
    )
    hardware = probe(root)
    assert hardware.memory.limit_bytes == 5 * GIB
    assert hardware.cpu.quota_cpus == 0.5


@pytest.mark.parametrize("value", ["9223372036854771712", "9223372036854710272", str(64 * GIB), "max", "-1", "x"])
def test_no_limit(build, value):
    """Unlimited on 4 and 64 KiB pages, more than the machine has, and garbage."""
    root = build(
        SMALL_MACHINE
        | {
            "proc/self/cgroup": "4:memory:/\n",
            "proc/self/mountinfo": V1_MOUNTS,
            "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{value}\n",
        }
    )
    hardware = probe(root)
    assert hardware.memory.limit_bytes is None
    assert hardware.memory.available_bytes == 12 * GIB
    assert hardware.ram_bytes == 16 * GIB


def test_affinity_of_a_captured_process_counts(build):
    root = build(SMALL_MACHINE | {"proc/self/status": "Name:\tx\nCpus_allowed_list:\t0-1\n"})
    assert probe(root).cpu.allowed_cpus == (0, 1)


def test_huge_pages_are_not_usable(build):
    root = build(SMALL_MACHINE | {"sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages": "1024\n"})
    hardware = probe(root)
    assert hardware.memory.hugepages_bytes == 2 * GIB
    assert hardware.ram_bytes == 14 * GIB


def test_lxcfs_zero_is_unknown(build):
    root = build(SMALL_MACHINE | {"proc/meminfo": "MemTotal: 0 kB\nMemFree: 0 kB\n"})
    assert probe(root).memory.total_bytes is None


def test_memory_plugged_into_a_vm_shows_in_meminfo_only(build):
    """A hot-plugged VM: the only node's file stays at boot size."""
    root = build(
        SMALL_MACHINE
        | {
            "sys/devices/system/node/possible": "0\n",
            "sys/devices/system/node/node0/meminfo": "Node 0 MemTotal:       4194304 kB\n",
        }
    )
    hardware = probe(root)
    assert hardware.numa_nodes[0].memory_bytes == 16 * GIB
    assert hardware.firmware_nodes[0].memory_bytes == 4 * GIB
