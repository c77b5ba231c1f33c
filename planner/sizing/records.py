"""Records of the sizing floor: tensor groups, what layers keep, placements, pools, footprints."""

from enum import StrEnum
from typing import Literal, dataclass_transform

import msgspec


# Annotations of records that are decoded stay values: as text, msgspec would compile each anew at every start.
@dataclass_transform(frozen_default=True, kw_only_default=True)
class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A frozen, strict, keyword-only record."""


class Role(StrEnum):
    """What a tensor does. Everything about placement, speed and quantization keys on it and on the name."""

    EMBEDDING = "embedding"
    OUTPUT = "output"
    ATTENTION = "attention"
    FFN = "ffn"
    EXPERT = "expert"
    SHARED_EXPERT = "shared_expert"
    ROUTER = "router"
    NORM = "norm"
    STATE = "state"
    LOOKUP = "lookup"
    VISION = "vision"
    AUDIO = "audio"
    MTP = "mtp"
    OTHER = "other"


class TensorGroup(Record, kw_only=True):
    """Equal tensors of several layers.

    `name` is the GGUF name with `{layer}` for the block number, `hf_name` the checkpoint's; `shape` is in ggml order
    (`shape[0]` = row length, ne0; an expert tensor has the expert count last). `layers` holds the block
    numbers, empty for a tensor outside the blocks. `stored` False: derived at conversion (rope tables), not in the
    checkpoint; `gguf` False: not in the GGUF file of the text model (vision, duplicate heads). `mtp` marks tensors of
    next-token-prediction layers; `fixed_type` a tensor type that no recipe changes."""

    role: Role
    name: str
    hf_name: str | None = None
    shape: tuple[int, ...]
    layers: tuple[int, ...] = ()
    stored: bool = True
    gguf: bool = True
    mtp: bool = False
    fixed_type: str | None = None

    @property
    def elements(self) -> int:
        """Elements of one tensor."""
        total = 1
        for size in self.shape:
            total *= size
        return total

    @property
    def count(self) -> int:
        """How many such tensors there are."""
        return len(self.layers) or 1

    @property
    def total_elements(self) -> int:
        """Elements of all of them."""
        return self.elements * self.count


class LayerCache(Record):
    """What `layers` blocks keep per sequence.

    `full` and `window`: per token k_width + v_width elements (MLA: k_width = latent + rope, v_width = 0), window layers
    at most `window` tokens. `heads` is the number of KV heads behind the width (1 for MLA), which tensor
    parallelism divides.
    `recurrent`: `conv_elements` + `state_elements` F32 values, independent of context.
    `compress`: tokens stored once per that many (compressed attention). `indexer_width`: elements per token of a sparse
    attention's index keys, which choose `indexer_top_k` tokens (or blocks) by `indexer_heads` scores each."""

    kind: Literal["full", "window", "recurrent"]
    layers: tuple[int, ...]
    k_width: int = 0
    v_width: int = 0
    heads: int = 1
    window: int | None = None
    conv_elements: int = 0
    state_elements: int = 0
    mla: bool = False
    compress: int = 1
    indexer_width: int = 0
    indexer_top_k: int = 0
    indexer_heads: int = 0


class ModelShape(Record, kw_only=True):
    """What sizing and speed need to know of a model beside its tensors. Counts of parameters are in elements.
    `active_parameters` are touched per text token (embedding included), `read_parameters` streamed per decoded
    token (the untied input embedding and lookup tables excluded)."""

    id: str
    gguf_architecture: str | None
    layers: int
    hidden_size: int
    vocabulary_size: int
    intermediate_size: int
    heads: int
    kv_heads: int
    head_dim: int
    experts: int = 0
    active_experts: int = 0
    expert_intermediate_size: int = 0
    moe_layers: int = 0
    tied_embeddings: bool = False
    mtp_layers: int = 0
    total_parameters: int
    stored_parameters: int
    active_parameters: int
    read_parameters: int
    expert_parameters: int = 0
    estimate_note: str | None = None


class ExpandedModel(Record):
    """A model as tensor groups and per-layer caches: the one source of every byte."""

    shape: ModelShape
    groups: tuple[TensorGroup, ...]
    caches: tuple[LayerCache, ...]
    notes: tuple[str, ...] = ()


class KvType(Record):
    """Cache types of keys and values (`f16`, `bf16`, `q8_0`, `fp8`, ...)."""

    k: str = "f16"
    v: str = "f16"

    @property
    def label(self) -> str:
        """`q8_0`, or `q8_0,f16` when keys and values differ."""
        return self.k if self.k == self.v else f"{self.k},{self.v}"


class Runtime(Record):
    """How a model is run, as far as memory depends on it. `context_tokens` is what one user gets."""

    context_tokens: int
    parallel: int = 1
    kv_type: KvType = KvType()
    ubatch: int = 512
    batch: int = 2048
    flash_attention: bool = True
    kv_unified: bool = False
    swa_full: bool = False


class Allocation(Record):
    """A server's memory rules. `policy` selects how caches are laid out, `buffers` how work buffers are estimated.
    `device_overhead_bytes` is per GPU; `batch_tokens` the tokens of one step where the server sets them itself."""

    policy: Literal["llama.cpp", "vllm", "mlx"]
    buffers: Literal["llama.cpp", "vllm", "mlx"]
    device_overhead_bytes: int = 0
    device_overhead_source: str = "assumed"
    gpu_memory_fraction: float | None = None
    batch_tokens: int | None = None


class Part(Record):
    """One named share of a footprint; `basis` says how the figure came about."""

    name: str
    bytes: int
    basis: Literal["exact", "measured", "fitted", "assumed"]
    error_fraction: float = 0.0
    note: str | None = None


class Pool(Record):
    """A memory of the machine. `usable_bytes`: capacity less driver reserve, limits and reserved pages (headroom is
    the planner's). `gpu` is the index in `Hardware.gpus`, `node` the NUMA node id."""

    id: str
    kind: Literal["gpu", "ram", "unified"]
    capacity_bytes: int
    usable_bytes: int
    free_bytes: int | None = None
    bandwidth_bytes_per_s: float | None = None
    gpu: int | None = None
    node: int | None = None
    nodes: tuple[int, ...] = ()


class Placement(Record):
    """Where a model lies: an intent that `sizing.pools` turns into bytes per pool.

    `gpus`: indexes used (empty = CPU). `gpu_layers`: blocks whose weights and cache lie on GPUs (None = all, output
    included). `cpu_expert_layers`: blocks whose routed experts stay in RAM. `tensor_parallel`: degree over `gpus`;
    otherwise layers are split over them. `numa`: how RAM is used, over `numa_nodes`; `instances`: copies, one per
    node."""

    kind: Literal["gpu", "cpu", "split", "experts-in-ram", "tensor-parallel", "multi-gpu", "unified"]
    gpus: tuple[int, ...] = ()
    gpu_layers: int | None = None
    cpu_expert_layers: int = 0
    tensor_parallel: int = 1
    numa: Literal["none", "bind", "interleave"] = "none"
    numa_nodes: tuple[int, ...] = ()
    instances: int = 1
    text: str = ""


class PoolUse(Record):
    """What lies in one pool, and what of it one decoded token reads there.

    `dense_read_bytes`: non-expert weights read per token; `expert_read_bytes`: routed experts read per token at
    batch 1; `expert_bytes`: routed experts resident. `layers`: blocks computed from this pool."""

    pool: str
    weights_bytes: int = 0
    kv_cache_bytes: int = 0
    state_bytes: int = 0
    compute_bytes: int = 0
    overhead_bytes: int = 0
    dense_read_bytes: int = 0
    expert_read_bytes: int = 0
    expert_bytes: int = 0
    layers: int = 0
    cache_share: float = 0.0

    @property
    def total_bytes(self) -> int:
        """Everything that must fit in the pool."""
        return self.weights_bytes + self.kv_cache_bytes + self.state_bytes + self.compute_bytes + self.overhead_bytes


class Footprint(Record):
    """Memory of one model under one runtime. `weights_bytes` is what is loaded, `file_bytes` the artifact,
    `tensor_bytes` all tensors in it. `kv_bytes_per_token` is the growing part, per sequence."""

    model: str
    quant: str
    server: str
    file_bytes: int
    tensor_bytes: int
    weights_bytes: int
    kv_cache_bytes: int
    state_bytes: int
    compute_bytes: int
    overhead_bytes: int
    bits_per_weight: float
    read_bytes_per_token: int
    kv_bytes_per_token: int
    parts: tuple[Part, ...] = ()
    pools: tuple[PoolUse, ...] = ()
    context_tokens: int = 0
    parallel: int = 1
    notes: tuple[str, ...] = ()

    @property
    def total_bytes(self) -> int:
        """Weights, caches, state, work buffers and overhead."""
        return self.weights_bytes + self.kv_cache_bytes + self.state_bytes + self.compute_bytes + self.overhead_bytes
