"""Limits of the control group: v1, v2 and both at once, and the old cpuset file system.

A limit set anywhere on the path up to the root holds, so the smallest one counts.
"""

from __future__ import annotations

import re

import msgspec

from planner.hardware.tree import Tree, parse_cpu_list, parse_integer

NO_LIMIT_BYTES = 1 << 62  # v1 writes LONG_MAX rounded down to a page (4 or 64 KiB) for "none"


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What the container leaves: `memory_bytes` smallest limit on the path, `used_bytes` what the group holds that the
    kernel cannot drop, `quota_cpus`, and the CPUs and memory nodes of the cpuset (None: all)."""

    memory_bytes: int | None = None
    memory_file: str | None = None
    used_bytes: int | None = None
    quota_cpus: float | None = None
    quota_file: str | None = None
    cpus: tuple[int, ...] | None = None
    nodes: tuple[int, ...] | None = None
    cpuset_file: str | None = None
    path: str | None = None


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """One controller's folder: where it is mounted, the folders from the own group up to the mount, and the form."""

    version: int
    folders: tuple[str, ...]
    prefix: str = "cpuset."


def read_limits(tree: Tree) -> Limits:
    """The limits on this process (or on the one that captured the tree)."""
    groups = _Groups(tree)
    memory_bytes, memory_file, used_bytes = _memory(tree, groups.of("memory"))
    quota_cpus, quota_file = _quota(tree, groups.of("cpu"))
    cpus, nodes, cpuset_file = _cpuset(tree, groups.of("cpuset"))
    return Limits(
        memory_bytes=memory_bytes,
        memory_file=memory_file,
        used_bytes=used_bytes,
        quota_cpus=quota_cpus,
        quota_file=quota_file,
        cpus=cpus,
        nodes=nodes,
        cpuset_file=cpuset_file,
        path=groups.paths.get("") or groups.paths.get("memory") or groups.paths.get("cpuset"),
    )


class _Groups:
    """Finds the folder of a controller: path from /proc/self/cgroup, place from the mount table."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.paths = _group_paths(tree)
        self.mounts = tuple(_mounts(tree))

    def of(self, controller: str) -> Group | None:
        """The v1 hierarchy that holds the controller, else v2, else the legacy cpuset file system."""
        for kind, options, place, mounted in self.mounts:
            if kind == "cgroup" and controller in options:
                prefix = "" if controller == "cpuset" and "noprefix" in options else "cpuset."
                path = self.paths.get(controller, self._old_path(controller))
                return Group(version=1, folders=self._folders(place, mounted, path), prefix=prefix)
            if kind == "cpuset" and controller == "cpuset":
                return Group(version=1, folders=self._folders(place, mounted, self._old_path(controller)), prefix="")
        for kind, _, place, mounted in self.mounts:
            if kind == "cgroup2" and controller not in self.paths:
                path = self.paths.get("", self._old_path(controller))
                return Group(version=2, folders=self._folders(place, mounted, path))
        return None

    def _old_path(self, controller: str) -> str:
        return (self.tree.text("proc/self/cpuset") or "/") if controller == "cpuset" else "/"

    def _folders(self, place: str, mounted: str, path: str) -> tuple[str, ...]:
        """Own folder first, up to the mount. Inside a namespace the path may be outside what is mounted: then the mount
        itself is the own group."""
        if mounted != "/" and (path == mounted or path.startswith(mounted + "/")):
            path = path[len(mounted) :] or "/"
        parts = [part for part in path.split("/") if part and part != ".."]
        folders = ["/".join([place.rstrip("/"), *parts[:depth]]) for depth in range(len(parts), -1, -1)]
        return tuple(folder for folder in folders if self.tree.names(folder)) or (place,)


def _group_paths(tree: Tree) -> dict[str, str]:
    """Path by v1 controller, and by the empty name for v2."""
    paths: dict[str, str] = {}
    for line in (tree.text("proc/self/cgroup") or "").splitlines():
        parts = line.split(":", 2)
        if len(parts) == 3:
            for controller in parts[1].split(","):
                paths[controller] = parts[2]
    return paths


def _mounts(tree: Tree) -> list[tuple[str, set[str], str, str]]:
    """(type, options, mount point, root of the mount) of every cgroup and cpuset mount."""
    found = []
    for line in (tree.text("proc/self/mountinfo") or "").splitlines():
        left, _, right = line.partition(" - ")
        fields, tail = left.split(), right.split()
        if len(fields) >= 5 and len(tail) >= 2 and tail[0] in {"cgroup", "cgroup2", "cpuset"}:
            found.append((tail[0], set(tail[-1].split(",")), fields[4], fields[3]))
    if found:
        return found
    for line in (tree.text("proc/mounts") or tree.text("proc/self/mounts") or "").splitlines():
        fields = line.split()
        if len(fields) >= 4 and fields[2] in {"cgroup", "cgroup2", "cpuset"}:
            found.append((fields[2], set(fields[3].split(",")), fields[1], "/"))
    return found


def _memory(tree: Tree, group: Group | None) -> tuple[int | None, str | None, int | None]:
    if group is None:
        return None, None, None
    names = ("memory.max", "memory.high") if group.version == 2 else ("memory.limit_in_bytes",)
    found = []
    for folder in group.folders:
        for name in names:
            value = tree.integer(f"{folder}/{name}")
            if value is not None and 0 < value < NO_LIMIT_BYTES:
                found.append((value, f"{folder}/{name}"))
    stat = tree.text(f"{group.folders[0]}/memory.stat")
    whole_path = _stat(stat, "hierarchical_memory_limit")
    if whole_path is not None and 0 < whole_path < NO_LIMIT_BYTES:
        found.append((whole_path, f"{group.folders[0]}/memory.stat"))
    limit, file = min(found, default=(None, None), key=lambda pair: pair[0] or 0)
    return limit, file, _used(tree, group, stat, file)


def _used(tree: Tree, group: Group, stat: str | None, file: str | None) -> int | None:
    """Memory of the group that sets the limit, without the file cache that the kernel may drop."""
    folder = file.rpartition("/")[0] if file else group.folders[0]
    if folder != group.folders[0]:
        stat = tree.text(f"{folder}/memory.stat")
    usage = tree.integer(f"{folder}/{'memory.current' if group.version == 2 else 'memory.usage_in_bytes'}")
    if usage is None:
        return None
    cache = _stat(stat, "total_inactive_file")
    if cache is None:
        cache = _stat(stat, "inactive_file")
    return max(0, usage - (cache or 0))


def _stat(text: str | None, key: str) -> int | None:
    match = re.search(rf"^{key} (\d{{1,20}})$", text or "", re.MULTILINE)
    return int(match[1]) if match else None


def _quota(tree: Tree, group: Group | None) -> tuple[float | None, str | None]:
    """Smallest CPU-time limit of the path, in CPUs."""
    found: list[tuple[float, str]] = []
    for folder in group.folders if group else ():
        if group and group.version == 2:
            file = f"{folder}/cpu.max"
            quota_text, _, period_text = (tree.text(file) or "").partition(" ")
            quota, period = parse_integer(quota_text), parse_integer(period_text)
        else:
            file = f"{folder}/cpu.cfs_quota_us"
            quota, period = tree.integer(file), tree.integer(f"{folder}/cpu.cfs_period_us")
        if quota and quota > 0 and period and period > 0:
            found.append((quota / period, file))
    return min(found, default=(None, None))


def _cpuset(tree: Tree, group: Group | None) -> tuple[tuple[int, ...] | None, tuple[int, ...] | None, str | None]:
    """CPUs and memory nodes: the effective files where they exist, for the kernel enforces those."""
    if group is None:
        return None, None, None
    cpus, file = _first_list(tree, group, ("cpus.effective", "effective_cpus", "cpus"))
    nodes, _ = _first_list(tree, group, ("mems.effective", "effective_mems", "mems"))
    return cpus, nodes, file


def _first_list(tree: Tree, group: Group, names: tuple[str, ...]) -> tuple[tuple[int, ...] | None, str | None]:
    """The first non-empty list, from the own group upwards: an empty `cpuset.cpus` means the parent's."""
    for folder in group.folders:
        for name in names:
            text = tree.text(f"{folder}/{group.prefix}{name}")
            listed = parse_cpu_list(text) if text else None
            if listed:
                return listed, f"{folder}/{group.prefix}{name}"
    return None, None
