"""The catalog's files read and checked: from YAML to the sections that are cached."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from planner.catalog.cache import Parsed
from planner.catalog.catalog import SECTIONS, record_key
from planner.catalog.convert import entries, to_record
from planner.catalog.device_files import device_from_entry
from planner.catalog.model_files import model_entries
from planner.catalog.sources import SourceFile, bytes_digest, content_digest
from planner.catalog.yaml_file import parse_yaml
from planner.errors import CatalogError, near_misses

Reader = Callable[[Mapping[str, object], str], Any]

# Family files hold defaults for their models; every other file is a list of entries.
_ENTRIES: dict[str, Callable[[object, str], list[dict[str, object]]]] = {"models": model_entries}
# Sections whose files are written for people (units in keys) and converted here; all others are the record's fields.
_READERS: dict[str, Reader] = {"devices": device_from_entry}


def parse(sources: Sequence[SourceFile]) -> Parsed:
    """Sections as msgpack, documents as they are. Raises CatalogError: file, entry, key path, what was expected."""
    contents = [(source, source.read()) for source in sources]
    documents: dict[str, object] = {}
    layers: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    for layer in sorted({source.layer for source in sources}):
        below = {source.section for source in sources if source.layer < layer}
        found: dict[str, list[tuple[SourceFile, object]]] = {}
        for source, content in contents:
            if source.layer == layer:
                _check_section(source, below)
                found.setdefault(source.section, []).append((source, parse_yaml(content, source.shown)))
        for section, files in found.items():
            if section in SECTIONS:
                layers[section] = _override(section, layers[section], _records(section, files))
            else:
                _merge_documents(documents, section, files)
    sections = {section: msgspec.msgpack.encode(list(records.values())) for section, records in layers.items()}
    return Parsed(
        digest=content_digest(contents),
        models_digest=bytes_digest(sections["models"]),
        sections=sections,
        documents=msgspec.msgpack.encode(documents),
    )


def _check_section(source: SourceFile, below: Iterable[str]) -> None:
    """A person's own file must belong to a section; a misspelt name would be ignored in silence."""
    known = {*SECTIONS, *below}
    if source.layer and source.section not in known:
        matches = near_misses(source.section, known)
        hint = f"did you mean {', '.join(matches)}?" if matches else f"known: {', '.join(sorted(known))}"
        raise CatalogError(f"{source.shown}: the catalog has no section {source.section!r}", hint=hint)


def _records(section: str, files: Iterable[tuple[SourceFile, object]]) -> dict[str, Any]:
    """The records of one section in one folder, by id. Raises CatalogError for an id that stands in it twice."""
    records: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for source, document in files:
        for entry in _ENTRIES.get(section, entries)(document, source.shown):
            record = _read(section, entry, source.shown)
            key = record_key(record)
            if key in records:
                raise CatalogError(f"{source.shown}: {key}: this id stands in {origin[key]} too", hint="rename one")
            records[key], origin[key] = record, source.shown
    return records


def _read(section: str, entry: Mapping[str, object], name: str) -> Any:
    reader = _READERS.get(section)
    return reader(entry, name) if reader else to_record(entry, SECTIONS[section], name)


def _override(section: str, shipped: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Own records replace those of the same id in place. New ones follow, but new matrix rows go first: the first
    row that holds decides, and a person's row should be asked before ours."""
    replaced = {key: own.get(key, record) for key, record in shipped.items()}
    added = {key: record for key, record in own.items() if key not in shipped}
    return {**added, **replaced} if section == "decision_matrix" else {**replaced, **added}


def _merge_documents(documents: dict[str, object], name: str, files: Iterable[tuple[SourceFile, object]]) -> None:
    """Plain documents (`speed.yaml`): a mapping overrides key by key at the top, anything else as a whole."""
    for _, document in files:
        known = documents.get(name)
        both = isinstance(known, dict) and isinstance(document, dict)
        documents[name] = {**known, **document} if both else document  # type: ignore[dict-item]
