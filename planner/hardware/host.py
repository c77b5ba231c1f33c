"""Operating system, virtualization, container, disk: what surrounds the processors."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import Any

from planner.hardware.capture_files import read_saved_live
from planner.hardware.cpuinfo import CpuInfo
from planner.hardware.facts import Disk, Os
from planner.hardware.findings import Findings
from planner.hardware.tree import Tree

# DMI vendor or product fragment -> hypervisor, as systemd-detect-virt knows them (src/basic/virt.c).
_DMI_HYPERVISORS = (
    ("QEMU", "qemu"), ("KVM", "kvm"), ("OpenStack", "kvm"), ("Google Compute Engine", "google"), ("VMware", "vmware"),
    ("VirtualBox", "virtualbox"), ("innotek", "virtualbox"), ("Xen", "xen"), ("Bochs", "bochs"),
    ("Parallels", "parallels"), ("BHYVE", "bhyve"), ("Apple Virtualization", "apple"), ("Virtual Machine", "hyper-v"),
    ("Amazon EC2", "amazon"), ("Alibaba Cloud ECS", "kvm"), ("Cloud Hypervisor", "cloud-hypervisor"),
)  # fmt: skip
_CONTAINER_PATHS = (
    ("kubepods", "kubernetes"), ("docker", "docker"), ("libpod", "podman"), ("lxc", "lxc"),
    ("containerd", "containerd"), ("machine.slice/machine-", "systemd-nspawn"), ("garden", "garden"),
)  # fmt: skip


_CPUFREQ = "sys/devices/system/cpu/cpufreq"
# Sockets of this network namespace: slot, local address, remote address, state (networking/proc_net_tcp.rst).
SOCKET_TABLES = ("proc/self/net/tcp", "proc/self/net/tcp6")
LISTENING = re.compile(r"(?m)^\s*\d+: [0-9A-F]+:([0-9A-F]{4}) [0-9A-F]+:0000 0A\b")


def read_os(tree: Tree, architecture: str | None, findings: Findings) -> Os:
    """Linux release, WSL generation, page size and kernel settings that matter to a server."""
    version = tree.text("proc/version") or ""
    release = tree.text("proc/sys/kernel/osrelease")
    if release is None and (match := re.match(r"Linux version (\S+)", version)):
        release = match[1]
    balancing = tree.integer("proc/sys/kernel/numa_balancing")
    pages = re.search(r"\[(\w+)\]", tree.text("sys/kernel/mm/transparent_hugepage/enabled") or "")
    result = Os(
        name="linux" if version or tree.exists("sys/devices/system/cpu") or tree.exists("proc/cpuinfo") else None,
        release=release,
        wsl=wsl_generation(version or release or ""),
        page_bytes=_page_bytes(tree, architecture, findings),
        numa_balancing=None if balancing is None else balancing != 0,
        transparent_hugepages=pages[1] if pages else None,
        listening_ports=_listening_ports(tree),
    )
    if result.listening_ports:
        findings.fact("os.listening_ports", "read", "/proc/self/net/tcp, /proc/self/net/tcp6")
    findings.cover("os", result, "read", "/proc/version, /proc/sys/kernel, /sys/kernel/mm")
    if result.wsl:
        findings.note("WSL: memory and CPUs are the virtual machine's (.wslconfig), half of the host's by default")
    return result


def _listening_ports(tree: Tree) -> tuple[int, ...] | None:
    """TCP ports in the state LISTEN (0A), as the kernel's tables name them in hexadecimal."""
    tables = [tree.text(path) for path in SOCKET_TABLES]
    if tables == [None, None]:
        return None
    found = (port for table in tables for port in LISTENING.findall(table or ""))
    return tuple(sorted({int(port, 16) for port in found}))


def read_frequency(tree: Tree) -> dict[str, Any]:
    """Governors, energy preferences and the driver behind them, as fields of `Cpu`."""
    policies = [f"{_CPUFREQ}/{name}" for name in tree.names(_CPUFREQ) if name.startswith("policy")]

    def settings(file: str) -> tuple[str, ...]:
        return tuple(sorted({text for policy in policies if (text := tree.text(f"{policy}/{file}"))}))

    return {
        "governors": settings("scaling_governor"),
        "energy_preferences": settings("energy_performance_preference"),
        "frequency_driver": next(iter(settings("scaling_driver")), None),
    }


def wsl_generation(version: str) -> int | None:
    """1 or 2 from the kernel's version text, None elsewhere. WSL2 says `microsoft-standard`, WSL1 `Microsoft`."""
    if "microsoft-standard" in version or "WSL2" in version:
        return 2
    return 1 if "Microsoft" in version else None


def _page_bytes(tree: Tree, architecture: str | None, findings: Findings) -> int | None:
    if tree.live:
        findings.fact("os.page_bytes", "read", "sysconf(SC_PAGE_SIZE)")
        return os.sysconf("SC_PAGE_SIZE")
    saved = read_saved_live(tree).page_bytes
    if saved is not None:
        findings.fact("os.page_bytes", "read", "sysconf(SC_PAGE_SIZE)")
        return saved
    if architecture in {"x86_64", "i686"}:
        findings.fact("os.page_bytes", "derived", "x86 has 4 KiB pages only")
        return 4096
    findings.unknown("os.page_bytes", "only the running kernel can say")
    return None


def read_architecture(tree: Tree, from_files: str | None, findings: Findings) -> str | None:
    """The machine word of uname on the live machine, else what the files imply."""
    stated = platform.machine() if tree.live else read_saved_live(tree).architecture
    if stated:
        findings.fact("cpu.architecture", "read", "uname")
    return stated or from_files


def read_product(tree: Tree, findings: Findings) -> str | None:
    """Vendor and product from DMI, or the device tree's model; never a serial number."""
    vendor, product = (tree.text(f"sys/class/dmi/id/{name}") for name in ("sys_vendor", "product_name"))
    model = tree.text("proc/device-tree/model") or tree.text("sys/firmware/devicetree/base/model")
    text = " ".join(part for part in (vendor, product) if part) or model
    if text:
        findings.fact("product", "read", "/sys/class/dmi/id" if vendor or product else "device tree")
    return text


def read_virtualization(tree: Tree, info: CpuInfo, wsl: int | None, findings: Findings) -> str | None:
    """Name of the hypervisor, `vm` when only the CPU flag tells; None: bare metal or not known."""
    dmi = " ".join(
        tree.text(f"sys/class/dmi/id/{name}") or "" for name in ("sys_vendor", "product_name", "bios_vendor")
    )
    kind = tree.text("sys/hypervisor/type")
    where = "/sys/hypervisor/type"
    if wsl:
        kind, where = "wsl", "/proc/version"
    elif kind is None:
        where = "/sys/class/dmi/id"
        if "Amazon EC2" in dmi and ".metal" in dmi:
            return None
        kind = next((name for fragment, name in _DMI_HYPERVISORS if fragment in dmi), None)
        if kind is None and (info.hypervisor or "QEMU Virtual" in (info.model or "")):
            kind, where = "vm", "the CPU's hypervisor flag in /proc/cpuinfo"
    if kind:
        findings.fact("virtualization", "read", where)
    return kind


def read_container(tree: Tree, group_path: str | None, findings: Findings) -> str | None:
    """The container engine whose marks are there, None outside of a container."""
    for mark, name in (("run/.containerenv", "podman"), (".dockerenv", "docker")):
        if tree.exists(mark):
            findings.fact("container", "read", f"/{mark}")
            return name
    stated = tree.text("run/systemd/container")
    if stated:
        findings.fact("container", "read", "/run/systemd/container")
        return stated
    kind = next((name for fragment, name in _CONTAINER_PATHS if fragment in (group_path or "")), None)
    if kind:
        findings.fact("container", "derived", "/proc/self/cgroup")
    return kind


def read_disk(tree: Tree, folder: str | Path | None, findings: Findings) -> Disk | None:
    """The file system that will hold the models: `folder`, or its nearest existing parent (live machine only)."""
    disk = _live_disk(tree, folder) if tree.live else read_saved_live(tree).disk
    if disk is None:
        findings.unknown("disk", "only the running machine can say")
        return None
    findings.cover("disk", disk, "read", "statvfs of the models' folder; /proc/self/mountinfo")
    if disk.filesystem in {"nfs", "nfs4", "cifs", "9p", "fuse.sshfs", "overlay"}:
        findings.note(f"the models' file system is {disk.filesystem}: loading may be slow")
    return disk


def _live_disk(tree: Tree, folder: str | Path | None) -> Disk | None:
    place = Path(folder) if folder else Path.home()
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        usage, device = os.statvfs(place), place.stat().st_dev
    except OSError:  # a network file system that does not answer
        return None
    return Disk(
        free_bytes=usage.f_bavail * usage.f_frsize,
        total_bytes=usage.f_blocks * usage.f_frsize,
        filesystem=_filesystem(tree, str(place.resolve())),
        rotational=_rotational(tree, device),
    )


def _filesystem(tree: Tree, place: str) -> str | None:
    best, kind = "", None
    for line in (tree.text("proc/self/mountinfo") or "").splitlines():
        left, _, right = line.partition(" - ")
        fields, tail = left.split(), right.split()
        if len(fields) < 5 or not tail:
            continue
        point = fields[4].replace("\\040", " ")
        inside = place == point or place.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, tail[0]
    return kind


def _rotational(tree: Tree, device: int) -> bool | None:
    place = f"sys/dev/block/{os.major(device)}:{os.minor(device)}"
    for folder in (place, f"{place}/.."):
        flag = tree.integer(f"{folder}/queue/rotational")
        if flag is not None:
            return bool(flag)
    return None
