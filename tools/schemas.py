"""Write the JSON Schemas of the hardware and the plan file into `docs/schemas/`."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Any

import msgspec

# The planner beside this file, whichever is installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from planner.hardware.facts import Hardware
from planner.planning.plan import Plan

FOLDER = Path(__file__).parents[1] / "docs" / "schemas"


def schemas() -> dict[str, bytes]:
    """File name to schema text, generated from the records themselves."""
    made = {}
    for name, record in (("hardware-1.0.json", Hardware), ("plan-1.0.json", Plan)):
        schema = _described(msgspec.json.schema(record))
        document = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
        made[name] = msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"
    return made


def _described(value: Any) -> Any:
    """The schema with its descriptions flush left; releases of msgspec differ in whether they do that."""
    if isinstance(value, list):
        return [_described(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: inspect.cleandoc(item) if key == "description" and isinstance(item, str) else _described(item)
        for key, item in value.items()
    }


def main() -> int:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in schemas().items():
        (FOLDER / name).write_bytes(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
