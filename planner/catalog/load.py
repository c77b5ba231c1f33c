"""The catalog: the shipped files and the person's own folders, from the cache when nothing was written since."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from planner import __version__
from planner.catalog.cache import Parsed, cache_file, load_cache, write_cache
from planner.catalog.catalog import Catalog
from planner.catalog.paths import data_folder, user_catalog_folder
from planner.catalog.sources import SourceFile, source_files, stat_signature
from planner.errors import CatalogError


def load_catalog(folder: Path | str | None = None) -> Catalog:
    """The shipped catalog, overridden by id by the person's own folder and then by `folder`.

    Raises CatalogError: file, entry, key path, what was expected, near misses."""
    shipped = data_folder("catalog")
    own = user_catalog_folder()
    given = None if folder is None else Path(folder).expanduser()
    if given is not None and not given.is_dir():
        raise CatalogError(f"no catalog folder: {given}")
    folders = [shipped, *(each for each in (own, given) if each is not None)]
    sources = source_files(folders)
    store = cache_file(__version__, (str(Path(str(each)).absolute()) for each in folders))
    return Catalog(_parsed(sources, store), reload=lambda: _read(sources))


def _parsed(sources: Sequence[SourceFile], store: Path | None) -> Parsed:
    """From the cache when no file was written since, else from the files."""
    signature = stat_signature(sources)
    cached = load_cache(store)
    if cached is not None and signature is not None and cached.signature == signature:
        return cached
    parsed = msgspec.structs.replace(_read(sources), signature=signature)
    if signature is not None:
        write_cache(store, parsed)
    return parsed


def _read(sources: Sequence[SourceFile]) -> Parsed:
    from planner.catalog.parsing import parse  # late: a warm start parses nothing

    return parse(sources)
