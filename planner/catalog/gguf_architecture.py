"""The shapes of a model from the metadata of its GGUF file. Keys: llama.cpp gguf-py/gguf/constants.py."""

from __future__ import annotations

from planner.catalog.gguf_file import GgufHeader, Skipped
from planner.catalog.layer_pattern import full_every, layer_pattern
from planner.catalog.model_families import GGUF_OF_CLASS, IMPLIED_LAYERS
from planner.catalog.records.architecture import Architecture, Indexer, Linear, Mamba, Mla, Moe
from planner.errors import ModelFileError

_DELTA_NET = frozenset({"qwen3next", "qwen35", "qwen35moe", "qwen4exp"})
_KDA = frozenset({"kimi-linear", "kimi-k3", "bailingmoe3", "glm5-next"})
_KNOWN = frozenset(GGUF_OF_CLASS.values())
_MAMBA = frozenset({"granitehybrid", "nemotron_h", "nemotron_h_moe", "falcon-h1"})


class Keys:
    """The metadata of one architecture: `block_count` stands for `llama.block_count`."""

    def __init__(self, header: GgufHeader, name: str) -> None:
        self.header = header
        self.name = name
        found = header.metadata.get("general.architecture")
        if not isinstance(found, str) or not found:
            raise ModelFileError(f"{name}: general.architecture: missing")
        if not found.isprintable() or len(found) > 64:
            raise ModelFileError(f"{name}: general.architecture: {found[:64]!r} is no name")
        self.architecture = found

    def has(self, key: str) -> bool:
        """Whether the key is there."""
        return f"{self.architecture}.{key}" in self.header.metadata

    def per_layer(self, key: str) -> tuple[int, ...]:
        """One value per layer, or a single one for all. Raises ModelFileError for anything but whole numbers."""
        full = f"{self.architecture}.{key}"
        value = self.header.metadata.get(full, ())
        values = value if isinstance(value, tuple) and not isinstance(value, Skipped) else (value,)
        if not all(isinstance(each, int) and 0 <= each < 1 << 40 for each in values):
            raise ModelFileError(f"{self.name}: {full}: expected a whole number, found {value!r:.60}")
        return tuple(int(each) for each in values if isinstance(each, int))

    def number(self, key: str) -> int | None:
        """The value, the largest of a list per layer (a 0 there marks a layer without); None when absent."""
        return max(self.per_layer(key), default=None)

    def required(self, key: str) -> int:
        """As `number`, raises ModelFileError when it is absent or 0."""
        value = self.number(key)
        if not value:
            raise ModelFileError(f"{self.name}: {self.architecture}.{key}: missing")
        return value


def gguf_architecture(header: GgufHeader, name: str) -> Architecture:
    """The architecture of a GGUF header. Raises ModelFileError naming the key that is missing or wrong."""
    keys = Keys(header, name)
    predicted = keys.number("nextn_predict_layers") or 0
    layers = keys.required("block_count") - predicted
    if predicted > 100:
        raise ModelFileError(f"{name}: {keys.architecture}.nextn_predict_layers: {predicted} layers cannot be")
    if not 0 < layers <= 10_000:
        raise ModelFileError(f"{name}: {keys.architecture}.block_count: {layers + predicted} layers cannot be")
    hidden = keys.required("embedding_length")
    heads = keys.number("attention.head_count") or None
    mla = _mla(keys)
    kinds = _layer_kinds(keys, layers)
    if not heads and keys.architecture in _KNOWN and {"full", "sliding", "chunked", "parallel"} & set(kinds):
        raise ModelFileError(f"{name}: {keys.architecture}.attention.head_count: missing")
    windowed = any("sliding" in kind or "chunked" in kind for kind in kinds)
    head_dim = keys.number("attention.key_length") or (hidden // heads if heads else None)
    value_dim = keys.number("attention.value_length")
    return Architecture(
        gguf=keys.architecture,
        layers=layers,
        hidden_size=hidden,
        vocabulary_size=_vocabulary(keys),
        intermediate_size=keys.number("feed_forward_length") or None,
        heads=heads,
        kv_heads=None if mla else _full_layers_max(keys, kinds, "attention.head_count_kv") or heads,
        head_dim=None if mla else head_dim,
        v_head_dim=value_dim if not mla and value_dim not in (None, head_dim) else None,
        tied_embeddings=_tied(header),
        layer_kinds=layer_pattern(kinds),
        window=(keys.number("attention.sliding_window") or keys.number("attention.chunk_size")) if windowed else None,
        sliding_kv_heads=_sliding_kv_heads(keys, kinds),
        sliding_head_dim=keys.number("attention.key_length_swa"),
        kv_shared_layers=keys.number("attention.shared_kv_layers") or 0,
        mla=mla,
        indexer=_indexer(keys),
        linear=_linear(keys),
        mamba=_mamba(keys),
        conv_cache=keys.number("shortconv.l_cache"),
        moe=_moe(keys),
        mtp_layers=predicted,
        traits=("rope_freqs",) if any(tensor.name == "rope_freqs.weight" for tensor in header.tensors) else (),
    )


def _vocabulary(keys: Keys) -> int:
    """Rows of the embedding; a file with the tensors left out says it by its token list or its own key."""
    for tensor in keys.header.tensors:
        if tensor.name == "token_embd.weight" and len(tensor.shape) > 1:
            return tensor.shape[1]
    tokens = keys.header.metadata.get("tokenizer.ggml.tokens")
    return tokens.elements if isinstance(tokens, Skipped) else keys.required("vocab_size")


def _tied(header: GgufHeader) -> bool:
    """No output matrix of its own: the embedding serves as one."""
    names = {tensor.name for tensor in header.tensors}
    return "token_embd.weight" in names and "output.weight" not in names


def _layer_kinds(keys: Keys, layers: int) -> list[str]:
    """What each layer keeps: per-layer lists first, then the family's pattern."""
    kv_heads = keys.per_layer("attention.head_count_kv")
    if len(kv_heads) >= layers and 0 in kv_heads:
        return [_attention_free(keys, index) if heads == 0 else "full" for index, heads in enumerate(kv_heads[:layers])]
    named = keys.per_layer("attention.sliding_window_pattern")
    if len(named) >= layers:
        return ["sliding" if flag else "full" for flag in named[:layers]]
    period = IMPLIED_LAYERS.get(keys.architecture, ("full",))
    if "sliding" in period and not keys.number("attention.sliding_window"):
        return ["full"] * layers
    interval = keys.number("full_attention_interval") or (named[0] if len(named) == 1 else None)
    if interval and len(period) > 1:
        return full_every(interval, period[0], layers)
    return [period[index % len(period)] for index in range(layers)]


def _attention_free(keys: Keys, index: int) -> str:
    if keys.has("shortconv.l_cache"):
        return "conv"
    if keys.architecture in _KDA | _DELTA_NET:
        return "linear"
    widths = keys.per_layer("feed_forward_length")
    if keys.architecture.startswith("nemotron_h") and index < len(widths) and widths[index]:
        return "moe" if keys.number("expert_count") else "mlp"
    return "mamba" if keys.has("ssm.state_size") else "none"


def _full_layers_max(keys: Keys, kinds: list[str], key: str) -> int | None:
    """Per-layer lists differ between sliding and full layers: the value of a full one."""
    values = keys.per_layer(key)
    if len(values) < len(kinds):
        return keys.number(key)
    return max((value for value, kind in zip(values, kinds, strict=False) if kind != "sliding"), default=None)


def _sliding_kv_heads(keys: Keys, kinds: list[str]) -> int | None:
    values = keys.per_layer("attention.head_count_kv")
    if len(values) < len(kinds):
        return None
    sliding = max((value for value, kind in zip(values, kinds, strict=False) if kind == "sliding"), default=None)
    return None if sliding == _full_layers_max(keys, kinds, "attention.head_count_kv") else sliding


def _mla(keys: Keys) -> Mla | None:
    rank = keys.number("attention.kv_lora_rank")
    if not rank:
        return None
    rope = keys.number("rope.dimension_count") or 0
    whole = keys.number("attention.key_length_mla") or keys.required("attention.key_length")
    value = keys.number("attention.value_length_mla") or keys.required("attention.value_length")
    if whole < rope:
        raise ModelFileError(
            f"{keys.name}: {keys.architecture}.attention.key_length: {whole} is less than rope's {rope}"
        )
    return Mla(
        kv_lora_rank=rank,
        nope_head_dim=whole - rope,
        rope_head_dim=rope,
        v_head_dim=value,
        q_lora_rank=keys.number("attention.q_lora_rank") or None,
    )


def _indexer(keys: Keys) -> Indexer | None:
    heads = keys.number("attention.indexer.head_count")
    if not heads:
        return None
    return Indexer(
        heads=heads,
        head_dim=keys.required("attention.indexer.key_length"),
        top_k=keys.number("attention.indexer.top_k"),
    )


def _linear(keys: Keys) -> Linear | None:
    """Delta-net layers reuse the state-space keys: group_count key heads, time_step_rank value heads."""
    if keys.architecture in _DELTA_NET and keys.has("ssm.inner_size"):
        value_heads = keys.required("ssm.time_step_rank")
        return Linear(
            kind="gated_delta_net",
            key_heads=keys.required("ssm.group_count"),
            value_heads=value_heads,
            key_head_dim=keys.required("ssm.state_size"),
            value_head_dim=keys.required("ssm.inner_size") // value_heads,
            conv_kernel=keys.number("ssm.conv_kernel"),
        )
    if keys.architecture in _KDA and keys.has("kda.head_dim"):
        heads, width = keys.required("attention.head_count"), keys.required("kda.head_dim")
        return Linear(
            kind="kda",
            key_heads=heads,
            value_heads=heads,
            key_head_dim=width,
            value_head_dim=width,
            conv_kernel=keys.number("ssm.conv_kernel"),
        )
    return None


def _mamba(keys: Keys) -> Mamba | None:
    if keys.architecture not in _MAMBA or not keys.number("ssm.time_step_rank"):
        return None
    heads = keys.required("ssm.time_step_rank")
    return Mamba(
        heads=heads,
        head_dim=keys.required("ssm.inner_size") // heads,
        groups=keys.number("ssm.group_count") or 1,
        state_size=keys.required("ssm.state_size"),
        conv_kernel=keys.required("ssm.conv_kernel"),
    )


def _moe(keys: Keys) -> Moe | None:
    experts = keys.number("expert_count")
    if not experts:
        return None
    width = keys.number("expert_feed_forward_length") or keys.required("feed_forward_length")
    shared_width = keys.number("expert_shared_feed_forward_length")
    shared = keys.number("expert_shared_count") or (1 if shared_width else 0)
    return Moe(
        experts=experts,
        active=keys.required("expert_used_count"),
        intermediate_size=width,
        shared_experts=shared,
        shared_intermediate_size=shared_width or (shared * width if shared else None),
        dense_layers=keys.number("leading_dense_block_count") or 0,
        every=keys.number("interleave_moe_layer_step") or 1,
    )
