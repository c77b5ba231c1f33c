"""Bytes of a GGUF file beside its tensor data: fixed header, metadata, tensor list and alignment.

Layout: the GGUF specification of ggml (version 3). The metadata of a published file is nearly all tokenizer; its size
is constant per vocabulary, taken from published files (size less tensors).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from planner.sizing.artifact import QuantizedGroup
    from planner.sizing.records import TensorGroup

ALIGNMENT: Final = 32
# Magic, version, tensor count, metadata count.
_FIXED_BYTES: Final = 24
# Metadata bytes by vocabulary size: published size less tensors and tensor list (tests/data/gguf_sizes.csv).
_TOKENIZER_BYTES: Final = {
    32064: 727_027,
    128256: 7_823_500,
    151936: 5_934_100,
    152064: 5_934_200,
    201088: 12_980_358,
    248320: 10_943_300,
    256000: 6_029_200,
    262144: 6_505_000,
    262208: 6_505_000,
}
# Other vocabularies: byte-pair vocabularies carry their merges, SentencePiece ones a score per token.
_BPE_BYTES_PER_TOKEN: Final = 38.0
_SENTENCEPIECE_BYTES_PER_TOKEN: Final = 24.0
_SENTENCEPIECE: Final = frozenset({32000, 32064, 32768, 256000, 262144, 262208, 64000})


def aligned(value_bytes: int) -> int:
    """Rounded up to the file's alignment."""
    return -(-value_bytes // ALIGNMENT) * ALIGNMENT


def tokenizer_bytes(vocabulary_size: int) -> int:
    """Metadata bytes of a published file with that vocabulary: known families, else an estimate per token."""
    known = _TOKENIZER_BYTES.get(vocabulary_size)
    if known is not None:
        return known
    per_token = _SENTENCEPIECE_BYTES_PER_TOKEN if vocabulary_size in _SENTENCEPIECE else _BPE_BYTES_PER_TOKEN
    return round(vocabulary_size * per_token)


def tensor_list_bytes(groups: Iterable[TensorGroup]) -> int:
    """Bytes of the tensor list: name, dimensions, type and offset of every tensor."""
    return sum(_entries_bytes(group) for group in groups)


def _entries_bytes(group: TensorGroup) -> int:
    dimensions = len(group.shape)
    while dimensions > 1 and group.shape[dimensions - 1] == 1:
        dimensions -= 1
    fixed = 8 + 4 + 8 * dimensions + 4 + 8
    name = len(group.name)
    if not group.layers:
        return fixed + name
    digits = sum(1 if layer < 10 else len(str(layer)) for layer in group.layers)
    return len(group.layers) * (fixed + name - len("{layer}")) + digits


def header_bytes(list_bytes: int, metadata_bytes: int) -> int:
    """Everything before the tensor data."""
    return aligned(_FIXED_BYTES + metadata_bytes + list_bytes)


def data_bytes(groups: Iterable[QuantizedGroup]) -> int:
    """Every tensor, padded to the alignment."""
    data = 0
    for item in groups:
        if len(item.sizes) == 1:
            data += aligned(item.sizes[0]) * item.group.count
        else:
            data += sum(aligned(size) for size in item.sizes)
    return data
