"""`planner estimate`."""

from typing import Annotated

import typer

from planner.cli.command import command
from planner.cli.options import MachineOptions
from planner.cli.output import print_json, print_view


@command
def estimate(
    model: Annotated[str, typer.Argument(help="Catalog id, HF repo, Ollama tag, GGUF file or config.json.")],
    quant: Annotated[str, typer.Option(help="Quantization.")],
    machine: MachineOptions,
    server: Annotated[str | None, typer.Option(help="Server; default the first that reads the quant.")] = None,
    context: Annotated[str, typer.Option(help="Tokens one user gets.")] = "8k",
    depth: Annotated[str, typer.Option(help="Tokens already in the cache.")] = "0",
    prompt: Annotated[int, typer.Option(help="Prompt tokens of a request.", min=1)] = 512,
    output: Annotated[int, typer.Option(help="Output tokens of a request.", min=1)] = 256,
    users: Annotated[int, typer.Option(help="Concurrent users.", min=1)] = 1,
    kv_type: Annotated[str, typer.Option(help="KV cache type: f16, q8_0, or K,V.")] = "f16",
    gpu_layers: Annotated[str | None, typer.Option(help="Blocks on the GPU: a number or all.")] = None,
    cpu_experts: Annotated[str | None, typer.Option(help="Blocks whose experts stay in RAM: a number or all.")] = None,
    tensor_parallel: Annotated[int | None, typer.Option(help="Degree over the GPUs.", min=1)] = None,
    numa: Annotated[str | None, typer.Option(help="bind, interleave or none.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Every term of the sum and its source.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Decode, prefill, time to first token and throughput: low / expected / high."""
    from planner.api import estimate as predict, load_catalog

    catalog = load_catalog()
    resolved = catalog.model(model)
    speed = predict(
        resolved,
        quant,
        machine.resolve(catalog),
        server,
        context,
        0 if depth == "0" else depth,
        prompt,
        output,
        users,
        kv_type,
        gpu_layers=_count(gpu_layers),
        cpu_experts=_count(cpu_experts),
        tensor_parallel=tensor_parallel,
        numa=numa,
        catalog=catalog,
    )
    if json:
        import msgspec

        print_json({"model": resolved.id, "quant": quant, "speed": msgspec.to_builtins(speed)})
        return
    from planner.report.speed import speed_view

    print_view(speed_view(resolved.name, quant, speed, explain=explain))


def _count(text: str | None) -> int | str | None:
    return int(text) if text is not None and text.isdigit() else text
