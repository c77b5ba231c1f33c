"""Stored calibrations: one JSON file per measurement, `{"format_version": "1.0", "calibration": {...}}`."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import msgspec

from planner.hardware.facts import FORMAT_VERSION, Calibration, Record
from planner.hardware.findings import Findings

FOLDER = "calibrations"


class StoredCalibration(Record, kw_only=True):
    """What a calibration file holds."""

    format_version: str = FORMAT_VERSION
    calibration: Calibration


def load_calibrations(state: Path, findings: Findings) -> tuple[Calibration, ...]:
    """All readable calibrations of the state folder, by file name; a broken one is a note."""
    folder = state / FOLDER
    found: list[Calibration] = []
    try:
        files = sorted(folder.glob("*.json"))
    except OSError:
        return ()
    for file in files:
        try:
            stored = msgspec.json.decode(file.read_bytes(), type=StoredCalibration)
        except (OSError, msgspec.MsgspecError) as error:
            findings.note(f"calibration {file.name} is ignored: {error}")
            continue
        if stored.format_version.partition(".")[0] != FORMAT_VERSION.partition(".")[0]:
            findings.note(f"calibration {file.name} is ignored: format {stored.format_version}")
            continue
        findings.fact(f"calibration.{len(found)}", "calibrated", "stored by `planner bench --save`")
        found.append(stored.calibration)
    return tuple(found)


def save_calibration(calibration: Calibration, state: Path) -> Path:
    """Writes one calibration, replacing an older one of the same engine, class, build, model and quant; returns the
    file. Raises OSError when the folder cannot be written."""
    key = msgspec.json.encode(
        [getattr(calibration, n) for n in ("engine", "placement_class", "build", "model", "quant")]
    )
    file = state / FOLDER / f"{hashlib.sha256(key).hexdigest()[:16]}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    text = msgspec.json.format(msgspec.json.encode(StoredCalibration(calibration=calibration)), indent=2)
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    partial.write_bytes(text + b"\n")
    partial.replace(file)
    return file
