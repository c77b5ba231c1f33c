"""`planner bench`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.command import command, state_folder
from planner.cli.output import print_json, print_view, say, write_file
from planner.errors import PlannerError, UsageError

if TYPE_CHECKING:
    from planner.bench.records import Bench
    from planner.hardware.facts import Hardware

PREDICTION = "Prediction"


@command
def bench(
    url: Annotated[str, typer.Argument(help="Root of an OpenAI-compatible server, like http://127.0.0.1:8080.")],
    model: Annotated[
        str | None, typer.Option(help="Its name on the server, or what it is: catalog id or GGUF file.")
    ] = None,
    quant: Annotated[str | None, typer.Option(help="Its quantization, where the server does not say.")] = None,
    server: Annotated[
        str | None, typer.Option(help="ollama, vllm, mlx-lm, localai or llama-server, where it does not say.")
    ] = None,
    concurrency: Annotated[str, typer.Option(help="Users at once, one level each.")] = "1,2,4",
    prompt: Annotated[int, typer.Option(help="Prompt tokens of a request.", min=1)] = 512,
    output: Annotated[int, typer.Option(help="Output tokens of a request.", min=2)] = 128,
    rounds: Annotated[int, typer.Option(help="Requests per user.", min=1)] = 3,
    api_key_file: Annotated[Path | None, typer.Option(help="A file that holds the API key.")] = None,
    plan: Annotated[
        Path | None,
        typer.Option(help="Compare with this plan's service; nothing is probed.", rich_help_panel=PREDICTION),
    ] = None,
    hardware: Annotated[
        Path | None,
        typer.Option(help="The server's machine, saved by `planner probe --save`.", rich_help_panel=PREDICTION),
    ] = None,
    gpu_layers: Annotated[
        str | None, typer.Option(help="Blocks on the GPU: a number or all.", rich_help_panel=PREDICTION)
    ] = None,
    cpu_experts: Annotated[
        str | None,
        typer.Option(help="Blocks whose experts stay in RAM: a number or all.", rich_help_panel=PREDICTION),
    ] = None,
    tensor_parallel: Annotated[
        int | None, typer.Option(help="Degree over the GPUs.", min=1, rich_help_panel=PREDICTION)
    ] = None,
    save: Annotated[
        bool, typer.Option("--save", help="Keep measured over predicted, for `probe` or in the --hardware file.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure a running server and compare it with the prediction."""
    from planner.api import load_catalog, load_hardware, load_plan
    from planner.bench.prediction import Forced
    from planner.bench.run import Names, Questions, bench as measure
    from planner.cli.progress import probe_with_progress

    users = _levels(concurrency)
    catalog = load_catalog()
    named = load_hardware(hardware) if hardware else None
    with _progress() as progress:
        result = measure(
            url,
            catalog,
            Questions(concurrency=users, prompt_tokens=prompt, output_tokens=output, rounds=rounds),
            Names(model=model, quant=quant, server=server, forced=Forced(gpu_layers, cpu_experts, tensor_parallel)),
            api_key_file=api_key_file,
            plan=load_plan(plan) if plan else None,
            hardware=named or (lambda: probe_with_progress(catalog)),
            for_calibration=save,
            progress=progress,
        )
    _print(result, json)
    if save:
        _keep(result, hardware, named)


def _levels(text: str) -> tuple[int, ...]:
    """`1,2,4`, in rising order. Raises UsageError."""
    try:
        return tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError:
        raise UsageError(f"--concurrency {text!r} is no list of numbers", hint="write it like 1,2,4") from None


def _print(result: "Bench", json: bool) -> None:
    if json:
        import msgspec

        print_json({"bench": msgspec.to_builtins(result)})
        return
    from planner.report.bench import bench_view

    print_view(bench_view(result))


def _keep(result: "Bench", file: Path | None, hardware: "Hardware | None") -> None:
    """Store the calibration where it was asked for. Raises PlannerError when there is none."""
    from planner.bench.keep import keep_here, with_calibration
    from planner.hardware.files import hardware_json

    if result.calibration is None:
        raise PlannerError("--save: no decode rate to store", hint="; ".join(result.notes) or "see the figures above")
    if file is not None and hardware is not None:
        write_file(file, hardware_json(with_calibration(hardware, result.calibration)))
        say(f"saved in {file}")
    else:
        where = keep_here(result.calibration, state_folder())
        say(f"saved {where}: the next probe of this machine uses it")


@contextmanager
def _progress() -> Iterator[Callable[[str, float], None]]:
    """A bar on a terminal, a line per step elsewhere; on stderr."""
    import sys

    if not sys.stderr.isatty():
        last: list[str] = []

        def line(step: str, _share: float) -> None:
            if last != [step]:
                last[:] = [step]
                say(f"{step} ...")

        yield line
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=30), TextColumn("{task.percentage:>3.0f}%"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("asking who serves", total=1.0)
        yield lambda step, share: bar.update(task, description=step, completed=share)
