"""A random llama-architecture GGUF of any size whose every token is a word, so that each one is streamed at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np

TEMPLATE = (
    "{% for message in messages %}<{{ message['role'] }}> {{ message['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@dataclass(frozen=True)
class Shape:
    """About 12 x layers x width^2 parameters, and the two embeddings."""

    layers: int = 8
    width: int = 1024
    ffn: int = 2816
    heads: int = 16
    vocabulary: int = 8192
    context: int = 8192


def vocabulary(size: int) -> tuple[list[str], list[float], list[int]]:
    """Control tokens, the 256 bytes, letters, then words that no two share."""
    kinds = gguf.TokenType
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    types = [kinds.UNKNOWN, kinds.CONTROL, kinds.CONTROL] + [kinds.BYTE] * 256
    letters = ["▁", *(chr(code) for code in range(ord("a"), ord("z") + 1))]
    words = [f"▁w{index}" for index in range(size - len(tokens) - len(letters))]
    tokens += letters + words
    types += [kinds.NORMAL] * (len(letters) + len(words))
    return tokens, [-float(index) for index in range(len(tokens))], [int(kind) for kind in types]


def write_random_gguf(path: Path, shape: Shape = Shape(), seed: int = 11) -> Path:
    """Write the file with F16 weights and return its path."""
    random = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, "llama")
    _write_keys(writer, shape)

    def add(name: str, *dimensions: int) -> None:
        values = random.standard_normal(dimensions, dtype=np.float32) * np.float32(0.02)
        writer.add_tensor(name, values.astype(np.float16))

    def add_norm(name: str) -> None:
        writer.add_tensor(name, np.ones(shape.width, dtype=np.float32))

    add("token_embd.weight", shape.vocabulary, shape.width)
    add("output.weight", shape.vocabulary, shape.width)
    add_norm("output_norm.weight")
    for layer in range(shape.layers):
        add_norm(f"blk.{layer}.attn_norm.weight")
        add_norm(f"blk.{layer}.ffn_norm.weight")
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            add(f"blk.{layer}.{name}.weight", shape.width, shape.width)
        add(f"blk.{layer}.ffn_gate.weight", shape.ffn, shape.width)
        add(f"blk.{layer}.ffn_up.weight", shape.ffn, shape.width)
        add(f"blk.{layer}.ffn_down.weight", shape.width, shape.ffn)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _write_keys(writer: gguf.GGUFWriter, shape: Shape) -> None:
    tokens, scores, types = vocabulary(shape.vocabulary)
    writer.add_name("random")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.ffn)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(shape.width // shape.heads)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(types)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(TEMPLATE)
