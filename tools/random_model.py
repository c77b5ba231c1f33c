"""GGUF files with random weights, dense or mixture-of-experts, of any size and file type: speed does not depend on the
values. Every token is a word, so that each one is streamed at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type

TEMPLATE = (
    "{% for message in messages %}<{{ message['role'] }}> {{ message['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
FILE_TYPES = {
    "F16": gguf.LlamaFileType.MOSTLY_F16,
    "Q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
    "Q4_K_M": gguf.LlamaFileType.MOSTLY_Q4_K_M,
}
_TILE_BLOCKS = 1 << 14
_SCALE = 0.02  # small values keep the sums of a deep random network finite


@dataclass(frozen=True)
class Shape:
    """`ffn` is the width of the dense layer, or of one expert; `experts` 0 is a dense model."""

    layers: int = 8
    width: int = 1024
    ffn: int = 2816
    heads: int = 16
    kv_heads: int = 16
    experts: int = 0
    active_experts: int = 0
    vocabulary: int = 8192
    context: int = 8192

    @property
    def head_width(self) -> int:
        """Elements of one head."""
        return self.width // self.heads


# A megabyte, mostly words, loaded and answering in about a second.
TINY = Shape(layers=2, width=64, ffn=128, heads=4, kv_heads=4, vocabulary=2048, context=2048)


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


def write_random_model(path: Path, shape: Shape = Shape(), quant: str = "F16", seed: int = 11) -> Path:
    """Write the file, tensor by tensor, and return its path. `quant` is F16, Q8_0 or Q4_K_M."""
    architecture = "qwen3moe" if shape.experts else "llama"
    writer = gguf.GGUFWriter(path, architecture)
    _write_keys(writer, shape, quant)
    filler = _Filler(np.random.default_rng(seed))
    tensors = [(name, dimensions, _type(name, dimensions, shape, quant)) for name, dimensions in _tensors(shape)]
    for name, dimensions, kind in tensors:
        block, size = gguf.GGML_QUANT_SIZES[kind]
        count = int(np.prod(dimensions))
        writer.add_tensor_info(name, dimensions, np.dtype(np.float16), count // block * size, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for _, dimensions, kind in tensors:
        writer.write_tensor_data(filler.blocks(kind, int(np.prod(dimensions))))
    writer.close()
    return path


def _tensors(shape: Shape) -> Iterator[tuple[str, tuple[int, ...]]]:
    width, kv_width = shape.width, shape.kv_heads * shape.head_width
    yield "token_embd.weight", (shape.vocabulary, width)
    yield "output_norm.weight", (width,)
    yield "output.weight", (shape.vocabulary, width)
    for layer in range(shape.layers):
        names: dict[str, tuple[int, ...]] = {
            "attn_norm": (width,),
            "attn_q": (width, width),
            "attn_k": (kv_width, width),
            "attn_v": (kv_width, width),
            "attn_output": (width, width),
            "ffn_norm": (width,),
        }
        if shape.experts:
            names |= {
                "attn_q_norm": (shape.head_width,),
                "attn_k_norm": (shape.head_width,),
                "ffn_gate_inp": (shape.experts, width),
                "ffn_gate_exps": (shape.experts, shape.ffn, width),
                "ffn_up_exps": (shape.experts, shape.ffn, width),
                "ffn_down_exps": (shape.experts, width, shape.ffn),
            }
        else:
            names |= {"ffn_gate": (shape.ffn, width), "ffn_up": (shape.ffn, width), "ffn_down": (width, shape.ffn)}
        for name, dimensions in names.items():
            yield f"blk.{layer}.{name}.weight", dimensions


def _type(name: str, dimensions: tuple[int, ...], shape: Shape, quant: str) -> Type:
    """The block type that llama-quantize gives the tensor (`llama_tensor_get_type`, llama.cpp's llama-quant.cpp)."""
    if len(dimensions) == 1 or "ffn_gate_inp" in name:
        return Type.F32
    if quant != "Q4_K_M":
        return Type[quant]
    if name == "output.weight":
        return Type.Q6_K
    if "attn_v" in name or "ffn_down" in name:
        layer, eighth = int(name.split(".")[1]), shape.layers // 8
        more = layer < eighth or layer >= 7 * shape.layers // 8 or (layer - eighth) % 3 == 2
        return Type.Q6_K if more else Type.Q4_K
    return Type.Q4_K


class _Filler:
    """Blocks of each type, drawn once and repeated: random numbers, and scales that are small and finite."""

    def __init__(self, random: np.random.Generator) -> None:
        self._random = random
        self._tiles: dict[Type, np.ndarray] = {}

    def blocks(self, kind: Type, elements: int) -> np.ndarray:
        """So many elements as the bytes of a tensor."""
        if kind == Type.F32:  # norms and routers
            return np.ones(elements, dtype=np.float32)
        block, size = gguf.GGML_QUANT_SIZES[kind]
        if kind not in self._tiles:
            self._tiles[kind] = self._tile(kind, size).reshape(-1)
        return np.resize(self._tiles[kind], elements // block * size)

    def _tile(self, kind: Type, size: int) -> np.ndarray:
        if kind == Type.F16:
            values = self._random.standard_normal(_TILE_BLOCKS * 256, dtype=np.float32) * _SCALE
            return values.astype(np.float16).view(np.uint8)
        tile = self._random.integers(0, 256, (_TILE_BLOCKS, size), dtype=np.uint8)
        # where a block keeps its scales (d, and dmin of Q4_K), and how large the whole numbers behind them get
        places, largest = {Type.Q8_0: ((0,), 127), Type.Q4_K: ((0, 2), 15 * 63), Type.Q6_K: ((208,), 32 * 127)}[kind]
        scale = np.array([3 * _SCALE / largest], dtype=np.float16).view(np.uint8)
        for place in places:
            tile[:, place : place + 2] = scale
        return tile


def _write_keys(writer: gguf.GGUFWriter, shape: Shape, quant: str) -> None:
    tokens, scores, types = vocabulary(shape.vocabulary)
    writer.add_name("random")
    writer.add_file_type(FILE_TYPES[quant])
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.ffn)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(shape.head_width)
    if shape.experts:
        writer.add_expert_count(shape.experts)
        writer.add_expert_used_count(shape.active_experts)
        writer.add_expert_feed_forward_length(shape.ffn)
        writer.add_key_length(shape.head_width)
        writer.add_value_length(shape.head_width)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(types)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(TEMPLATE)
