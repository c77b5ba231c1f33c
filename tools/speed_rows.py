"""Measured rows as arrays: bytes, shapes, device facts. Used by fit_speed.py."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from planner.catalog.load import load_catalog
from planner.errors import PlannerError
from planner.hardware.facts import Gpu
from planner.sizing.records import ExpandedModel, KvType
from planner.sizing.tensors.expand import expand
from planner.speed.builds import is_old_build
from planner.speed.constants import SpeedConstants
from planner.speed.decode import query_ratio
from planner.speed.devices import gpu_unit_clock
from planner.speed.reads import cache_bytes, state_bytes

MEASUREMENTS = Path(__file__).resolve().parents[1] / "catalog" / "measurements"
USED_QUALITIES = {"ok", "community", "assumed_split", "numa_bad"}  # the last: pages not placed
LEFT_OUT_ENGINES = {"ktransformers"}  # copies experts to every NUMA node: no server of the planner does
DUPLICATES = {"T1446", "T1468", "T1471", "T1474", "T1480", "T1483", "T1486", "T1489"}  # measured once, listed twice
SHARED_CONTEXT = {"T1107", "T1108", "T1109", "T1110"}  # all sequences read one cache
EMBEDDING_BITS = {"Q8_0": 8.5, "Q8_K_XL": 8.5, "F16": 16, "BF16": 16, "Q6_K": 6.5625, "UD-Q6_K": 6.5625, "Q5_K": 5.5,
                  "Q5_K_M": 5.5, "Q3_K_M": 3.4375, "Q3_K_S": 3.4375, "Q2_K": 2.625, "Q2_K_S": 2.625, "IQ4_XS": 4.25,
                  "MLX-8bit": 8.5, "MLX-6bit": 6.5, "MLX-5bit": 5.5, "MLX-mxfp8": 8.25}  # fmt: skip
CLASSES = {
    "16bit": "F16 BF16 MLX-bf16",
    "8bit": "Q8_0 FP8 INT8 MLX-8bit Q8_K_XL MLX-mxfp8",
    "4bit-simple": "Q4_0 MXFP4 AWQ-INT4 GPTQ-INT4 AutoRound-INT4 MLX-4bit MLX-4bit-g32 NVFP4 MXFP4-Q8",
    "5-6bit": "Q5_K Q5_K_M Q6_K UD-Q6_K MLX-6bit MLX-5bit MLX-5bit-g32",
    "low": "Q3_K_M Q3_K_S Q2_K Q2_K_S UD-IQ3_XXS UD-IQ2_XXS UD-IQ2_M UD-Q2_K_XL Q2_0-ternary",
}
CLASS_OF = {quant: name for name, quants in CLASSES.items() for quant in quants.split()}
VLLM_16BIT_HEAD = {"FP8", "INT8", "AWQ-INT4", "GPTQ-INT4", "AutoRound-INT4", "NVFP4"}
STACK_OF = {"CUDA": "llama.cpp-cuda", "ROCm": "llama.cpp-rocm", "Vulkan": "llama.cpp-vulkan", "SYCL": "llama.cpp-sycl",
            "Metal": "llama.cpp-metal", "MLX": "mlx", "CPU": "llama.cpp-cpu", "CUDA+CPU": "llama.cpp-cuda"}  # fmt: skip
GB = 1e9


@dataclass(frozen=True)
class Shape:
    """What a row needs to know of its model; elements, not bytes."""

    total: float
    read: float
    layers: int
    moe_layers: int
    hidden: int
    gqa: float
    query_width: float
    experts: int
    active: int
    expert_elements: float
    input_embedding: float
    head: float
    window: tuple[tuple[int, int], ...]
    expanded: ExpandedModel | None
    kv_full: float = 0.0
    kv_window: float = 0.0
    window_tokens: int = 0

    def cache(self, kv_type: str, depth: float, divided_by: int) -> float:
        """Bytes of cache read at `depth` on each of `divided_by` cards."""
        if self.expanded is not None:
            return cache_bytes(self.expanded, KvType(k=kv_type, v=kv_type), depth, divided_by)
        element = {"f16": 2.0, "q8_0": 34 / 32, "fp8": 1.0, "q4_0": 18 / 32}[kv_type]
        held = self.kv_full * depth + self.kv_window * min(depth, self.window_tokens)
        return held * element / divided_by

    def state(self) -> float:
        return state_bytes(self.expanded) if self.expanded is not None else 0.0

    def recurrent(self) -> int:
        """Layers that keep a recurrent state."""
        if self.expanded is None:
            return 0
        return sum(len(c.layers) for c in self.expanded.caches if c.kind == "recurrent")

    def attention(self) -> list[tuple[int, int | None]]:
        """Layers with a cache and their window."""
        if self.expanded is None:
            return [(self.layers, None)]
        return [(len(c.layers), c.window) for c in self.expanded.caches if c.kind != "recurrent"]


def shapes() -> dict[str, Shape]:
    """Every measured model: from the catalog where it is there, else from model_shapes.csv."""
    catalog = load_catalog()
    found: dict[str, Shape] = {}
    for row in _csv("model_names.csv"):
        expanded = expand(catalog.models[row["catalog_id"]])
        found[row["model"]] = _from_catalog(expanded)
    for row in _csv("model_shapes.csv"):
        found[row["model"]] = _from_table(row)
    return found


def _from_catalog(expanded: ExpandedModel) -> Shape:
    s = expanded.shape
    vocabulary = float(s.vocabulary_size * s.hidden_size)
    return Shape(
        total=s.total_parameters,
        read=s.read_parameters,
        layers=s.layers,
        moe_layers=s.moe_layers,
        hidden=s.hidden_size,
        gqa=query_ratio(expanded),
        query_width=float(s.heads * s.head_dim or s.hidden_size),
        experts=s.experts,
        active=s.active_experts,
        expert_elements=s.expert_parameters,
        input_embedding=s.active_parameters - s.read_parameters,
        head=vocabulary,
        window=(),
        expanded=expanded,
    )


def _from_table(row: dict[str, str]) -> Shape:
    hidden = int(row["hidden"])
    tied = row["tied"] == "1"
    embedding = float(row["embedding_b"]) * 1e9
    return Shape(
        total=float(row["total_b"]) * 1e9,
        read=float(row["read_b"]) * 1e9,
        layers=int(row["layers"]),
        moe_layers=0,
        hidden=hidden,
        gqa=float(row["gqa_ratio"]),
        query_width=float(hidden),
        experts=0,
        active=0,
        expert_elements=0.0,
        input_embedding=0.0 if tied else embedding,
        head=embedding,
        window=(),
        expanded=None,
        kv_full=float(row["kv_elements_full"]),
        kv_window=float(row["kv_elements_window"]),
        window_tokens=int(row["window"]),
    )


def split_bytes(row: dict[str, str], shape: Shape) -> tuple[float, float, float]:
    """Bytes per token of non-expert weights, of routed experts, and of all routed experts, from the file's size."""
    quant = row["quant"]
    file = float(row["file_gb"]) * GB
    vllm = row["engine"] == "vllm"
    bits = 16.0 if vllm else EMBEDDING_BITS.get(quant, 4.5)
    if quant in {"MXFP4", "MXFP4-Q8"}:
        bits = 16.0 if vllm else 8.5
    read = file - shape.input_embedding * bits / 8
    if shape.total and shape.expanded is not None:
        extra = shape.expanded.shape.stored_parameters - shape.total if vllm else 0.0
        read -= max(0.0, extra) * 2  # towers and prediction layers that a checkpoint stores beside the text model
    if not shape.experts:
        return max(read, 0.3 * file), 0.0, 0.0
    if quant in {"MXFP4", "MXFP4-Q8"}:
        experts = shape.expert_elements * 4.25 / 8
    elif vllm and quant in VLLM_16BIT_HEAD:
        experts = (
            min(0.98 * read, read - shape.head * 2) * shape.expert_elements / max(shape.total - 2 * shape.head, 1.0)
        )
    else:
        experts = read * shape.expert_elements / (shape.total - shape.input_embedding)
    return read - experts, experts * shape.active / shape.experts, experts


def _csv(name: str) -> list[dict[str, str]]:
    with (MEASUREMENTS / name).open(newline="") as stream:
        return list(csv.DictReader(stream))


def used_rows() -> list[dict[str, str]]:
    """The rows that the fit may see."""
    known = {row["model"] for row in _csv("model_names.csv")} | {row["model"] for row in _csv("model_shapes.csv")}
    return [
        row
        for row in _csv("throughput.csv")
        if row["quality"] in USED_QUALITIES
        and row["engine"] not in LEFT_OUT_ENGINES
        and row["row_id"] not in DUPLICATES | SHARED_CONTEXT
        and row["model"] in known
        and not _other_kernels(row)
        and float(row["mem_bw_gbs"] or 0) > 0
        and row["file_gb"]
    ]


def _other_kernels(row: dict[str, str]) -> bool:
    """Rows of ik_llama.cpp where its own kernels decide: no server of the planner has them."""
    deep_cpu = row["kind"] == "cpu" and float(row["context_depth"] or 0) > 1000
    gpu_experts = row["kind"] == "gpu" and row["is_moe"] == "1"
    return row["engine"] == "ik_llama.cpp" and (row["backend"] == "Vulkan" or deep_cpu or gpu_experts)


def device_facts(
    row: dict[str, str], constants: SpeedConstants, catalog: Any, missing: set[str]
) -> tuple[float, float, str]:
    """Units x Hz (0 unknown), FP16 peak (Apple: cores; 0 unknown), architecture, as the planner would know them."""
    if row["kind"] == "cpu":
        return 0.0, 0.0, ""
    try:
        device = catalog.device(row["device"])
    except PlannerError:
        missing.add(row["device"])
        return 0.0, float(row["fp16_tensor_tflops"] or 0) * 1e12, row["arch"]
    gpu = Gpu(
        vendor=device.vendor.casefold(),
        name=device.name,
        backend="cuda",
        architecture=device.architecture,
        fp32_flops_per_s=device.fp32_flops_per_s,
        fp16_flops_per_s=device.fp16_flops_per_s,
        compute_capability=device.compute_capability,
        cores=int(row["gpu_cores"]) if row["gpu_cores"] else device.gpu_cores,
    )
    if row["kind"] == "apple":
        generation = row["arch"].removeprefix("apple-")
        gigahertz = constants.cores.apple_clock_ghz[generation]
        cores = gpu.cores or 0
        return cores * gigahertz * 1e9, float(cores), generation
    peak = max(device.fp16_flops_per_s or 0.0, device.fp32_flops_per_s or 0.0)
    return gpu_unit_clock(gpu, constants.cores) or 0.0, peak, (device.architecture or "").casefold()


def cpu_cores(row: dict[str, str], hosts: dict[str, dict[str, str]], small: float) -> tuple[float, str]:
    """Cores that worked (small ones at their share) and the vector set; a thread count in the note decides."""
    host = hosts.get(row["host_cpu"])
    if host is None:
        return 0.0, "other"
    cores = float(host["cores"]) + small * float(host["small_cores"])
    threads = re.search(r"n_threads=(\d+)|^(\d+) threads|, (\d+) threads", row["note"])
    if threads and row["kind"] == "cpu":
        cores = min(cores, float(next(group for group in threads.groups() if group)))
    return cores, host["isa"]


def load_rows(constants: SpeedConstants) -> dict[str, Any]:
    """Arrays over the used rows, by name."""
    catalog = load_catalog()
    hosts = {row["host"]: row for row in _csv("hosts.csv")}
    known = shapes()
    missing: set[str] = set()
    columns: dict[str, list[Any]] = {}
    for row in used_rows():
        for name, value in _columns(row, known[row["model"]], constants, catalog, hosts, missing).items():
            columns.setdefault(name, []).append(value)
    arrays: dict[str, Any] = {name: np.array(values) for name, values in columns.items() if name != "attention"}
    arrays["attention"] = columns["attention"]
    arrays["missing_devices"] = sorted(missing)
    return arrays


def _columns(
    row: dict[str, str], shape: Shape, constants: SpeedConstants, catalog: Any, hosts: Any, missing: set[str]
) -> dict[str, Any]:
    dense, expert, resident = split_bytes(row, shape)
    clock, peak, architecture = device_facts(row, constants, catalog, missing)
    cores, isa = cpu_cores(row, hosts, constants.cpu.small_core_factor)
    few = row["note"].startswith("2 threads")  # for decode only: prompts ran on all cores
    prefill_cores = cpu_cores(row | {"note": ""}, hosts, constants.cpu.small_core_factor)[0] if few else cores
    stack = STACK_OF[row["backend"]]
    if stack == "llama.cpp-vulkan" and row["arch"] == "xe":
        stack = "llama.cpp-vulkan-intel"
    if row["engine"] == "vllm":
        stack = {"CUDA": "vllm-cuda", "ROCm": "vllm-rocm"}[row["backend"]]
    cards = int(row["n_devices"])
    tensor = cards if row["parallel"] == "tensor" else 1
    depth = float(row["context_depth"] or 0)
    on_cpu = float(row["cpu_active_gb"] or 0) * GB if row["kind"] == "hybrid" else 0.0
    if row["kind"] == "cpu":
        on_cpu = dense + expert
    old = is_old_build(row["engine_version"], constants.builds) and row["engine"] != "ik_llama.cpp"
    return {
        "id": row["row_id"],
        "kind": row["kind"],
        "group": row["group"] or row["device"],
        "engine": row["engine"],
        "stack": stack,
        "quant": CLASS_OF.get(row["quant"], "4bit-k"),
        "device_class": {"apple": "apple", "cpu": "cpu"}.get(row["kind"], "gpu"),
        "dense": dense,
        "expert": expert,
        "resident": resident,
        "on_cpu": min(on_cpu, dense + expert),
        "cache": shape.cache(row["kv_type"], depth, tensor),
        "state": shape.state(),
        "device_quant": f"{'apple' if row['kind'] == 'apple' else 'gpu'} {CLASS_OF.get(row['quant'], '4bit-k')}",
        "isa_quant": f"{isa} {CLASS_OF.get(row['quant'], '4bit-k')}",
        "generation": architecture if row["kind"] == "apple" else "none",
        "layers": shape.layers,
        "moe_layers": shape.moe_layers,
        "experts": shape.experts,
        "recurrent_layers": shape.recurrent(),
        "active": shape.active,
        "hidden": shape.hidden,
        "gqa": shape.gqa,
        "mla": shape.expanded is not None and any(cache.mla for cache in shape.expanded.caches),
        "query_width": shape.query_width,
        "attention": shape.attention(),
        "elements": shape.read,
        "cards": cards,
        "tensor": tensor,
        "bandwidth": float(row["mem_bw_gbs"]) * GB,
        "host_bandwidth": float(row["host_bw_gbs"] or 0) * GB or float(row["mem_bw_gbs"]) * GB,
        "nodes": 1 if "pages placed by" in row["note"] else int(row["numa_nodes"] or 1),
        "clock": clock,
        "peak": 0.0 if row["kind"] == "apple" else peak,
        "apple_cores": peak if row["kind"] == "apple" else 0.0,
        "architecture": architecture,
        "cores": cores,
        "prefill_cores": prefill_cores,
        "isa": isa,
        "depth": depth,
        "batch": float(row["batch"] or 1),
        "n_prompt": float(row["n_prompt"] or 0),
        "n_gen": float(row["n_gen"] or 0),
        "decode": float(row["tg_tok_s"] or 0),
        "prefill": float(row["pp_tok_s"] or 0),
        "method": row["method"],
        "old": old,
        "unplaced": row["quality"] == "numa_bad" or "no NUMA placement" in row["note"],
        "no_flash": old or "flash attention off" in row["note"] or "no flash attention" in row["note"],
        "ik": row["engine"] == "ik_llama.cpp",
        "ollama": row["engine"] == "ollama",
        "moved_layers": moved_layers(row, shape),
        "hybrid": row["kind"] == "hybrid",
        "active_fraction": float(row["active_b"] or 0) / float(row["params_b"] or 1) if row["active_b"] else 1.0,
        "file": float(row["file_gb"]) * GB,
    }


def moved_layers(row: dict[str, str], shape: Shape) -> int:
    """Layers that wait for the CPU, as the row's offload text says."""
    text = row["offload"]
    if row["kind"] != "hybrid":
        return 0
    patterns = {r"--n-cpu-moe (\d+)": None, r"last (\d+) of": None, r"of (\d+) of \d+ layers": None}
    for pattern in patterns:
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
        share = float(row["cpu_active_gb"] or 0) * GB / max(1.0, sum(split_bytes(row, shape)[:2]))
        return round(min(1.0, share) * shape.layers)
    return shape.moe_layers or shape.layers
