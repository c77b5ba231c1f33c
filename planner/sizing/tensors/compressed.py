"""DeepSeek-V4 attention: one shared key/value head, low-rank queries and outputs, and compressed tokens.

`sliding` layers see only the window; `compressed` layers (ratio 4, with an indexer) and `heavily_compressed` layers
(ratio 128) see the window and one entry per that many tokens. Names and shapes: llama.cpp `deepseek4`; which tensors
there are: transformers `deepseek_v4`."""

from __future__ import annotations

from planner.sizing.records import LayerCache, Role
from planner.sizing.tensors.blueprint import Blueprint, Parts

RATIOS = {"compressed": 4, "heavily_compressed": 128}
_A, _N = Role.ATTENTION, Role.NORM


def compressed_attention(plan: Blueprint, parts: Parts) -> None:
    """Tensors of all attention layers of the family."""
    arch, hidden = plan.arch, plan.arch.hidden_size
    layers, heads, head = plan.every_layer, arch.heads or 0, arch.head_dim or 0
    rank, groups, out_rank = plan.number("q_lora_rank"), plan.number("o_groups"), plan.number("o_lora_rank")
    parts.block(_A, "attn_sinks.weight", (heads,), layers)
    parts.block(_A, "attn_q_a.weight", (hidden, rank), layers)
    parts.block(_N, "attn_q_a_norm.weight", (rank,), layers)
    parts.block(_A, "attn_q_b.weight", (rank, heads * head), layers)
    parts.block(_A, "attn_kv.weight", (hidden, head), layers)
    parts.block(_N, "attn_kv_a_norm.weight", (head,), layers)
    parts.block(_A, "attn_output_a.weight", (heads * head // groups, groups * out_rank), layers)
    parts.block(_A, "attn_output_b.weight", (groups * out_rank, hidden), layers)
    for kind, ratio in RATIOS.items():
        _compressor(parts, "attn_compressor", hidden, head, ratio, plan.layers(kind))
    _indexer(plan, parts, rank)


def _compressor(parts: Parts, name: str, hidden: int, head: int, ratio: int, layers: tuple[int, ...]) -> None:
    width = head * (2 if ratio == RATIOS["compressed"] else 1)
    parts.block(_A, f"{name}_kv.weight", (hidden, width), layers)
    parts.block(_A, f"{name}_gate.weight", (hidden, width), layers)
    parts.block(_A, f"{name}_ape.weight", (width, ratio), layers)
    parts.block(_N, f"{name}_norm.weight", (head,), layers)


def _indexer(plan: Blueprint, parts: Parts, rank: int) -> None:
    index = plan.arch.indexer
    if index is None:
        return
    hidden, layers = plan.arch.hidden_size, plan.layers("compressed")
    parts.block(_A, "indexer.proj.weight", (hidden, index.heads), layers)
    parts.block(_A, "indexer.attn_q_b.weight", (rank, index.heads * index.head_dim), layers)
    _compressor(parts, "indexer_compressor", hidden, index.head_dim, RATIOS["compressed"], layers)


def compressed_caches(plan: Blueprint) -> list[LayerCache]:
    """Every layer keeps its window; compressing layers keep one entry per `compress` tokens beside it, the
    indexed ones an index key as well. Keys and values are one tensor."""
    arch = plan.arch
    head, main = arch.head_dim or 0, range(arch.layers)
    caches = [LayerCache(kind="window", layers=tuple(main), k_width=head, window=arch.window)]
    for kind, ratio in RATIOS.items():
        layers = tuple(layer for layer in plan.layers(kind) if layer in main)
        index = arch.indexer.head_dim if arch.indexer and kind == "compressed" else 0
        caches.append(LayerCache(kind="full", layers=layers, k_width=head, compress=ratio, indexer_width=index))
    return caches
