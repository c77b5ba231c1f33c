"""`planner probe`."""

from pathlib import Path
from typing import Annotated

import typer

from planner.cli.command import command
from planner.cli.output import print_view, say, write_file


@command
def probe(
    root: Annotated[
        Path, typer.Option(help="A captured tree to read instead of this machine; nothing live is asked.")
    ] = Path("/"),
    imports: Annotated[
        list[Path] | None,
        typer.Option("--import", help="Pasted text: nvidia-smi, dmidecode, lscpu, sysctl, ...; repeatable."),
    ] = None,
    bandwidth: Annotated[bool, typer.Option("--bandwidth/--no-bandwidth", help="Measure RAM bandwidth.")] = True,
    numa_matrix: Annotated[
        bool, typer.Option("--numa-matrix", help="Measure every pair of NUMA nodes, not only the local ones.")
    ] = False,
    save: Annotated[Path | None, typer.Option(help="Write a hardware file that the other commands take.")] = None,
    capture: Annotated[Path | None, typer.Option(help="Write every file that was read, to replay with --root.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the hardware file.")] = False,
) -> None:
    """Read this machine: CPU, NUMA nodes, measured RAM bandwidth, GPUs, container limits."""
    import sys

    from planner.api import load_catalog
    from planner.cli.progress import probe_with_progress
    from planner.hardware.files import hardware_json

    options: dict[str, object] = {"root": root, "measure_bandwidth": bandwidth, "numa_matrix": numa_matrix}
    if imports:
        options["imports"] = tuple(imports)
    if capture is not None:
        options["capture"] = capture
    hardware = probe_with_progress(load_catalog(), **options)
    document = hardware_json(hardware)
    if save is not None:
        write_file(save, document)
        say(f"saved {save}: give it to any command with --hardware {save}")
    if json:
        sys.stdout.write(document.decode())
    else:
        from planner.report.machine import machine_view

        print_view(machine_view(hardware))
