"""The shapes of a catalog's models, counted once and kept beside the parsed catalog: a search asks for the shape of
every model, but for the tensors of the few that it sizes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import msgspec

from planner import __version__
from planner.catalog.cache import Parsed, cache_file, load_cache, write_cache
from planner.catalog.paths import PACKAGE_FOLDER
from planner.catalog.sources import code_signature
from planner.errors import CatalogError
from planner.sizing.identity import IdentityCache
from planner.sizing.records import ModelShape
from planner.sizing.tensors import expand

if TYPE_CHECKING:
    from planner.catalog.catalog import Catalog
    from planner.catalog.records.model import Model

#: The code that counts: when a file of it is written, so are the shapes.
_COUNTERS: Final = (PACKAGE_FOLDER / "sizing", PACKAGE_FOLDER / "sizing" / "tensors")
_SECTION: Final = "shapes"
_shapes: Final[IdentityCache[Mapping[str, ModelShape]]] = IdentityCache(8)


def shapes_of(catalog: Catalog) -> Mapping[str, ModelShape]:
    """The shape of each model of a catalog by its id; those without an architecture, and those whose architecture
    contradicts itself, are not among them."""
    return _shapes.value((catalog,), (), lambda: _load(catalog))


def shape_in(catalog: Catalog, model: Model) -> ModelShape:
    """The shape of one model of a catalog. Raises CatalogError when its architecture contradicts itself."""
    return shapes_of(catalog).get(model.id) or expand(model).shape


def _load(catalog: Catalog) -> Mapping[str, ModelShape]:
    file, signature = cache_file(__name__, (__version__, str(PACKAGE_FOLDER))), code_signature(_COUNTERS)
    stored = load_cache(file)
    if stored is not None and (stored.digest, stored.signature) == (catalog.models_digest, signature):
        try:
            return msgspec.msgpack.decode(stored.sections[_SECTION], type=dict[str, ModelShape])
        except (KeyError, msgspec.MsgspecError):
            pass
    shapes = {model.id: shape for model in catalog.models.values() if (shape := _count(model)) is not None}
    if signature is not None:
        content = {_SECTION: msgspec.msgpack.encode(shapes)}
        write_cache(file, Parsed(digest=catalog.models_digest, sections=content, documents=b"", signature=signature))
    return shapes


def _count(model: Model) -> ModelShape | None:
    if model.architecture is None and not model.tensors:
        return None
    try:
        return expand(model).shape
    except CatalogError:
        return None  # who asks for this very model is told why
