"""The sparse-attention indexer of a Hugging Face config: which layers own one, and its width."""

from __future__ import annotations

from planner.catalog.config_file import Config
from planner.catalog.records.architecture import Indexer


def hf_indexer(config: Config, layers: int) -> Indexer | None:
    """DeepSeek's keys, or MiniMax-M3's `sparse_attention_config`. Raises ModelFileError naming the missing key."""
    sparse = config.get("sparse_attention_config")
    if isinstance(sparse, dict):
        inner = Config(sparse, f"{config.name}: sparse_attention_config")
        owning = sum(1 for flag in inner.numbers("sparse_attention_freq")[:layers] if flag)
        return Indexer(
            heads=inner.required("sparse_num_index_heads"),
            head_dim=inner.required("sparse_index_dim"),
            top_k=inner.number("sparse_topk_blocks"),
            layers=owning or None,
        )
    heads = config.number("index_n_heads")
    if not heads:
        return None
    own = config.names("indexer_types")[:layers].count("full")
    return Indexer(
        heads=heads, head_dim=config.required("index_head_dim"), top_k=config.number("index_topk"), layers=own or None
    )
