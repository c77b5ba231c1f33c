"""A random MLX model as a converter leaves it: Llama's tensors in 4 bits, its config.json and a tokenizer of bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tools.random_model import TEMPLATE, TINY, Shape

BITS, GROUP = 4, 64
SPECIAL = ("<unk>", "<s>", "</s>")
DTYPES = {np.dtype(np.uint32): "U32", np.dtype(np.float16): "F16"}
_SCALE = 0.02


def write_random_mlx(folder: Path, shape: Shape = TINY, seed: int = 11) -> Path:
    """Write the model's folder and return it."""
    folder.mkdir(parents=True)
    documents = {"config": _config(shape), "tokenizer": _tokenizer(), "tokenizer_config": _tokenizer_config()}
    for name, document in documents.items():
        (folder / f"{name}.json").write_text(json.dumps(document))
    random = np.random.default_rng(seed)
    _write_safetensors(folder / "model.safetensors", dict(_tensors(shape, random)))
    return folder


def _config(shape: Shape) -> dict[str, object]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": shape.width,
        "intermediate_size": shape.ffn,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "rms_norm_eps": 1e-5,
        "vocab_size": shape.vocabulary,
        "max_position_embeddings": shape.context,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        "bos_token_id": SPECIAL.index("<s>"),
        "eos_token_id": SPECIAL.index("</s>"),
        "quantization": {"bits": BITS, "group_size": GROUP},
    }


def _tokenizer() -> dict[str, object]:
    """Byte-level BPE without merges: one token a byte, under the letters that GPT-2's table shows bytes as."""
    shown = [byte for byte in range(256) if chr(byte).isprintable() and byte != ord(" ")]
    letters = [chr(byte) for byte in shown] + [chr(256 + number) for number in range(256 - len(shown))]
    tokens = [*SPECIAL, *letters]
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    bytes_ = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "added_tokens": [{"id": n, "content": word, "special": True} | flags for n, word in enumerate(SPECIAL)],
        "pre_tokenizer": bytes_,
        "decoder": bytes_,
        "model": {"type": "BPE", "vocab": {token: number for number, token in enumerate(tokens)}, "merges": []},
    }


def _tokenizer_config() -> dict[str, object]:
    names = dict(zip(("unk_token", "bos_token", "eos_token"), SPECIAL, strict=True))
    return {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": TEMPLATE} | names


def _tensors(shape: Shape, random: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    width, kv_width = shape.width, shape.kv_heads * shape.head_width
    yield "model.norm.weight", np.ones(width, np.float16)
    sizes = {"model.embed_tokens": (shape.vocabulary, width), "lm_head": (shape.vocabulary, width)}
    for layer in range(shape.layers):
        at = f"model.layers.{layer}"
        for norm in ("input_layernorm", "post_attention_layernorm"):
            yield f"{at}.{norm}.weight", np.ones(width, np.float16)
        sizes |= {f"{at}.self_attn.{name}_proj": (width, width) for name in "qo"}
        sizes |= {f"{at}.self_attn.{name}_proj": (kv_width, width) for name in "kv"}
        sizes |= {f"{at}.mlp.{name}_proj": (shape.ffn, width) for name in ("gate", "up")}
        sizes[f"{at}.mlp.down_proj"] = (width, shape.ffn)
    for name, (rows, columns) in sizes.items():
        packed = random.integers(0, 2**32, (rows, columns * BITS // 32), dtype=np.uint32)
        scales = np.full((rows, columns // GROUP), _SCALE, np.float16)
        yield from {f"{name}.weight": packed, f"{name}.scales": scales, f"{name}.biases": -7.5 * scales}.items()


def _write_safetensors(path: Path, tensors: dict[str, np.ndarray]) -> None:
    """The format's three parts: length of the header, header, data (github.com/huggingface/safetensors)."""
    header, start = {}, 0
    for name, array in tensors.items():
        end = start + array.nbytes
        header[name] = {"dtype": DTYPES[array.dtype], "shape": array.shape, "data_offsets": [start, end]}
        start = end
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(array.tobytes() for array in tensors.values()))
