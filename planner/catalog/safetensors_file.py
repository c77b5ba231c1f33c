"""Counts of a safetensors checkpoint: from the headers of its files, else from its index. Tensor data is never read.

Format: huggingface/safetensors README (eight bytes of header length, JSON of at most 100 MB) and the index that
transformers writes (`metadata.total_size`, `weight_map`). Every length is checked against the file before it is read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

from planner.errors import ModelFileError

INDEX_NAME = "model.safetensors.index.json"
SINGLE_NAME = "model.safetensors"
_HEADER_LIMIT_BYTES = 100_000_000  # the format's own limit
_INDEX_LIMIT_BYTES = 1 << 26  # the largest published indexes (1 T parameters, 400 experts a layer) are about 20 MB
_SHARDS_LIMIT = 2000
_LARGEST = 1 << 56
# Bits per element; only these are weights that can be counted, packed integers are not.
_FLOAT_BITS = {"F64": 64, "F32": 32, "F16": 16, "BF16": 16, "F8_E4M3": 8, "F8_E5M2": 8}
_OTHER_BITS = {"I64": 64, "U64": 64, "I32": 32, "U32": 32, "I16": 16, "U16": 16, "I8": 8, "U8": 8, "BOOL": 8,
               "F8_E8M0": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "C64": 64}  # fmt: skip
_DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
_SHARD = re.compile(r"[\w][\w.-]*\.safetensors")


class Checkpoint(NamedTuple):
    """What the files of a checkpoint hold. `parameters` is None where they are packed or their type is not known."""

    tensor_bytes: int
    parameters: int | None
    source: str


def checkpoint_beside(config: Path, dtype: str | None) -> Checkpoint | None:
    """The checkpoint in the folder of a `config.json`, None when there is none. `dtype` is what the config states, for
    an index without its files. Raises ModelFileError for a broken index or file."""
    index, single = config.with_name(INDEX_NAME), config.with_name(SINGLE_NAME)
    if index.is_file():
        return read_index(index, dtype)
    return _summed((single,), single.name) if single.is_file() else None


def read_index(path: Path, dtype: str | None = None) -> Checkpoint:
    """The checkpoint that an index describes: from the headers of its files when all lie beside it, else its total.

    Raises ModelFileError naming file and field."""
    values = _json(_read(path, _INDEX_LIMIT_BYTES), path.name)
    shards = _shards(values.get("weight_map"), path.name)
    files = tuple(path.with_name(shard) for shard in shards)
    if all(file.is_file() for file in files):
        return _summed(files, path.name)
    metadata = values.get("metadata")
    total = metadata.get("total_size") if isinstance(metadata, Mapping) else None
    if isinstance(total, float) and total.is_integer():
        total = int(total)
    if not isinstance(total, int) or isinstance(total, bool) or not 0 < total < _LARGEST:
        raise ModelFileError(f"{path.name}: metadata.total_size: expected bytes, found {total!r:.60}")
    width = _DTYPE_BYTES.get(dtype or "")
    return Checkpoint(total, total // width if width and total % width == 0 else None, path.name)


def read_header(path: Path) -> Mapping[str, tuple[str, int]]:
    """Type and element count of every tensor of one file. Raises ModelFileError naming the tensor and the field."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > min(size - 8, _HEADER_LIMIT_BYTES):
                raise ModelFileError(f"{path.name}: header length: {length} bytes cannot be in this file")
            values = _json(file.read(length), path.name)
    except OSError as error:
        raise ModelFileError(f"{path.name}: cannot be read: {error.strerror}") from None
    return {
        name: _tensor(entry, f"{path.name}: {name:.80}", size - 8 - length)
        for name, entry in values.items()
        if name != "__metadata__"
    }


def _tensor(entry: object, where: str, data_bytes: int) -> tuple[str, int]:
    if not isinstance(entry, Mapping):
        raise ModelFileError(f"{where}: expected an object, found {type(entry).__name__}")
    dtype, shape, offsets = (entry.get(key) for key in ("dtype", "shape", "data_offsets"))
    bits = {**_FLOAT_BITS, **_OTHER_BITS}.get(dtype) if isinstance(dtype, str) else None
    if bits is None:
        raise ModelFileError(f"{where}: dtype: {dtype!r:.60} is not a type of safetensors")
    if not _are_counts(shape) or len(shape) > 8:
        raise ModelFileError(f"{where}: shape: {shape!r:.60} cannot be")
    elements = 1
    for length in shape:
        elements *= length
    if not _are_counts(offsets) or len(offsets) != 2 or not offsets[0] <= offsets[1] <= data_bytes:
        raise ModelFileError(f"{where}: data_offsets: {offsets!r:.60} do not lie in the file")
    if (offsets[1] - offsets[0]) * 8 != elements * bits:
        raise ModelFileError(f"{where}: data_offsets: {offsets!r:.60} do not hold {elements} elements of {dtype}")
    return str(dtype), elements


def _are_counts(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(each) is int and 0 <= each < _LARGEST for each in value)


def _summed(files: tuple[Path, ...], source: str) -> Checkpoint:
    tensors = [tensor for file in files for tensor in read_header(file).values()]
    bits = {**_FLOAT_BITS, **_OTHER_BITS}
    countable = all(dtype in _FLOAT_BITS for dtype, _ in tensors)
    total = sum(elements * bits[dtype] for dtype, elements in tensors) // 8
    return Checkpoint(total, sum(elements for _, elements in tensors) if countable else None, source)


def _shards(weights: object, name: str) -> tuple[str, ...]:
    if not isinstance(weights, Mapping) or not weights:
        raise ModelFileError(f"{name}: weight_map: expected an object of tensor and file names")
    shards = dict.fromkeys(weights.values()) if all(isinstance(each, str) for each in weights.values()) else {}
    wrong = [shard for shard in shards if not _SHARD.fullmatch(shard)]
    if wrong or not shards:
        raise ModelFileError(f"{name}: weight_map: {wrong[0] if wrong else 'a value'!r:.60} is no file name")
    if len(shards) > _SHARDS_LIMIT:
        raise ModelFileError(f"{name}: weight_map: {len(shards)} files cannot be")
    return tuple(shards)


def _read(path: Path, limit_bytes: int) -> bytes:
    try:
        if path.stat().st_size > limit_bytes:
            raise ModelFileError(f"{path.name}: larger than {limit_bytes} bytes")
        return path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"{path.name}: cannot be read: {error.strerror}") from None


def _json(data: bytes, name: str) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{name}: not JSON: {error!s:.100}") from None
    if not isinstance(found, dict):
        raise ModelFileError(f"{name}: expected an object, found {type(found).__name__}")
    return found
