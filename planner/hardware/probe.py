"""Reading a machine: what the files and drivers say, what was measured and kept, what was pasted."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import msgspec

from planner.catalog.records.device import DeviceTable
from planner.hardware import bandwidth, published
from planner.hardware.bandwidth import Progress
from planner.hardware.bandwidth_cache import Measurement
from planner.hardware.calibrations import load_calibrations
from planner.hardware.capture_files import read_saved_live
from planner.hardware.facts import Hardware
from planner.hardware.findings import Findings
from planner.hardware.linux import read_driver, read_linux
from planner.hardware.nvidia import Driver
from planner.hardware.state_folders import state_folder
from planner.hardware.tree import Tree

ARCHIVES = (".tar.gz", ".tgz")
_NAMED_PATHS = 3


def probe(
    root: str | Path = "/",
    *,
    measure_bandwidth: bool = True,
    devices: DeviceTable | None = None,
    progress: Progress | None = None,
    numa_matrix: bool = False,
    state_dir: str | Path | None = None,
    models_dir: str | Path | None = None,
    imports: Iterable[str | Path] = (),
    capture: str | Path | None = None,
) -> Hardware:
    """Reads the machine (`/`) or a captured tree. Raises ProbeError only when `root` is no folder; all that could not
    be read is an unknown fact, with a note.

    With another root nothing is asked of the running kernel or its drivers, and nothing is measured. `progress` gets
    (what, fraction done) during the bandwidth measurement. `root` may be a capture's .tar.gz.

    `imports` are pasted tool outputs: GPUs and memory modules replace what was read; a text that tells which machine
    it is (lscpu, sysctl, system_profiler) replaces this machine altogether. `capture` writes an archive of all that was
    read."""
    pasted: tuple[tuple[str, str, str], ...] = ()
    if imports:
        from planner.hardware.imports import read_imports

        pasted = read_imports(imports)
    if Path(root).is_file() and str(root).endswith(ARCHIVES):
        from planner.hardware.capture import opened

        with opened(root) as folder:
            return probe(folder, devices=devices, imports=imports, capture=capture)
    tree, findings = Tree(root), Findings()
    tree.denied_when_captured = frozenset(read_saved_live(tree).denied_paths)
    measured: Measurement | None = None
    if pasted and _names_machine(pasted):
        hardware, driver = Hardware(), Driver()
    else:
        hardware, driver = _read(tree, findings, devices, models_dir)
        hardware, measured = _with_bandwidth(tree, hardware, findings, measure_bandwidth, progress, numa_matrix)
        note_trouble(tree, findings)
        if tree.live:
            state = Path(state_dir) if state_dir else state_folder()
            hardware = msgspec.structs.replace(hardware, calibration=load_calibrations(state, findings))
    if capture is not None:
        from planner.hardware.capture import write_capture

        write_capture(capture, tree, hardware, driver, measured)
    if pasted:
        from planner.hardware.imports import apply_imports

        hardware = apply_imports(hardware, pasted, devices, findings)
    hardware = published.with_theoretical(hardware, findings)
    return msgspec.structs.replace(
        hardware, sources=dict(sorted(findings.sources.items())), notes=tuple(findings.notes)
    )


def _names_machine(pasted: tuple[tuple[str, str, str], ...]) -> bool:
    from planner.hardware.imports import WHOLE_MACHINE

    return any(kind in WHOLE_MACHINE for kind, _, _ in pasted)


def _read(
    tree: Tree, findings: Findings, devices: DeviceTable | None, models_dir: str | Path | None
) -> tuple[Hardware, Driver]:
    if tree.live and sys.platform != "linux":
        from planner.hardware.other_systems import probe_other_system  # psutil lies behind it

        return probe_other_system(findings, devices), Driver()
    driver = read_driver(tree)
    return read_linux(tree, findings, devices, driver, models_dir), driver


def _with_bandwidth(
    tree: Tree,
    hardware: Hardware,
    findings: Findings,
    wanted: bool,
    progress: Progress | None,
    numa_matrix: bool,
) -> tuple[Hardware, Measurement | None]:
    """The hardware with bandwidths: of the capture, measured here, or unknown with the reason."""
    if tree.live and wanted:
        return bandwidth.with_measured(tree, hardware, findings, progress, numa_matrix=numa_matrix)
    hardware, measured = bandwidth.with_saved(tree, hardware, findings)
    for i, node in enumerate(hardware.numa_nodes):
        if node.bandwidth_bytes_per_s is None:
            findings.unknown(f"numa_nodes.{i}.bandwidth_bytes_per_s", "only `planner probe` on the machine measures it")
    return hardware, measured


def note_trouble(tree: Tree, findings: Findings) -> None:
    """Says which files could not be used, and why: links out of the tree, no permission, content of another kind."""
    unread = sorted(path for path in tree.denied_paths if not path.startswith("sys/firmware/dmi/"))  # has its own note
    for paths, what in (
        (sorted(tree.refused_paths), "links that lead out of the tree are not followed"),
        (unread, "no permission to read"),
        (sorted(tree.broken_paths), "not understood and left out"),
    ):
        if paths:
            more = f" and {len(paths) - _NAMED_PATHS} more" if len(paths) > _NAMED_PATHS else ""
            findings.note(f"{what}: {', '.join(f'/{path}' for path in paths[:_NAMED_PATHS])}{more}")
