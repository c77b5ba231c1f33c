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

# From here on a block indexer's scores outgrow the hole that holds them (MiniMax-M3: not at 2048, at 4096).
_BLOCK_INDEX_CELLS: Final = 4096
_FLOATS: Final = frozenset({"f32", "f16", "bf16"})
_SLOT_BYTES: Final = 20_972
_TOKEN_BYTES: Final = 50
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
    width, error = _width(shape, hole=runtime.kv_type.k in _FLOATS)
    width = _with_indexer(shape, width, cells.per_sequence, runtime)
    total = max(4 * ubatch * width, _recurrent(shape, ubatch, runtime.parallel))
    masks = _mask_cells(shape, runtime) * ubatch
    if runtime.flash_attention:
        total += 2 * masks + _SLOT_BYTES * runtime.parallel + _TOKEN_BYTES * ubatch
    else:
        scores = _score_bytes(shape, cells.per_sequence, ubatch) + 4 * ubatch * _chosen(shape, cells.per_sequence)
        total = max(total, scores) + 4 * masks
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
        # DeepSeek-Coder-V2-Lite holds 9.5 rows more in micro-batches up to 256, one in larger ones: counted half.
        beside = shape.heads * (3 * shape.latent + shape.rope) + 6 * shape.hidden
    else:
        queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        own = 4 * queries + 4 * keys if shape.window is not None else 5 * queries + 2 * keys
        beside = own + shape.hidden + shape.looked_up
    return 4 * ubatch * (shape.heads * cells + beside)


def _width(shape: GraphShape, *, hole: bool = True) -> tuple[int, float]:
    """Floats per token of the widest moment of attention and feed-forward, and its relative error.

    Beside five rows of the hidden state lie gate, up and their product (one tensor without a gate). ggml's allocator
    takes the first hole that fits; `hole`: one may be left by per-layer inputs."""
    held = (6 if shape.sixth_row or shape.altup else 5) * shape.hidden
    inner = 3 if shape.gated else 1
    width, error = held + _beside_lookup(shape, inner, hole=hole) + inner * shape.dense, 0.01
    if shape.altup:
        # All copies of the hidden state and their predictions at once (gemma-3n-e2b).
        width = max(width, 21 * shape.hidden + 2 * shape.looked_up)
    if shape.active_experts:
        width, error = max(held + _routed(shape, inner), width if shape.dense else 0), 0.09
    if shape.latent:
        width = max(width, _latent_width(shape))
    if shape.top_k or shape.index_heads:
        error = 0.05
    return width, error if shape.recurrent == "none" else 0.12


def _routed(shape: GraphShape, inner: int) -> int:
    """Floats of the routed experts: their output goes where gate and up were, or behind them when it is wider. A gate
    beside them takes a row of its own unless the output leaves room for it (Laguna-S and Step against Laguna-XS)."""
    middle, output = shape.active_experts * shape.expert, shape.active_experts * shape.expert_inner
    gate = shape.hidden if shape.row_beside_experts else 0
    if output <= (inner - 1) * middle:
        return inner * middle + gate
    fits = shape.recurrent != "none" or output >= inner * middle + shape.hidden
    return inner * middle + output + (0 if fits else gate)


def _beside_lookup(shape: GraphShape, inner: int, *, hole: bool) -> int:
    """Per-layer inputs lie beside the hole that their projection left: one inner tensor goes there if it is not wider
    (gemma-4-e4b; not in gemma-4-e2b). Rotations of a quantized cache take the hole first."""
    if not shape.looked_up:
        return 0
    fits = hole and inner > 1 and shape.dense <= shape.looked_up
    return 2 * shape.looked_up - (shape.dense if fits else 0)


def _latent_width(shape: GraphShape) -> int:
    return shape.heads * (3 * shape.latent + shape.rope) + shape.hidden


def _chosen(shape: GraphShape, cells: int) -> int:
    """Positions that the lightning indexer chose: every layer's stay until the end of the graph."""
    return shape.layers * min(shape.top_k, cells)


def _with_indexer(shape: GraphShape, width: int, cells: int, runtime: Runtime) -> int:
    """Floats per token with what a sparse-attention indexer adds: its scores of all cells, and what it chose.

    Found on DeepSeek-V3.2, GLM-5, GLM-5.2 (lightning: within 3 % from 512 to 131,072 cells) and MiniMax-M3 (blocks).
    Scores lie in a hole of the graph until they are wider than it, then beside the experts' output."""
    if not runtime.flash_attention:
        return width
    if shape.top_k:
        chosen = _chosen(shape, cells)
        if cells < 4 * shape.hidden:
            return width + chosen + cells // 2
        wide = max(2 * cells, cells + shape.active_experts * shape.expert_inner) - cells // 2
        return max(width + cells // 2, _latent_width(shape) + wide) + chosen
    if shape.index_heads and cells >= _BLOCK_INDEX_CELLS:
        if runtime.parallel > 1:
            return width + cells
        # A hidden row finds a hole at most lengths, not at 16,384 cells: counted a quarter.
        beside = 5 * shape.hidden + 2 * shape.heads * shape.head_dim + shape.hidden // 4
        scores = 2 * shape.index_heads
        return max(width + (2 * scores - 3) * cells // 2, beside + (scores + 1) * cells)
    return width


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
