"""Measured rows as deployments of the planner: model, quant, hardware, placement. Used by fit_speed.py."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
from speed_machines import GB, cpu_of, machine
from speed_rows import read_csv, table_model, used_rows

from planner.catalog.catalog import Catalog
from planner.catalog.load import load_catalog
from planner.catalog.records.quant import Quant
from planner.hardware.facts import Cpu, Hardware
from planner.servers import SERVERS
from planner.sizing.footprint import size_model
from planner.sizing.records import ExpandedModel, Footprint, KvType, Placement, Pool, PoolUse, Runtime
from planner.sizing.tensors import expand
from planner.speed import formulas
from planner.speed.classes import placement_class
from planner.speed.constants import SpeedConstants
from planner.speed.decode import step_seconds
from planner.speed.estimate import gathered
from planner.speed.prefill import prefill_seconds
from planner.speed.rates import Step

SERVER_OF = {"vllm": "vllm", "mlx-lm": "mlx-lm", "rapid-mlx": "mlx-lm"}
STACK_OF = {"CUDA": "llama.cpp-cuda", "ROCm": "llama.cpp-rocm", "Vulkan": "llama.cpp-vulkan", "SYCL": "llama.cpp-sycl",
            "Metal": "llama.cpp-metal", "MLX": "mlx", "CPU": "llama.cpp-cpu"}  # fmt: skip
ALIASES = {"Q4_K_XL": "UD-Q4_K_XL", "Q8_K_XL": "UD-Q8_K_XL", "IQ4_K": "IQ4_XS", "mixed": "Q4_K_M",
           "UD-Q4_K_M": "Q4_K_M", "UD-Q6_K": "Q6_K", "NVFP4": "MXFP4_MOE",
           "MXFP4": "MXFP4_MOE"}  # fmt: skip
MLX_ALIASES = {"MXFP4-Q8": "MLX-mxfp4-q8", "MLX-mxfp8": "MLX-8bit"}
UNSAMPLED = {"llama-bench", "llama-bench microbatch", "mlx_lm.benchmark"}  # the engine alone: no token is drawn
WITH_PROMPT = ("prompt time included", "wall rate")
WHOLE_REQUESTS = {"server aggregate", "vllm throughput"}


@dataclass
class Case:
    """One measured row as the planner would be asked for it."""

    row: dict[str, str]
    expanded: ExpandedModel
    quant: Quant
    footprint: Footprint
    hardware: Hardware
    pools: tuple[Pool, ...]
    placement: Placement
    stack: str
    runtime: Runtime
    prefill_cpu: Cpu | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def depth(self) -> float:
        return float(self.row["context_depth"] or 0)

    @property
    def batch(self) -> float:
        return float(self.row["batch"] or 1)

    @property
    def prompt(self) -> float:
        return float(self.row["n_prompt"] or 0)

    def step(self, constants: SpeedConstants) -> Step:
        build = self.row["engine_version"]
        return gathered(
            self.expanded, self.quant, self.footprint, self.hardware, self.pools, self.placement,
            self.stack, self.runtime, build, constants, sampled=self.row["method"] not in UNSAMPLED,
        )  # fmt: skip

    def decode_rate(self, constants: SpeedConstants) -> float:
        """Tokens per second as the row counts them: one stream, or output of all users over whole requests."""
        step = self.step(constants)
        seconds = step_seconds(step, self.depth, self.batch)
        if self.batch == 1 and any(words in self.row["note"] for words in WITH_PROMPT):
            output = float(self.row["n_gen"])
            prompt = max(1.0, self.depth - output / 2)
            first = prefill_seconds(step, self.runtime, 0.0, prompt) or 0.0
            return output / (first + output * seconds)
        if self.row["method"] not in WHOLE_REQUESTS or not self.prompt:
            return self.batch / seconds
        prefill = prefill_seconds(step, self.runtime, 0.0, self.prompt) or 0.0
        shown = step.stack.batch_prefill_fraction if self.batch > 1 else 1.0
        output = float(self.row["n_gen"] or 1)
        return formulas.aggregate_rate(self.batch, output, prefill * shown, seconds)

    def prefill_rate(self, constants: SpeedConstants) -> float:
        """Prompt tokens per second; the depth counts where the tool filled the cache before."""
        made = (
            self
            if self.prefill_cpu is None
            else replace(self, hardware=msgspec.structs.replace(self.hardware, cpu=self.prefill_cpu))
        )
        seconds = prefill_seconds(made.step(constants), self.runtime, self.prefill_depth, self.prompt)
        return self.prompt / seconds if seconds else 0.0

    @property
    def prefill_depth(self) -> float:
        averaged = 0 < self.depth < self.prompt + 300 or self.row["method"] == "server decode rate"
        return 0.0 if averaged else self.depth

    @property
    def speed_class(self) -> str:
        if self.batch > 1:
            return "concurrency"
        return placement_class(self.expanded, self.placement, self.facts["stack"])


def load_cases(constants: SpeedConstants) -> list[Case]:
    """Every used row, in the order of the file."""
    catalog = load_catalog()
    hosts = {row["host"]: row for row in read_csv("hosts.csv")}
    names = {row["model"]: row["catalog_id"] for row in read_csv("model_names.csv")}
    tables = {row["model"]: row for row in read_csv("model_shapes.csv")}
    return [_case(row, catalog, hosts, names, tables, constants) for row in used_rows()]


def _case(
    row: dict[str, str], catalog: Catalog, hosts: Any, names: dict[str, str], tables: Any, constants: SpeedConstants
) -> Case:
    quant = find_quant(row, catalog)
    hardware, pools, placement = machine(row, catalog, hosts)
    server = SERVERS[SERVER_OF.get(row["engine"], "llama-server")]
    kv = {"f16": "f16", "fp8": "fp8"}.get(row["kv_type"], row["kv_type"])
    flash = "flash attention off" not in row["note"] and "no flash attention" not in row["note"]
    batch = int(float(row["batch"] or 1))
    runtime = Runtime(context_tokens=1 << 20, parallel=batch, kv_type=KvType(k=kv, v=kv), flash_attention=flash)
    if row["model"] in names:
        model = catalog.models[names[row["model"]]]
        expanded = expand(model)
        allocation = server.allocation(model, quant, hardware, placement)
        sized = Runtime(context_tokens=4096)
        footprint = size_model(expanded, quant, sized, allocation, server=server.id, placement=placement, pools=pools)
    else:
        expanded, footprint = table_model(tables[row["model"]], row, quant.speed_class, pools)
    computed = footprint.file_bytes
    if row["file_gb"] and row["size_estimated"] != "1":
        footprint = scaled(footprint, float(row["file_gb"]) * GB / footprint.file_bytes)
    case = Case(row, expanded, quant, footprint, hardware, pools, placement, _stack(row), runtime)
    case.facts["stack"], _ = constants.stack(case.stack, "intel" if row["arch"] == "xe" else None, row["system"])
    case.facts["size_ratio"] = float(row["file_gb"]) * GB / computed if row["file_gb"] else 1.0
    if row["kind"] == "hybrid":
        _offload(case)
    if row["kind"] == "cpu" and row["note"].startswith("2 threads"):  # for decode only: prompts ran on all cores
        case.prefill_cpu = cpu_of(row | {"note": ""}, hosts)
    return case


def _stack(row: dict[str, str]) -> str:
    if row["engine"] == "vllm":
        return {"CUDA": "vllm-cuda", "ROCm": "vllm-rocm"}[row["backend"]]
    stack = STACK_OF[row["backend"].removesuffix("+CPU")]
    if row["engine"] == "ollama" and stack.startswith("llama.cpp-"):
        return "ollama-" + stack.removeprefix("llama.cpp-")
    if row["engine"] == "ik_llama.cpp" and stack in {"llama.cpp-cpu", "llama.cpp-cuda"}:
        return "ik_" + stack
    return stack


def find_quant(row: dict[str, str], catalog: Catalog) -> Quant:
    """The catalog's quant behind the row's name; the nearest where the catalog has none."""
    name = row["quant"]
    if row["backend"] == "MLX":
        return catalog.quant(MLX_ALIASES.get(name, name), "mlx")
    if row["engine"] == "vllm":
        return catalog.quant(name, "hf")
    known = catalog.find_quant(name, "gguf") if name not in ALIASES else None
    if known is not None:
        return known
    return catalog.quant("Q8_0" if name in {"FP8", "MLX-mxfp8"} else ALIASES[name], "gguf")


def scaled(footprint: Footprint, factor: float) -> Footprint:
    """The footprint of the published file: everything that is weights in proportion."""
    change = msgspec.structs.replace
    uses = tuple(
        change(
            use,
            weights_bytes=round(use.weights_bytes * factor),
            dense_read_bytes=round(use.dense_read_bytes * factor),
            expert_read_bytes=round(use.expert_read_bytes * factor),
            expert_bytes=round(use.expert_bytes * factor),
        )
        for use in footprint.pools
    )
    return change(footprint, pools=uses, file_bytes=round(footprint.file_bytes * factor))


def _offload(case: Case) -> None:
    """Moves what the CPU reads per token, as the row states it, into RAM."""
    row, change = case.row, msgspec.structs.replace
    on_cpu = float(row["cpu_active_gb"] or 0) * GB
    expert = sum(use.expert_read_bytes for use in case.footprint.pools)
    dense = sum(use.dense_read_bytes for use in case.footprint.pools)
    moved_expert = min(on_cpu, expert) if expert else 0.0
    moved_dense = min(on_cpu - moved_expert, dense)
    kept_expert, kept_dense = 1 - moved_expert / expert if expert else 1.0, 1 - moved_dense / dense
    uses = tuple(
        change(
            use,
            dense_read_bytes=round(use.dense_read_bytes * kept_dense),
            expert_read_bytes=round(use.expert_read_bytes * kept_expert),
            expert_bytes=round(use.expert_bytes * kept_expert),
        )
        for use in case.footprint.pools
        if not use.pool.startswith("node")
    )
    resident = sum(use.expert_bytes for use in case.footprint.pools) * (1 - kept_expert)
    ram = PoolUse(pool="node0", dense_read_bytes=round(moved_dense), expert_read_bytes=round(moved_expert),
                  expert_bytes=round(resident), weights_bytes=round(moved_dense + resident))  # fmt: skip
    layers = moved_layers(row, case, on_cpu / max(1.0, expert + dense))
    split = not expert or moved_dense > 0
    kind = "split" if split else "experts-in-ram"
    whole = split and "FFN" not in row["offload"]
    count = {"gpu_layers": case.expanded.shape.layers - layers} if whole else {"cpu_expert_layers": layers}
    case.footprint = change(case.footprint, pools=(*uses, ram))
    case.placement = change(case.placement, kind=kind, **count)


def moved_layers(row: dict[str, str], case: Case, share: float) -> int:
    """Layers that wait for the CPU, as the row's offload text says."""
    text, shape = row["offload"], case.expanded.shape
    for pattern in (r"--n-cpu-moe (\d+)", r"last (\d+) of", r"of (\d+) of \d+ layers"):
        match = re.search(pattern, text)
        if match:
            return min(shape.layers, int(match[1]))
    ngl = re.search(r"-ngl (\d+)", text)
    if ngl:
        return max(0, shape.layers - int(ngl[1]))
    between = re.search(r"layers (\d+)-(\d+)", text)
    if between and "experts of" in text:
        return int(between[2]) - int(between[1]) + 1
    if "auto-fit" in text:
        return round(min(1.0, share) * shape.layers)
    return shape.moe_layers or shape.layers
