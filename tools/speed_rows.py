"""The rows of catalog/measurements: which of them the fit may see, and the shapes of models outside the catalog."""

from __future__ import annotations

import csv
from pathlib import Path

from planner.sizing.records import ExpandedModel, Footprint, LayerCache, ModelShape, Pool, PoolUse, Role, TensorGroup

MEASUREMENTS = Path(__file__).resolve().parents[1] / "catalog" / "measurements"
USED_QUALITIES = {"ok", "community", "assumed_split", "numa_bad"}  # the last: pages not placed
LEFT_OUT_ENGINES = {"ktransformers"}  # copies experts to every NUMA node: no server of the planner does
EMBEDDING_BITS = {"16bit": 16.0, "8bit": 8.5, "5-6bit": 6.0, "low": 3.0}


def read_csv(name: str) -> list[dict[str, str]]:
    with (MEASUREMENTS / name).open(newline="") as stream:
        return list(csv.DictReader(stream))


def used_rows() -> list[dict[str, str]]:
    """The rows that the fit may see."""
    known = {row["model"] for row in read_csv("model_names.csv")} | {
        row["model"] for row in read_csv("model_shapes.csv")
    }
    excluded = {row["row_id"] for row in read_csv("excluded.csv") if row["what"] == "row"}
    corrected = corrections()
    return [
        row | corrected.get(row["row_id"], {})
        for row in read_csv("throughput.csv")
        if row["quality"] in USED_QUALITIES
        and row["engine"] not in LEFT_OUT_ENGINES
        and row["row_id"] not in excluded
        and row["model"] in known
        and not _other_kernels(row)
        and float(row["mem_bw_gbs"] or 0) > 0
        and row["file_gb"]
    ]


def corrections() -> dict[str, dict[str, str]]:
    """Values that a row's own note or its source contradicts, by row."""
    found: dict[str, dict[str, str]] = {}
    for row in read_csv("corrected.csv"):
        found.setdefault(row["row_id"], {})[row["column"]] = row["value"]
    return found


def without_prefill() -> set[str]:
    """Rows whose prompt rate alone is left out."""
    return {row["row_id"] for row in read_csv("excluded.csv") if row["what"] == "prefill"}


def _other_kernels(row: dict[str, str]) -> bool:
    """Rows of ik_llama.cpp where its own kernels decide: no server of the planner has them."""
    deep_cpu = row["kind"] == "cpu" and float(row["context_depth"] or 0) > 1000
    gpu_experts = row["kind"] == "gpu" and row["is_moe"] == "1"
    return row["engine"] == "ik_llama.cpp" and (row["backend"] == "Vulkan" or deep_cpu or gpu_experts)


def table_model(
    facts: dict[str, str], row: dict[str, str], speed_class: str, pools: tuple[Pool, ...]
) -> tuple[ExpandedModel, Footprint]:
    """A dense model that the catalog does not hold: shape from model_shapes.csv, bytes from the published file."""
    hidden, layers, ratio = int(facts["hidden"]), int(facts["layers"]), float(facts["gqa_ratio"])
    full, window = float(facts["kv_elements_full"]), float(facts["kv_elements_window"])
    heads = max(1, round(hidden / 128))
    kv_heads = max(1, round(heads / ratio))
    half = layers // 2 if window else 0
    caches = [_cache(full / (layers - half), tuple(range(half, layers)), kv_heads, None)]
    if window:
        caches.append(_cache(window / half, tuple(range(half)), kv_heads, int(facts["window"])))
    read, total = float(facts["read_b"]) * 1e9, float(facts["total_b"]) * 1e9
    shape = ModelShape(
        id=facts["model"], gguf_architecture=None, layers=layers, hidden_size=hidden,
        vocabulary_size=round(float(facts["embedding_b"]) * 1e9 / hidden),
        intermediate_size=0, heads=heads, kv_heads=kv_heads, head_dim=128, total_parameters=round(total),
        stored_parameters=round(total), active_parameters=round(total), read_parameters=round(read),
    )  # fmt: skip
    file = float(row["file_gb"]) * 1e9
    untied = 0.0 if facts["tied"] == "1" else float(facts["embedding_b"]) * 1e9
    dense = file - untied * EMBEDDING_BITS.get(speed_class, 4.5) / 8
    here = [pool for pool in pools if pool.kind != "ram"] or list(pools)
    uses = tuple(
        PoolUse(pool=pool.id, weights_bytes=round(file / len(here)), dense_read_bytes=round(dense / len(here)),
                layers=layers // len(here), cache_share=1 / len(here))
        for pool in here
    )  # fmt: skip
    footprint = Footprint(
        model=shape.id, quant=row["quant"], server="llama-server", file_bytes=round(file), tensor_bytes=round(file),
        weights_bytes=round(file), kv_cache_bytes=0, state_bytes=0, compute_bytes=0, overhead_bytes=0,
        bits_per_weight=file * 8 / total, read_bytes_per_token=round(dense), kv_bytes_per_token=0, pools=uses,
    )  # fmt: skip
    norms = TensorGroup(role=Role.NORM, name="norms", shape=(hidden,), layers=tuple(range(layers)))
    groups = (norms,) * int(facts["norms"])
    return ExpandedModel(shape=shape, groups=groups, caches=tuple(caches)), footprint


def _cache(elements_per_layer: float, layers: tuple[int, ...], heads: int, window: int | None) -> LayerCache:
    half = round(elements_per_layer / 2)
    kind = "window" if window else "full"
    return LayerCache(kind=kind, layers=layers, k_width=half, v_width=half, heads=heads, window=window)  # type: ignore[arg-type]
