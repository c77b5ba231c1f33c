"""What surrounds the blocks: embeddings, output, rope tables, and the norms of every block."""

from __future__ import annotations

from planner.sizing.records import Role
from planner.sizing.tensors.blueprint import Blueprint, Parts


def embeddings(plan: Blueprint, parts: Parts) -> None:
    """Input embedding, output norm, and the output head where it is not the embedding itself."""
    arch = plan.arch
    rows = arch.vocabulary_size + arch.extras.get("more_embeddings", 0)
    parts.single(Role.EMBEDDING, "token_embd.weight", (arch.hidden_size, rows))
    if plan.has("output_norm_is_embedding_norm"):
        parts.single(Role.NORM, "token_embd_norm.weight", (arch.hidden_size,))
    elif not plan.has("gated_residuals"):
        parts.single(Role.NORM, "output_norm.weight", (arch.hidden_size,))
    if not arch.tied_embeddings:
        parts.single(Role.OUTPUT, "output.weight", (arch.hidden_size, arch.vocabulary_size))


def rope_tables(plan: Blueprint, parts: Parts) -> None:
    """Rotary tables that the GGUF conversion writes and no checkpoint stores (Llama 3 scaling, LongRoPE)."""
    rotated = plan.arch.extras.get("rope_dimensions") or plan.head_dim("full")
    if plan.has("rope_freqs"):
        parts.single(Role.OTHER, "rope_freqs.weight", (rotated // 2,), stored=False)
    if plan.has("rope_factors"):
        for span in ("long", "short"):
            parts.single(Role.OTHER, f"rope_factors_{span}.weight", (rotated // 2,), stored=False)


def block_norms(plan: Blueprint, parts: Parts) -> None:
    """The norms before and after the two halves of each block. Families differ in how many there are and in
    what llama.cpp calls the one before the feed-forward part."""
    width, every = (plan.arch.hidden_size,), plan.every_layer
    if plan.has("gated_residuals"):
        names = []
    elif plan.has("post_norm"):
        names = ["post_attention_norm", "post_ffw_norm"]
    elif plan.has("sandwich_norm"):
        names = ["attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"]
    elif plan.has("one_norm"):
        names = ["attn_norm"]
    elif plan.has("ffn_norm_is_post_attention"):
        names = ["attn_norm", "post_attention_norm"]
    else:
        names = ["attn_norm", "ffn_norm"]
    for name in names:
        bare = name == "ffn_norm" and plan.has("bare_ffn_norm")
        parts.block(Role.NORM, name if bare else f"{name}.weight", width, every)


def prediction(plan: Blueprint, parts: Parts) -> None:
    """What next-token-prediction layers have beside a block: a projection of embedding and hidden state joined,
    their norms, and in some checkpoints copies of embedding and head."""
    arch, layers = plan.arch, plan.mtp_starts
    hidden = arch.hidden_size
    parts.block(Role.MTP, "nextn.eh_proj.weight", (2 * hidden, hidden), layers)
    names = ["enorm", "hnorm"] + ([] if plan.has("mtp_no_head_norm") else ["shared_head_norm"])
    for name in names:
        parts.block(Role.MTP, f"nextn.{name}.weight", (hidden,), layers)
    table = (hidden, arch.vocabulary_size)
    if plan.has("mtp_embeddings"):
        parts.block(Role.MTP, "nextn.embed_tokens.weight", table, layers)
    if plan.has("mtp_embeddings") or plan.has("mtp_head"):
        parts.block(Role.MTP, "nextn.shared_head_head.weight", table, layers)
