"""The header of a GGUF file: metadata and the list of tensors. Tensor data is never read.

Format: ggml-org/ggml docs/gguf.md, versions 2 and 3. A header may lie: every length is checked against what the file
can hold before anything is read, long arrays are counted and skipped, and nothing grows beyond fixed limits.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import BinaryIO, NamedTuple

from planner.errors import ModelFileError

# Type number: name, elements per block, bytes per block. Sources: ggml block structs; gguf 0.19 GGML_QUANT_SIZES.
TENSOR_TYPES: dict[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 9: ("Q8_1", 32, 40), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210), 15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82), 23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4), 27: ("I64", 1, 8), 28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2), 34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17), 40: ("NVFP4", 64, 36), 41: ("Q1_0", 128, 18), 42: ("Q2_0", 64, 18),
}  # fmt: skip

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_CHUNK_BYTES = 1 << 20
_HEADER_LIMIT_BYTES = 1 << 30  # the largest published headers are about 30 MB
_STRING_LIMIT_BYTES = 1 << 24
_NAME_LIMIT_BYTES = 1 << 10
_KEPT_ARRAY = 4096  # per-layer lists are kept, vocabularies are only counted
_ARRAY_LIMIT = 1 << 24
_ENTRY_LIMIT = 1 << 17
_KEPT_TEXT_LIMIT_BYTES = 1 << 26
_PARTS_LIMIT = 1000
_PART_NAME = re.compile(r"(?P<stem>.*)-(?P<no>\d{5})-of-(?P<count>\d{5})\.gguf", re.IGNORECASE)


class Skipped(NamedTuple):
    """A long array that was counted, not kept."""

    elements: int


Value = bool | int | float | str | tuple[bool | int | float, ...] | Skipped


class Tensor(NamedTuple):
    """One tensor: name, dimensions in file order (row length first), type name."""

    name: str
    shape: tuple[int, ...]
    type: str


class GgufHeader(NamedTuple):
    """Metadata by key and all tensors, of all parts of a split model."""

    metadata: dict[str, Value]
    tensors: tuple[Tensor, ...]


def read_gguf(path: Path) -> GgufHeader:
    """The header of a GGUF file, or of all parts of a split one, whichever part is named.

    Raises ModelFileError naming the file and the field."""
    first = _first_part(path)
    header = _read_part(first)
    count = header.metadata.get("split.count")
    if not isinstance(count, int) or count < 2:
        return header
    if count > _PARTS_LIMIT:
        raise ModelFileError(f"{first.name}: split.count: {count} parts cannot be")
    tensors = list(header.tensors)
    for number in range(2, count + 1):
        tensors += _read_part(_part_path(first, number, count)).tensors
    return GgufHeader(header.metadata, tuple(tensors))


def _first_part(path: Path) -> Path:
    named = _PART_NAME.fullmatch(path.name)
    return path.with_name(f"{named['stem']}-00001-of-{named['count']}.gguf") if named else path


def _part_path(first: Path, number: int, count: int) -> Path:
    named = _PART_NAME.fullmatch(first.name)
    if named is None:
        raise ModelFileError(
            f"{first.name}: split.count: {count} parts, but the name does not say which this is",
            hint=f"name the parts NAME-00001-of-{count:05}.gguf",
        )
    return first.with_name(f"{named['stem']}-{number:05}-of-{count:05}.gguf")


def _read_part(path: Path) -> GgufHeader:
    try:
        if path.exists() and not path.is_file():
            raise ModelFileError(f"{path.name}: not a file")
        with path.open("rb") as file:
            return _Header(file, path.name).read()
    except FileNotFoundError:
        part = _PART_NAME.fullmatch(path.name)
        hint = f"this model has {int(part['count'])} parts, all must lie beside each other" if part else None
        raise ModelFileError(f"{path.name}: no such file", hint=hint) from None
    except OSError as error:
        raise ModelFileError(f"{path.name}: cannot be read: {error.strerror}") from None


class _Header:
    """A cursor over the header that never holds more than a chunk."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self._name = name
        self._size = file.seek(0, 2)
        self._base = 0  # file offset of the chunk
        self._data = b""
        self._at = 0  # cursor within the chunk
        self._kept_text_bytes = 0

    def read(self) -> GgufHeader:
        self._check_magic()
        tensor_count = self._count("tensor count", 24)
        entry_count = self._count("metadata count", 13)
        metadata: dict[str, Value] = {}
        for number in range(entry_count):
            key = self._text(f"metadata key {number}", _NAME_LIMIT_BYTES)
            if not key or key in metadata:
                raise self._fault(f"metadata key {number}", f"{key!r} is empty or stands twice")
            metadata[key] = self._value(key, self._number("I", key))
        return GgufHeader(metadata, tuple(self._tensor(number) for number in range(tensor_count)))

    def _check_magic(self) -> None:
        if self._size < 24:
            raise self._fault("magic", "the file is too short for a GGUF header")
        magic = self._take(4, "magic")
        if magic != b"GGUF":
            raise self._fault("magic", f"not a GGUF file, it starts with {magic!r}")
        version = self._number("I", "version")
        if version & 0xFFFF == 0 and version:
            raise self._fault("version", "a big-endian file")
        if version not in (2, 3):
            raise self._fault("version", f"version {version} is not read, 2 and 3 are")

    def _fault(self, field: str, problem: str) -> ModelFileError:
        shown = field if field.isprintable() else ascii(field)  # the file's own words must not reach a terminal raw
        return ModelFileError(f"{self._name}: {shown:.200}: {problem}")

    @property
    def _offset(self) -> int:
        return self._base + self._at

    def _require(self, length: int, field: str) -> None:
        """What is announced must lie in the file, and within the limit of a header."""
        if length > self._size - self._offset:
            raise self._fault(field, "the file ends before it (truncated, or a length that lies)")
        if self._offset + length > _HEADER_LIMIT_BYTES:
            raise self._fault(field, "a header larger than 1 GiB")

    def _take(self, length: int, field: str) -> bytes:
        self._require(length, field)
        if self._at + length > len(self._data):
            self._base, self._at = self._offset, 0
            self._file.seek(self._base)
            self._data = self._file.read(max(length, _CHUNK_BYTES))
            if len(self._data) < length:
                raise self._fault(field, "the file ends before it")
        taken = self._data[self._at : self._at + length]
        self._at += length
        return taken

    def _skip(self, length: int, field: str) -> None:
        self._require(length, field)
        self._at += length
        if self._at > len(self._data):
            self._base, self._at, self._data = self._offset, 0, b""

    def _number(self, form: str, field: str) -> int:
        return int(struct.unpack("<" + form, self._take(struct.calcsize(form), field))[0])

    def _count(self, field: str, least_bytes: int) -> int:
        """A count of entries that take at least so many bytes each."""
        count = self._number("Q", field)
        if count > _ENTRY_LIMIT or count * least_bytes > self._size:
            raise self._fault(field, f"{count} entries cannot be in this file")
        return count

    def _text(self, field: str, limit: int) -> str:
        length = self._number("Q", field)
        self._kept_text_bytes += length
        if length > limit or self._kept_text_bytes > _KEPT_TEXT_LIMIT_BYTES:
            raise self._fault(field, f"a text of {length} bytes")
        try:
            return self._take(length, field).decode("utf-8")
        except UnicodeDecodeError:
            raise self._fault(field, "not UTF-8") from None

    def _value(self, key: str, kind: int) -> Value:
        if kind == _STRING:
            return self._text(key, _STRING_LIMIT_BYTES)
        if kind == _ARRAY:
            return self._array(key)
        form = _SCALARS.get(kind)
        if form is None:
            raise self._fault(key, f"unknown value type {kind}")
        value: bool | int | float = struct.unpack("<" + form, self._take(struct.calcsize(form), key))[0]
        return value

    def _array(self, key: str) -> Value:
        kind, count = self._number("I", key), self._number("Q", key)
        if count > _ARRAY_LIMIT:
            raise self._fault(key, f"an array of {count} elements")
        if kind == _STRING:
            self._require(8 * count, key)
            self._skip_texts(count, key)
            return Skipped(count)
        form = _SCALARS.get(kind)
        if form is None:
            raise self._fault(key, f"an array of value type {kind}")
        length = struct.calcsize(form) * count
        if count > _KEPT_ARRAY:
            self._skip(length, key)
            return Skipped(count)
        return tuple(struct.unpack(f"<{count}{form}", self._take(length, key)))

    def _skip_texts(self, count: int, field: str) -> None:
        """Vocabularies have half a million texts: within a chunk the lengths are followed without further ado."""
        while count:
            self._take(8, field)
            self._at -= 8
            data, at, last = self._data, self._at, len(self._data) - 8
            while count and at <= last:
                at += 8 + int.from_bytes(data[at : at + 8], "little")
                count -= 1
            self._at = at
            self._skip(0, field)

    def _tensor(self, number: int) -> Tensor:
        name = self._text(f"tensor {number} name", _NAME_LIMIT_BYTES)
        dimensions = self._number("I", f"tensor {name} dimensions")
        if not 1 <= dimensions <= 4:
            raise self._fault(f"tensor {name} dimensions", f"{dimensions}, 1 to 4 are possible")
        shape = struct.unpack(f"<{dimensions}Q", self._take(8 * dimensions, f"tensor {name} shape"))
        kind = self._number("I", f"tensor {name} type")
        self._number("Q", f"tensor {name} offset")
        if kind not in TENSOR_TYPES:
            raise self._fault(f"tensor {name} type", f"unknown type {kind}")
        type_name, block, _ = TENSOR_TYPES[kind]
        if min(shape) < 1 or max(shape) >= 1 << 48:
            raise self._fault(f"tensor {name} shape", f"{shape} cannot be")
        if shape[0] % block:
            raise self._fault(f"tensor {name} shape", f"rows of {shape[0]} do not divide into blocks of {block}")
        return Tensor(name, shape, type_name)
