"""Work buffers beside weights and caches: compute graph, masks, output, device context.

llama.cpp's graph is reserved for one micro-batch (`ubatch`) against the full cache. The widths were found
on CPU loads of llama.cpp 0.7.0 (build 11669, tests/data/llama_server_loads.csv); GPU builds use the same graph. Those
expressions are fits, not derivations, and each carries its error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from planner.sizing.graph_shape import GraphShape, graph_shape
from planner.sizing.kv_cache import llama_cells
from planner.sizing.records import Part

if TYPE_CHECKING:
    from planner.sizing.records import Allocation, ExpandedModel, Runtime

_SLOT_BYTES: Final = 20_972
_TOKEN_BYTES: Final = 50
# Scores of a sparse-attention indexer are not modelled: build 11669 logs 1.6 to 4.2 times this (glm-dsa, minimax-m3).
_INDEXER_ERROR: Final = 3.2
# vLLM's peak activation by the same sum of live tensors: 1.22 GiB for Llama-3-8B at 8192 tokens and 256
# sequences; 1.26 measured (vLLM PR 10511).
_VLLM_LOGIT_BYTES: Final = 10
_MLX_PREFILL_TOKENS: Final = 2048


def compute_buffer(expanded: ExpandedModel, runtime: Runtime, allocation: Allocation, ranks: int = 1) -> Part:
    """The work buffer of one device; `ranks` is the tensor-parallel degree that divides its widths (vLLM)."""
    shape = graph_shape(expanded)
    if allocation.buffers == "vllm":
        return _vllm(shape, runtime, allocation, ranks)
    if allocation.buffers == "mlx":
        return _mlx(shape, runtime)
    return _llama(shape, runtime)


def host_buffer_bytes(expanded: ExpandedModel, runtime: Runtime, allocation: Allocation) -> int:
    """Host memory of a llama.cpp graph that runs on GPUs: inputs and masks of one micro-batch."""
    if allocation.buffers != "llama.cpp":
        return 0
    shape = graph_shape(expanded)
    ubatch = llama_cells(runtime).ubatch
    return _mask_cells(shape, runtime) * ubatch * (2 if runtime.flash_attention else 4) + 4 * ubatch * shape.hidden


def output_buffer_bytes(expanded: ExpandedModel, runtime: Runtime, allocation: Allocation) -> int:
    """Logits of one token per slot, in F32 on the host (llama.cpp; others count them as activations)."""
    if allocation.buffers != "llama.cpp":
        return 0
    return 4 * expanded.shape.vocabulary_size * runtime.parallel


def _mask_cells(shape: GraphShape, runtime: Runtime) -> int:
    """Sum of the distinct cache lengths, one mask each."""
    cells = llama_cells(runtime)
    if shape.is_encoder:
        return cells.ubatch
    total = cells.per_sequence if shape.has_full else 0
    if shape.window is not None:
        total += cells.window(shape.window, runtime)
    return total


def _llama(shape: GraphShape, runtime: Runtime) -> Part:
    cells = llama_cells(runtime)
    ubatch = cells.ubatch
    width, error = _width(shape)
    total = max(4 * ubatch * width, _recurrent(shape, ubatch, runtime.parallel))
    masks = _mask_cells(shape, runtime) * ubatch
    if runtime.flash_attention:
        total += 2 * masks + _SLOT_BYTES * runtime.parallel + _TOKEN_BYTES * ubatch
    else:
        total = max(total, _score_bytes(shape, cells.per_sequence, ubatch)) + 4 * masks
        error = max(error, 0.1)
    note = None if shape.recurrent == "none" else "recurrent layers were measured on few models"
    return Part(name="compute buffer", bytes=total, basis="fitted", error_fraction=error, note=note)


def _score_bytes(shape: GraphShape, cells: int, ubatch: int) -> int:
    """Attention scores in F32 and what is alive beside them, without flash attention."""
    if shape.is_encoder:
        return 4 * ubatch * (shape.heads * ubatch + 7 * shape.hidden)
    if not shape.has_attention:
        return 0
    if shape.latent:
        beside = shape.heads * (3 * shape.latent + shape.rope) + shape.hidden
    else:
        queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        more = 2 * queries if shape.window is not None or shape.recurrent == "delta-net" else 0
        beside = 5 * queries + 2 * keys + shape.hidden + more
    return 4 * ubatch * (shape.heads * cells + beside)


def _width(shape: GraphShape) -> tuple[int, float]:
    """Floats per token of the widest moment of attention and feed-forward, and its relative error.

    Beside five rows of the hidden state lie gate, up and their product (one tensor without a gate). ggml's allocator
    takes the first hole that fits: the experts' output goes where gate and up were, or behind them when it is wider."""
    held = (6 if shape.sixth_row else 5) * shape.hidden + shape.looked_up
    inner = 3 if shape.gated else 1
    width, error = held + inner * shape.dense, 0.01
    if shape.active_experts:
        middle, output = shape.active_experts * shape.expert, shape.active_experts * shape.expert_inner
        beside = shape.hidden if shape.row_beside_experts else 0
        routed = held + inner * middle + (output if output > (inner - 1) * middle else beside)
        width, error = max(routed, width if shape.dense else 0), 0.09
    if shape.latent:
        width = max(width, shape.heads * (3 * shape.latent + shape.rope) + shape.hidden)
    if shape.indexed:
        error = _INDEXER_ERROR
    return width, error if shape.recurrent == "none" else 0.12


def _recurrent(shape: GraphShape, ubatch: int, slots: int) -> int:
    """Bytes alive inside a recurrent layer, with the states of all slots that the graph copies.

    Mamba-2 (Nemotron-Nano-9B: 79,872 floats per token measured) holds gate, input and output beside four copies of the
    convolution's width. The gated delta net holds three, four beside experts; one fewer where the copied states fit
    into the hole of a hidden row (Qwen3.5-0.8B: 21,514 and 17,372 measured)."""
    states = 4 * shape.state * slots
    if shape.recurrent == "mamba":
        return 4 * ubatch * (3 * shape.inner + 4 * shape.conv) + states
    if shape.recurrent == "delta-net":
        copies = 4 if shape.active_experts else 3
        if states <= 4 * ubatch * shape.hidden:
            return 4 * ubatch * ((copies - 1) * shape.conv + shape.inner + 2 * shape.hidden) + states
        return 4 * ubatch * (copies * shape.conv + shape.inner + shape.hidden) + states
    return 0


def _vllm(shape: GraphShape, runtime: Runtime, allocation: Allocation, ranks: int) -> Part:
    tokens = max(allocation.batch_tokens or runtime.batch, runtime.parallel)
    feed_forward = 3 * max(shape.dense, shape.shared) / ranks
    experts = shape.active_experts * (3 * shape.expert / ranks + shape.hidden)
    live = 2 * tokens * (4 * shape.hidden + max(feed_forward, experts))
    logits = _VLLM_LOGIT_BYTES * max(runtime.parallel, 1) * shape.vocabulary / ranks
    note = "peak of the profile run; vision models need far more"
    return Part(name="activations", bytes=round(live + logits), basis="assumed", error_fraction=0.5, note=note)


def _mlx(shape: GraphShape, runtime: Runtime) -> Part:
    tokens = min(_MLX_PREFILL_TOKENS, runtime.context_tokens)
    experts = shape.active_experts * (3 * shape.expert + shape.hidden)
    live = 2 * tokens * (4 * shape.hidden + max(3 * max(shape.dense, shape.shared), experts))
    logits = 4 * shape.vocabulary * runtime.parallel
    return Part(name="activations", bytes=live + logits, basis="assumed", error_fraction=0.5)
