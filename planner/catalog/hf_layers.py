"""What each layer of a Hugging Face model keeps, from the many ways in which configs say it."""

from __future__ import annotations

from planner.catalog.config_file import Config
from planner.catalog.layer_pattern import full_every
from planner.catalog.model_families import IMPLIED_LAYERS, WINDOW_IGNORED
from planner.errors import ModelFileError

_KINDS = {
    "full_attention": "full",
    "deepseek_sparse_attention": "full",
    "attention": "full",
    "sliding_attention": "sliding",
    "chunked_attention": "chunked",
    "linear_attention": "linear",
    "conv": "conv",
    "short_conv": "conv",
    "mamba": "mamba",
    "mamba2": "mamba",
    "hybrid": "parallel",
    "moe": "moe",
    "mlp": "mlp",
}
# DeepSeek-V4's `compress_ratios`: tokens stored once per that many, 0 for a window.
_COMPRESSED = {0: "sliding", 4: "compressed", 128: "heavily_compressed"}
_NEMOTRON = {"M": "mamba", "*": "full", "-": "mlp", "E": "moe"}


def layer_kinds(config: Config, gguf: str | None, layers: int) -> list[str]:
    """One kind per layer. Raises ModelFileError for a kind that is not known."""
    if gguf in WINDOW_IGNORED and not config.flag("use_sliding_window"):
        return ["full"] * layers
    stated = _listed(config, gguf) or _by_index(config, layers)
    if stated and len(stated) < layers:
        raise ModelFileError(f"{config.name}: layer_types: {len(stated)} entries for {layers} layers")
    if stated:
        return stated[:layers]
    kinds = _periodic(config, gguf, layers)
    if "sliding" in kinds and not config.number("sliding_window", "sliding_window_size"):
        return ["full"] * layers
    return kinds


def _listed(config: Config, gguf: str | None) -> list[str]:
    """`layer_types`, Nemotron's letters, MiMo's ones and zeros."""
    types = config.names("layer_types") or config.names("layers_block_type")
    if types:
        return [_kind(config, word, gguf) for word in types]
    ratios = config.numbers("compress_ratios")
    if ratios and set(ratios) <= set(_COMPRESSED):
        return [_COMPRESSED[ratio] for ratio in ratios]
    letters = config.get("hybrid_override_pattern")
    if isinstance(letters, str):
        return [_NEMOTRON[letter] for letter in letters if letter in _NEMOTRON]
    return ["sliding" if flag else "full" for flag in config.numbers("hybrid_layer_pattern")]


def stated_count(config: Config) -> int:
    """How many layers the lists of kinds describe; 0 without such a list."""
    return len(config.names("layers_block_type") or config.names("layer_types"))


def _kind(config: Config, word: str, gguf: str | None) -> str:
    """A kind that nobody knows, of a class that nobody knows, is taken as full attention: the most that it can keep."""
    if word not in _KINDS and gguf is None:
        return "full"
    if word not in _KINDS:
        raise ModelFileError(f"{config.name}: layer_types: unknown kind {word!r}", hint=f"known: {', '.join(_KINDS)}")
    return _KINDS[word]


def _by_index(config: Config, layers: int) -> list[str]:
    """Lists of the layers that differ: LFM2's attention, Llama vision's cross attention, Kimi's full ones (from 1)."""
    full = config.numbers("full_attn_idxs")
    if full:
        return ["full" if index in full else "conv" for index in range(layers)]
    crossing = config.numbers("cross_attention_layers")
    if crossing:
        return ["cross" if index in crossing else "full" for index in range(layers)]
    blocks = config.get("block_configs")
    if isinstance(blocks, list):
        return ["full" if _attends(block) else "none" for block in blocks]
    linear = config.get("linear_attn_config")
    if isinstance(linear, dict) and isinstance(linear.get("full_attn_layers"), list):
        return ["full" if index + 1 in linear["full_attn_layers"] else "linear" for index in range(layers)]
    return []


def _attends(block: object) -> bool:
    """One layer of DeciLM's `block_configs`."""
    attention = block.get("attention") if isinstance(block, dict) else None
    return isinstance(attention, dict) and isinstance(attention.get("n_heads_in_group"), int)


def _periodic(config: Config, gguf: str | None, layers: int) -> list[str]:
    """The family's pattern, with the length that the config gives it."""
    period = IMPLIED_LAYERS.get(gguf or "", ("full",))
    letters = config.get("sliding_window_pattern")
    if isinstance(letters, str):
        if not letters or set(letters) - {"L", "G"}:
            raise ModelFileError(f"{config.name}: sliding_window_pattern: expected L and G, found {letters!r:.60}")
        period = tuple("sliding" if letter == "L" else "full" for letter in letters)
    else:
        keys = ("full_attention_interval", "sliding_window_pattern", "global_attn_every_n_layers", "layer_group_size")
        interval = config.number(*keys)
        if interval and len(period) > 1 and period[-1] == "full":
            return full_every(interval, period[0], layers)
    return [period[index % len(period)] for index in range(layers)]
