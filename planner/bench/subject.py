"""Which model of the server is measured, and which model and quant of the catalog that is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from planner.bench.records import Served
from planner.catalog.catalog import Catalog
from planner.catalog.model_names import is_file_name
from planner.catalog.read_model import read_model
from planner.catalog.records import Model, Quant
from planner.errors import CatalogError, PlannerError, UnknownName, UsageError
from planner.planning.plan import Plan
from planner.servers.records import Service
from planner.sizing.tensors import expand

# How far the server's count of parameters may be from the catalog's: rope tables and padded vocabularies.
PARAMETERS_TOLERANCE = 0.03
# The planned server for a quant whose server cannot be told: the first that reads it.
SERVER_ORDER = ("llama-server", "vllm", "mlx-lm")

_PART = re.compile(r"-\d{5}-of-\d{5}$")
# `Q4_K - Medium` in llama.cpp's `llama_model_ftype_name` is Q4_K_M; `Q2_K - Medium` is Q2_K.
_FILE_TYPE_SIZES = {"small": "_S", "medium": "_M", "large": "_L"}


@dataclass(frozen=True)
class Subject:
    """What is measured. `model` and `quant` are None when they are not known: then nothing is compared, and `notes`
    say what to name. `service`: its place in a plan."""

    served: Served
    server: str | None
    model: Model | None = None
    quant: Quant | None = None
    service: Service | None = None
    notes: tuple[str, ...] = ()


def choose(models: Sequence[Served], asked: str | None, catalog: Catalog) -> Served:
    """The served model meant by `asked`: its name there, or the only one that is that model of the catalog.

    Raises UsageError when several are meant, PlannerError when none is."""
    names = ", ".join(served.id for served in models[:8])
    if asked is None:
        if len(models) > 1:
            raise UsageError(f"the server serves several models: {names}", hint="name one: --model NAME")
        return models[0]
    for served in models:
        if asked.casefold() in {served.id.casefold(), Path(served.id).name.casefold()}:
            return served
    try:
        wanted = catalog.model(asked)
    except UnknownName as error:
        close = f" or {error.hint}" if error.hint else ""
        hint = f"it serves {names}{close}"
        raise PlannerError(f"--model {asked!r} is neither served there nor known", hint=hint) from None
    if len(models) == 1:
        return models[0]
    same = [served for served in models if (found := by_name(catalog, served)) and found.id == wanted.id]
    if len(same) == 1:
        return same[0]
    raise UsageError(f"{asked} can be {len(same) or 'none'} of the served models", hint=f"name one: {names}")


def identify(
    catalog: Catalog,
    served: Served,
    *,
    model: str | None = None,
    quant: str | None = None,
    server: str | None = None,
    local: bool = False,
) -> Subject:
    """Model, quant and server in the catalog's terms. Raises UnknownName, UsageError, PlannerError for names given by
    a person that cannot be; what cannot be found out is a note."""
    server_id = catalog.server(server).id if server else served.server
    found, notes = _model(catalog, served, model, local)
    form = catalog.server(server_id).formats if server_id else ("gguf", "hf", "mlx")
    named = _given_quant(catalog, quant, form) if quant else _found_quant(catalog, served, form)
    if named is None:
        notes.append("quantization unknown, nothing to compare with: name it with --quant")
    if server_id is None:
        server_id = _reader_of(catalog, named)
        if server_id:
            notes.append(f"the server does not say what it is: compared with {server_id}; --server names it")
    return Subject(served=served, server=server_id, model=found, quant=named, notes=tuple(notes))


def _model(catalog: Catalog, served: Served, asked: str | None, local: bool) -> tuple[Model | None, list[str]]:
    own_name = asked is None or asked.casefold() in {served.id.casefold(), Path(served.id).name.casefold()}
    if asked is not None and not own_name:
        wanted = catalog.model(asked)
        if not _agrees(wanted, served):
            raise PlannerError(f"--model {asked}: {_difference(wanted, served)}", hint="name the model that is served")
        return wanted, []
    known = by_name(catalog, served)
    if known is not None and _agrees(known, served):
        return known, []
    read = _from_file(served) if local else None
    if read is not None:
        return read, []
    if known is not None:
        return None, [f"nothing to compare with: {_difference(known, served)}; --model names what it is"]
    return None, ["model unknown, nothing to compare with: --model takes a catalog id or the GGUF file"]


def by_name(catalog: Catalog, served: Served) -> Model | None:
    """The catalog's model that a served name means; None when no name is known, or one fits several."""
    for hint in served.hints:
        for name in _spellings(hint):
            try:
                return catalog.model(name)
            except CatalogError:
                continue
    return None


def _spellings(hint: str) -> Iterator[str]:
    """A served name, then without path, ending, quant and `-GGUF`, the longest first."""
    text = hint.removesuffix("/")
    if not is_file_name(text):
        yield text
        yield text.rpartition(":")[0] or text
    bare = re.sub(r"\.(gguf|json)$", "", re.split(r"[/\\]", text)[-1], flags=re.IGNORECASE)
    bare = re.sub(r"[-_.]gguf$", "", _PART.sub("", bare).partition(":")[0], flags=re.IGNORECASE)
    while bare:
        yield bare
        bare, separator, _ = re.sub(r"[-.](?=[^-.]*$)", "\n", bare).partition("\n")
        if not separator:
            return


def _agrees(model: Model, served: Served) -> bool:
    if served.parameters is None:
        return True
    shape = expand(model).shape
    counts = (shape.total_parameters, shape.stored_parameters)
    return any(abs(served.parameters / count - 1) <= PARAMETERS_TOLERANCE for count in counts if count)


def _difference(model: Model, served: Served) -> str:
    own = expand(model).shape.total_parameters
    return f"{model.id} has {own / 1e9:.2f} billion parameters, the served model {(served.parameters or 0) / 1e9:.2f}"


def _from_file(served: Served) -> Model | None:
    """The model of the GGUF file that a server on this machine has loaded, where it can be read here."""
    for hint in served.hints:
        path = Path(hint)
        if path.is_absolute() and path.suffix.casefold() == ".gguf":
            try:
                model = read_model(path)
            except (PlannerError, OSError):
                continue
            return model if _agrees(model, served) else None
    return None


def _given_quant(catalog: Catalog, name: str, formats: tuple[str, ...]) -> Quant:
    for form in formats:
        found = catalog.find_quant(name, form)
        if found is not None:
            return found
    return catalog.quant(name, formats[0])


def _found_quant(catalog: Catalog, served: Served, formats: tuple[str, ...]) -> Quant | None:
    """The quant in a file's or model's name, else the type that the server states."""
    for hint in served.hints:
        words = re.split(r"[/\\:]", hint.removesuffix("/"))
        for word in reversed(words[-2:]):
            found = _quant_in(catalog, word, formats)
            if found is not None:
                return found
    return _stated_quant(catalog, served.file_type, formats)


def _quant_in(catalog: Catalog, text: str, formats: tuple[str, ...]) -> Quant | None:
    """The longest quant name that stands in a text as a word; a publisher's mix counts as such a name."""
    known = [quant for quant in catalog.quants.values() if quant.format in formats]
    names = {name.casefold(): quant for quant in known for name in (quant.id, *quant.aliases)}
    folded = text.casefold()
    for name in sorted(names, key=len, reverse=True):
        if len(name) > 2 and re.search(rf"(?<![a-z0-9_]){re.escape(name)}(?![a-z0-9_])", folded):
            return names[name]
    return None


def _stated_quant(catalog: Catalog, stated: str | None, formats: tuple[str, ...]) -> Quant | None:
    if not stated:
        return None
    name, _, rest = stated.removeprefix("(guessed) ").strip().partition(" ")
    size = _FILE_TYPE_SIZES.get(rest.strip("- ").casefold(), "")
    for spelling in (name + size, name):
        for form in formats:
            found = catalog.find_quant(spelling, form)
            if found is not None:
                return found
    return None


def _reader_of(catalog: Catalog, quant: Quant | None) -> str | None:
    if quant is None:
        return None
    return next((name for name in SERVER_ORDER if quant.format in catalog.server(name).formats), None)


def of_plan(catalog: Catalog, plan: Plan, served: Served, port: int) -> Subject:
    """The service of a plan that this server is: by model, then by port, then the only one. Raises PlannerError."""
    known = by_name(catalog, served)
    services = plan.services
    same = [service for service in services if known is not None and service.model == known.id]
    fitting = same or [service for service in services if service.port == port] or list(services)
    if len(fitting) != 1:
        names = ", ".join(f"{service.name} ({service.model})" for service in services)
        raise PlannerError("the plan does not say which service this is", hint=f"it has {names}: use their ports")
    service = fitting[0]
    notes = []
    if served.server is not None and served.server != service.server:
        notes.append(f"the plan runs {service.server}, the server says that it is {served.server}")
    model, quant = catalog.model(service.model), _given_quant(catalog, service.quant, ("gguf", "hf", "mlx"))
    if not _agrees(model, served):
        raise PlannerError(f"not the planned model: {_difference(model, served)}", hint="bench it without --plan")
    return Subject(served=served, server=service.server, model=model, quant=quant, service=service, notes=tuple(notes))
