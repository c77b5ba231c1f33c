"""`planner size`."""

from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.command import command
from planner.cli.output import print_json, print_view
from planner.errors import PlannerError, UsageError

if TYPE_CHECKING:
    from planner.catalog.catalog import Catalog
    from planner.sizing.records import Footprint


@command
def size(
    model: Annotated[str, typer.Argument(help="Catalog id, HF repo, Ollama tag, GGUF file or config.json.")],
    quant: Annotated[str | None, typer.Option(help="Quantization; without it a table over quants.")] = None,
    server: Annotated[str | None, typer.Option(help="Server whose memory rules apply.")] = None,
    context: Annotated[str, typer.Option(help="Tokens one user gets; 8k,32k,128k for a growth table.")] = "8k",
    users: Annotated[int, typer.Option(help="Slots.", min=1)] = 1,
    kv_type: Annotated[str, typer.Option(help="KV cache type: f16, q8_0, or K,V.")] = "f16",
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Memory of a model by part: weights, KV cache, state, work buffers, overhead."""
    from planner.api import load_catalog

    catalog = load_catalog()
    contexts = [part.strip() for part in context.split(",")]
    if quant is None and len(contexts) > 1:
        raise UsageError("a growth table needs one quant", hint="add --quant Q4_K_M")
    quants = [quant] if quant is not None else usual_quants(catalog, server)
    footprints = sizes(catalog, model, quants, server, contexts, users, kv_type)
    if json:
        import msgspec

        print_json({"footprints": [msgspec.to_builtins(f) | {"total_bytes": f.total_bytes} for f in footprints]})
        return
    from planner.report.memory import footprint_view, footprints_view

    if len(footprints) == 1:
        print_view(footprint_view(footprints[0]))
    else:
        print_view(footprints_view(footprints, by="context" if len(contexts) > 1 else "quant"))


def usual_quants(catalog: "Catalog", server: str | None) -> list[str]:
    """The quants worth a row: those that planning searches, of the server's formats (GGUF without one)."""
    formats = catalog.server(server).formats if server else ("gguf",)
    return [quant.id for quant in catalog.quants.values() if quant.format in formats and not quant.rare]


def sizes(
    catalog: "Catalog",
    model: str,
    quants: list[str],
    server: str | None,
    contexts: list[str],
    users: int,
    kv_type: str,
) -> list["Footprint"]:
    """Footprints over quants and contexts; in a table a combination that makes no sense is left out."""
    from planner.api import size as measure

    found: list[Footprint] = []
    last: PlannerError | None = None
    resolved = catalog.model(model)
    for quant in quants:
        for context in contexts:
            try:
                found.append(measure(resolved, quant, server, context, users, kv_type, catalog=catalog))
            except PlannerError as error:
                if len(quants) == 1:
                    raise
                last = error
    if not found and last is not None:
        raise last
    return found
