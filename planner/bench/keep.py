"""Storing what was measured: in the state folder of this machine, or in a hardware file."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from planner.errors import PlannerError
from planner.hardware.calibrations import save_calibration
from planner.hardware.facts import Calibration, FactSource, Hardware

NOTE = "stored by `planner bench --save`"


def keep_here(calibration: Calibration, state: Path) -> Path:
    """Write the file that `probe` merges; returns it. Raises PlannerError when the folder cannot be written."""
    try:
        return save_calibration(calibration, state)
    except OSError as error:
        raise PlannerError(
            f"cannot write {error.filename or state}: {error.strerror}", hint="set XDG_STATE_HOME to a writable folder"
        ) from None


def with_calibration(hardware: Hardware, calibration: Calibration) -> Hardware:
    """The machine with one more calibration, which replaces one of the same engine, class, build, model and quant."""
    rows = list(hardware.calibration)
    index = next((place for place, row in enumerate(rows) if _key(row) == _key(calibration)), len(rows))
    rows[index : index + 1] = [calibration]
    fact = FactSource(source="calibrated", state="known", note=NOTE)
    return replace(hardware, calibration=tuple(rows), sources=hardware.sources | {f"calibration.{index}": fact})


def _key(row: Calibration) -> tuple[str | None, ...]:
    return (row.engine, row.placement_class, row.build, row.model, row.quant)
