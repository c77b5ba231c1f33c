"""Reading `catalog/models/*.yaml`: one file per family, what its models share written once.

A family file is a mapping with `family`, `vendor`, optional `defaults` and `models`, a list of entries:

    family: qwen3
    vendor: Qwen
    defaults:
      license: apache-2.0
      architecture: {gguf: qwen3, head_dim: 128}
    models:
      - id: qwen3-8b
        architecture: {layers: 36, hidden_size: 4096}

Merge rule: an entry takes every key of `defaults` that it does not have; where both hold a mapping, the same rule
applies inside it. A list or a value of the entry replaces the default's, `null` drops it. `family` and `vendor`
go to every model that does not say its own. `layer_kinds` may be one line, `sliding*5 full`. A file that is a plain
list holds complete entries (a person's own)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from planner.catalog.convert import entries, to_record
from planner.catalog.records.model import Model
from planner.catalog.yaml_file import parse_yaml
from planner.errors import CatalogError, near_misses

if TYPE_CHECKING:
    from collections.abc import Iterable

_FAMILY_KEYS = ("family", "vendor", "defaults", "models")


def load_model_files(folder: Path | str) -> dict[str, Model]:
    """All models of a folder of family files, by id, in file order.

    Raises CatalogError naming file, model and key path: broken YAML, repeated or unknown keys, wrong values, an id
    in two files."""
    found: dict[str, Model] = {}
    origin: dict[str, str] = {}
    for path in sorted(Path(folder).glob("*.yaml")):
        for model in models_of(parse_yaml(path.read_bytes(), path.name), path.name):
            if model.id in found:
                raise CatalogError(f"{path.name}: {model.id}: this id stands in {origin[model.id]} too")
            found[model.id], origin[model.id] = model, path.name
    return found


def models_of(document: object, name: str) -> Iterable[Model]:
    """The models of one parsed file. `name` stands in messages. Raises CatalogError as `load_model_files`."""
    return [to_record(entry, Model, name) for entry in model_entries(document, name)]


def model_entries(document: object, name: str) -> list[dict[str, object]]:
    """The entries of one parsed family file with family, vendor and defaults merged in: records' own fields.

    Raises CatalogError for an unknown key at the top of the file."""
    if not (isinstance(document, Mapping) and "models" in document):
        return entries(document, name)
    for key in document:
        if key not in _FAMILY_KEYS:
            matches = near_misses(str(key), _FAMILY_KEYS)
            hint = f"did you mean {', '.join(matches)}?" if matches else f"known: {', '.join(_FAMILY_KEYS)}"
            raise CatalogError(f"{name}: {key}: unknown key", hint=hint)
    shared = _shared(document, name)
    merged = (_merged(shared, entry) for entry in entries(document["models"], f"{name}: models"))
    return [_with_kinds_split(entry) for entry in merged]


def _with_kinds_split(entry: dict[str, object]) -> dict[str, object]:
    """`layer_kinds` may be written as one line: `sliding*5 full`."""
    arch = entry.get("architecture")
    if isinstance(arch, Mapping) and isinstance(arch.get("layer_kinds"), str):
        return {**entry, "architecture": {**arch, "layer_kinds": str(arch["layer_kinds"]).split()}}
    return entry


def _shared(document: Mapping[str, object], name: str) -> dict[str, object]:
    defaults = document.get("defaults") or {}
    if not isinstance(defaults, Mapping):
        raise CatalogError(f"{name}: defaults: expected a mapping, got {type(defaults).__name__}")
    own = {key: document[key] for key in ("family", "vendor") if document.get(key) is not None}
    return {**defaults, **own}


def _merged(defaults: Mapping[str, object], entry: Mapping[str, object]) -> dict[str, object]:
    """The entry over the defaults, mapping by mapping; `null` takes a default away."""
    result = dict(defaults)
    for key, value in entry.items():
        below = result.get(key)
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(below, Mapping):
            result[key] = _merged(below, value)
        else:
            result[key] = value
    return result
