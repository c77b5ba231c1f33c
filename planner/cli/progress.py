"""Progress on stderr while this machine is measured; silent when nobody looks."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from planner.catalog.catalog import Catalog
    from planner.hardware.facts import Hardware


def probe_with_progress(catalog: "Catalog", **options: object) -> "Hardware":
    """Probe this machine, with a bar on a terminal while the memory bandwidth is measured."""
    from planner.api import probe

    if not sys.stderr.isatty():
        return probe(catalog=catalog, **options)  # type: ignore[arg-type]
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=30), TextColumn("{task.percentage:>3.0f}%"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading this machine", total=1.0)
        report: Callable[[str, float], None] = lambda step, share: bar.update(  # noqa: E731
            task, description=step, completed=share
        )
        return probe(catalog=catalog, progress=report, **options)  # type: ignore[arg-type]
