"""The option groups that commands share: the machine, the workload, the constraints."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from planner.cli.command import exclusive

if TYPE_CHECKING:
    from planner.catalog.catalog import Catalog
    from planner.hardware.facts import Hardware

MACHINE = "Machine (default: this one is probed)"
NEEDS = "Workload"
LIMITS = "Constraints"
COST = "Cost and other views"


class MachineOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Which machine to plan for: this one, a saved one, or an imagined one."""

    hardware: Annotated[
        Path | None, typer.Option(help="A file saved by `planner probe --save`.", rich_help_panel=MACHINE)
    ] = None
    gpu: Annotated[
        list[str] | None,
        typer.Option(help="What-if: NAME or NAME:COUNT, repeatable.", metavar="NAME[:N]", rich_help_panel=MACHINE),
    ] = None
    vram: Annotated[
        str | None, typer.Option(help="What-if: memory of each GPU, like 24GiB.", rich_help_panel=MACHINE)
    ] = None
    gpu_bandwidth: Annotated[
        str | None, typer.Option(help="What-if: memory bandwidth of each GPU, like 936GB/s.", rich_help_panel=MACHINE)
    ] = None
    backend: Annotated[
        str | None, typer.Option(help="What-if: cuda, rocm, vulkan, metal, sycl or cpu.", rich_help_panel=MACHINE)
    ] = None
    apple: Annotated[
        str | None, typer.Option(help='What-if: "M3 Max 40c 128GiB".', metavar="CHIP", rich_help_panel=MACHINE)
    ] = None
    cpu: Annotated[str | None, typer.Option(help="What-if: CPU model name.", rich_help_panel=MACHINE)] = None
    cores: Annotated[int | None, typer.Option(help="What-if: physical cores.", rich_help_panel=MACHINE)] = None
    ram: Annotated[str | None, typer.Option(help="What-if: total memory, like 64GiB.", rich_help_panel=MACHINE)] = None
    ram_bandwidth: Annotated[
        str | None, typer.Option(help="What-if: total read bandwidth, like 80GB/s.", rich_help_panel=MACHINE)
    ] = None
    numa_nodes: Annotated[int | None, typer.Option(help="What-if: NUMA nodes.", rich_help_panel=MACHINE)] = None

    def imagined(self) -> dict[str, Any]:
        """The what-if options that were given, as keywords of `planner.what_if`."""
        values = {
            "gpus": tuple(self.gpu or ()),
            "vram": self.vram,
            "gpu_bandwidth": self.gpu_bandwidth,
            "backend": self.backend,
            "apple": self.apple,
            "cpu": self.cpu,
            "cores": self.cores,
            "ram": self.ram,
            "ram_bandwidth": self.ram_bandwidth,
            "numa_nodes": self.numa_nodes,
        }
        return {name: value for name, value in values.items() if value}

    @property
    def given(self) -> bool:
        """True when any machine option was given."""
        return bool(self.hardware or self.imagined())

    def resolve(self, catalog: "Catalog") -> "Hardware":
        """The machine meant: saved file, what-if, or this one (probed, with its cached bandwidth)."""
        imagined = self.imagined()
        exclusive(hardware=self.hardware, **dict(list(imagined.items())[:1]))
        if self.hardware is not None:
            from planner.hardware.files import load_hardware

            return load_hardware(self.hardware)
        if imagined:
            from planner.hardware.what_if import what_if

            return what_if(catalog, **imagined)
        from planner.cli.progress import probe_with_progress

        return probe_with_progress(catalog)


class PlanningOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What is wanted, and what is ruled out."""

    workload: Annotated[
        str | None,
        typer.Option(
            help="chat (default), prototype, team, code, reasoning, long-context, agent, multimodal, batch, "
            "embedding, macos.",
            rich_help_panel=NEEDS,
        ),
    ] = None
    users: Annotated[int | None, typer.Option(help="Concurrent users.", rich_help_panel=NEEDS)] = None
    context: Annotated[str | None, typer.Option(help="Tokens one user gets: 8k, 32k, max.", rich_help_panel=NEEDS)] = (
        None
    )
    roles: Annotated[
        str | None, typer.Option(help="Services to plan, like interactive,batch.", rich_help_panel=NEEDS)
    ] = None
    model: Annotated[
        list[str] | None, typer.Option(help="Only this model; repeated: only these.", rich_help_panel=LIMITS)
    ] = None
    family: Annotated[str | None, typer.Option(help="Only this family.", rich_help_panel=LIMITS)] = None
    quant: Annotated[str | None, typer.Option(help="Only this quantization.", rich_help_panel=LIMITS)] = None
    min_quant: Annotated[
        str | None, typer.Option(help="Nothing with more measured loss than this.", rich_help_panel=LIMITS)
    ] = None
    server: Annotated[
        str | None,
        typer.Option(help="ollama, vllm, mlx-lm, localai or llama-server.", rich_help_panel=LIMITS),
    ] = None
    kv_type: Annotated[str | None, typer.Option(help="KV cache type: q8_0, or K,V.", rich_help_panel=LIMITS)] = None
    min_decode: Annotated[
        float | None, typer.Option(help="Tokens per second each user needs.", rich_help_panel=LIMITS)
    ] = None
    max_ttft: Annotated[
        str | None, typer.Option(help="Longest time to first token, like 2 or 500ms.", rich_help_panel=LIMITS)
    ] = None
    max_memory: Annotated[
        list[str] | None, typer.Option(help="Cap of a pool: vram=20GiB, ram=64GiB.", rich_help_panel=LIMITS)
    ] = None
    license: Annotated[str | None, typer.Option(help="SPDX id, or open, or commercial.", rich_help_panel=LIMITS)] = None
    gpu_only: Annotated[bool, typer.Option("--gpu-only", help="Nothing in RAM.", rich_help_panel=LIMITS)] = False
    exclude: Annotated[
        list[str] | None, typer.Option(help="Model, family, server or quant to leave out.", rich_help_panel=LIMITS)
    ] = None
    headroom: Annotated[
        str | None, typer.Option(help="Free memory per pool: size or % (default 5%).", rich_help_panel=LIMITS)
    ] = None
    memory: Annotated[str, typer.Option(help="idle: capacity; now: what is free now.", rich_help_panel=LIMITS)] = "idle"
    prefer: Annotated[str | None, typer.Option(help="quality, speed, context or headroom.", rich_help_panel=LIMITS)] = (
        None
    )
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="Sampling that repeats itself.", rich_help_panel=LIMITS)
    ] = False
    matrix: Annotated[Path | None, typer.Option(help="Your own decision matrix.", rich_help_panel=LIMITS)] = None

    @property
    def given(self) -> bool:
        """True when any planning option was given."""
        return bool(self.keywords()) or self.workload is not None

    def keywords(self) -> dict[str, Any]:
        """The constraints that were given, as keywords of `planner.recommend`."""
        values = msgspec.structs.asdict(self)
        values.pop("workload")
        if self.memory == "idle":
            values.pop("memory")
        return {name: value for name, value in values.items() if value}


class CostOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a person knows of power and prices, in a currency of their own."""

    price_kwh: Annotated[
        float | None, typer.Option(help="What a kWh costs you, like 0.30: your own currency.", rich_help_panel=COST)
    ] = None
    price_gpu_hour: Annotated[
        float | None, typer.Option(help="What an hour of one GPU costs you, like 1.20.", rich_help_panel=COST)
    ] = None
    power: Annotated[
        str | None,
        typer.Option(help="What the machine draws under load, like 350W (default: GPU limits).", rich_help_panel=COST),
    ] = None

    @property
    def priced(self) -> bool:
        """True when a price or the power was given."""
        return any(value is not None for value in self.keywords().values())

    def keywords(self) -> dict[str, Any]:
        """The keywords of `planner.cost`."""
        return {"price_kwh": self.price_kwh, "price_gpu_hour": self.price_gpu_hour, "power": self.power}
