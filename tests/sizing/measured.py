"""Models of the measurements as ExpandedModel, built from their own GGUF metadata and tensor lists."""

from __future__ import annotations

import csv
import functools
import json
import re
from pathlib import Path
from typing import Any

from planner.catalog.records.quant import Quant
from planner.sizing.records import (
    Allocation,
    ExpandedModel,
    KvType,
    LayerCache,
    ModelShape,
    Role,
    Runtime,
    TensorGroup,
)

DATA = Path(__file__).parent.parent / "data"
LLAMA = Allocation(policy="llama.cpp", buffers="llama.cpp")
VLLM = Allocation(policy="vllm", buffers="vllm")
MLX = Allocation(policy="mlx", buffers="mlx")


@functools.cache
def a_quant(name: str, quant_format: str = "gguf", group_size: int | None = None) -> Quant:
    """A quant by name, without the catalog."""
    return Quant(
        id=name,
        format=quant_format,  # type: ignore[arg-type]
        scheme="test",
        nominal_bits=4,
        speed_class="4bit-k",
        group_size=group_size,
    )


def load_runtime(row: dict[str, str]) -> Runtime:
    """The runtime of one measured load; context per user, as planner counts it."""
    parallel, unified = int(row["n_parallel"]), row["kv_unified"] == "1"
    context = -(-int(row["ctx_arg"]) // parallel) if unified else int(row["n_ctx_seq"])
    return Runtime(
        context_tokens=context,
        parallel=parallel,
        kv_type=KvType(k=row["ctk"], v=row["ctv"]),
        ubatch=int(row["n_ubatch"]),
        batch=int(row["n_batch"]),
        flash_attention=row["flash_attn"] != "off",
        kv_unified=unified,
        swa_full=row["swa_full"] == "1",
    )


def load_model(row: dict[str, str]) -> ExpandedModel:
    """The model of a measured load: `NAME/L4` is its first four blocks."""
    name, _, layers = row["model"].partition("/L")
    return measured_model(name, int(layers) if layers else None)


def rows(name: str) -> list[dict[str, str]]:
    with (DATA / name).open() as file:
        return list(csv.DictReader(file))


@functools.cache
def documents() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DATA / "measured_models.json").read_text())
    return found


def role_of(name: str) -> Role:
    for pattern, role in (
        (r"^token_embd", Role.EMBEDDING),
        (r"^output\.weight", Role.OUTPUT),
        (r"nextn", Role.MTP),
        (r"_norm", Role.NORM),
        (r"ffn_gate_inp", Role.ROUTER),
        (r"_exps", Role.EXPERT),
        (r"_shexp", Role.SHARED_EXPERT),
        (r"ffn_", Role.FFN),
        (r"ssm_", Role.STATE),
        (r"attn_", Role.ATTENTION),
    ):
        if re.search(pattern, name):
            return role
    return Role.OTHER


def _layers(entry: list[Any], limit: int) -> tuple[int, ...]:
    if len(entry) < 4:
        return ()
    if isinstance(entry[3], str):
        first, last = (int(part) for part in entry[3].split("-"))
        numbers = range(first, last + 1)
    else:
        numbers = entry[3]
    return tuple(layer for layer in numbers if layer < limit)


class Metadata:
    """Keys of a GGUF document without the architecture's prefix."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.values = document["gguf"]
        self.architecture = self.values["general.architecture"]

    def get(self, key: str, default: Any = None) -> Any:
        return self.values.get(f"{self.architecture}.{key}", default)


def _caches(meta: Metadata, layers: int, mtp: int) -> tuple[LayerCache, ...]:
    count = layers - mtp
    if meta.get("attention.kv_lora_rank"):
        width = meta.get("attention.kv_lora_rank") + meta.get("rope.dimension_count")
        return (LayerCache(kind="full", layers=tuple(range(count)), k_width=width, mla=True),)
    head = meta.get("embedding_length") // meta.get("attention.head_count")
    head_k, head_v = meta.get("attention.key_length", head), meta.get("attention.value_length", head)
    kv_heads = meta.get("attention.head_count_kv")
    per_layer = kv_heads if isinstance(kv_heads, list) else [kv_heads] * layers
    interval = meta.get("full_attention_interval")
    attention = [i for i in range(count) if per_layer[i] and (not interval or i % interval == interval - 1)]
    recurrent = []
    if meta.get("ssm.inner_size"):
        has_ffn = meta.get("feed_forward_length")
        recurrent = [
            i for i in range(count) if i not in attention and not (isinstance(has_ffn, list) and has_ffn[i] > 0)
        ]
    heads = max(per_layer)
    window = meta.get("attention.sliding_window")
    period = {"gemma3": 6, "gemma2": 2, "gpt-oss": 2}.get(meta.architecture, 0)
    sliding = [i for i in attention if window and period and i % period < period - 1]
    full = [i for i in attention if i not in sliding]
    widths = {"k_width": heads * head_k, "v_width": heads * head_v, "heads": heads}
    caches = []
    if full:
        caches.append(LayerCache(kind="full", layers=tuple(full), **widths))
    if sliding:
        caches.append(LayerCache(kind="window", layers=tuple(sliding), window=window, **widths))
    if recurrent:
        inner, state = meta.get("ssm.inner_size"), meta.get("ssm.state_size")
        conv = (meta.get("ssm.conv_kernel") - 1) * (inner + 2 * meta.get("ssm.group_count") * state)
        caches.append(
            LayerCache(kind="recurrent", layers=tuple(recurrent), conv_elements=conv, state_elements=inner * state)
        )
    return tuple(caches)


@functools.cache
def measured_model(name: str, layers: int | None = None) -> ExpandedModel:
    """The model of that name, or its first `layers` blocks."""
    document = documents()[name]
    meta = Metadata(document)
    count = layers or meta.get("block_count")
    mtp = meta.get("nextn_predict_layers", 0) if layers in (None, meta.get("block_count")) else 0
    groups = []
    for entry in document["tensors"]:
        numbers = _layers(entry, count)
        if len(entry) > 3 and not numbers:
            continue
        split = [tuple(i for i in numbers if i < count - mtp), tuple(i for i in numbers if i >= count - mtp)]
        for part, is_mtp in zip(split if len(entry) > 3 else [()], (False, True), strict=False):
            if len(entry) > 3 and not part:
                continue
            gguf_name = entry[0].replace("blk.*.", "blk.{layer}.")
            groups.append(
                TensorGroup(role=role_of(entry[0]), name=gguf_name, shape=tuple(entry[1]), layers=part, mtp=is_mtp)
            )
    kv_heads = meta.get("attention.head_count_kv")
    heads = meta.get("attention.head_count")
    ff = meta.get("feed_forward_length")
    total = sum(group.total_elements for group in groups)
    moe = next((g for g in groups if g.role is Role.EXPERT and len(g.layers) > 0), None)
    shape = ModelShape(
        id=name,
        gguf_architecture=meta.architecture,
        layers=count - mtp,
        hidden_size=meta.get("embedding_length"),
        vocabulary_size=document["n_vocab"],
        intermediate_size=max(ff) if isinstance(ff, list) else ff,
        heads=heads,
        kv_heads=max(kv_heads) if isinstance(kv_heads, list) else kv_heads,
        head_dim=meta.get("attention.key_length", meta.get("embedding_length") // heads),
        experts=meta.get("expert_count", 0),
        active_experts=meta.get("expert_used_count", 0),
        expert_intermediate_size=meta.get("expert_feed_forward_length", ff if moe else 0),
        moe_layers=len(moe.layers) if moe else 0,
        tied_embeddings=not any(group.name == "output.weight" for group in groups),
        mtp_layers=mtp,
        total_parameters=total,
        stored_parameters=total,
        active_parameters=total,
        read_parameters=total,
    )
    return ExpandedModel(shape=shape, groups=tuple(groups), caches=_caches(meta, count, mtp))
