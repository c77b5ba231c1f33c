"""The mixture of experts of a Hugging Face config, from the names that each family gave its numbers."""

from __future__ import annotations

from planner.catalog.config_file import Config
from planner.catalog.records.architecture import Moe

_EXPERTS = ("num_experts", "n_routed_experts", "num_local_experts", "moe_num_experts")
_ACTIVE = (
    "num_experts_per_tok",
    "num_experts_per_token",
    "experts_per_token",
    "moe_k",
    "moe_topk",
    "moe_top_k",
    "top_k_experts",
)
_WIDTH = ("moe_intermediate_size", "expert_intermediate_size", "intermediate_size")
_SHARED = ("n_shared_experts", "num_shared_experts", "moe_num_shared_experts", "num_shared_expert")
_SHARED_WIDTH = (
    "shared_expert_intermediate_size",
    "moe_shared_expert_intermediate_size",
    "share_expert_dim",
    "shared_intermediate_size",
)
_DENSE = ("first_k_dense_replace", "num_dense_layers", "moe_layer_start_index")


def mixture(config: Config, gguf: str | None, layers: int) -> Moe | None:
    """The experts, None for a dense model. Raises ModelFileError naming the key that is missing."""
    experts = config.number(*_EXPERTS)
    if not experts or experts < 2:
        return None
    width = config.required(*_WIDTH)
    shared, shared_width = _shared(config, gguf, width)
    dense, stated = _expert_layers(config, layers)
    return Moe(
        experts=experts,
        active=config.required(*_ACTIVE),
        intermediate_size=width,
        shared_experts=shared,
        shared_intermediate_size=shared_width,
        dense_layers=dense,
        every=config.number("interleave_moe_layer_step", "decoder_sparse_step") or 1,
        layers=stated,
        router_latent_size=config.number("moe_latent_size", "routed_expert_hidden_size"),
    )


def _shared(config: Config, gguf: str | None, width: int) -> tuple[int, int | None]:
    """How many shared experts, and the width of all of them together."""
    together = config.number(*_SHARED_WIDTH)
    count = config.number(*_SHARED) or (1 if together else 0)
    if gguf == "llama4":  # the model class has one, the config no key for it
        count = 1
    return count, together or (count * width if count else None)


def _expert_layers(config: Config, layers: int) -> tuple[int, tuple[int, ...] | None]:
    """Dense layers at the start, and the expert layers by number where that does not tell."""
    dense = config.number(*_DENSE) or 0
    named = config.numbers("moe_layers_enum")
    flags = config.numbers("moe_layer_freq")
    if len(flags) >= layers:
        named = tuple(index for index, flag in enumerate(flags[:layers]) if flag)
    without = config.numbers("mlp_only_layers")
    if without:
        named = tuple(index for index in range(layers) if index not in without)
    if named and named == tuple(range(named[0], layers)):
        return named[0], None
    return (0, named) if named else (dense, None)
