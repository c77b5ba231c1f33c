"""Which quantization a name means, per format."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import msgspec

from planner.catalog.records import Quant
from planner.errors import UnknownName

# Without a format the first one that has the name decides, as servers are asked: llama-server, vllm, mlx-lm.
FORMATS = ("gguf", "hf", "mlx")

_GROUP = r"(?P<base>.+)-g(?P<size>32|64|128)"
_GROUPED_SCHEMES = frozenset({"awq", "gptq", "pack-quantized", "affine"})


def by_key(quants: Iterable[Quant]) -> Mapping[str, Quant]:
    """Quants by id; an id that a preferred format has already taken gets its format appended (`BF16|hf`)."""
    ranked = sorted(quants, key=lambda quant: FORMATS.index(quant.format))
    keyed: dict[str, Quant] = {}
    for quant in ranked:
        keyed[quant.id if quant.id not in keyed else f"{quant.id}|{quant.format}"] = quant
    return keyed


class QuantIndex:
    """Quants by every name people use, per format; built once for a catalog."""

    def __init__(self, quants: Iterable[Quant]) -> None:
        self._quants = tuple(quants)
        self._named: dict[str, dict[str, Quant]] = {form: {} for form in FORMATS}
        for quant in self._quants:
            for alias in quant.aliases:
                self._named[quant.format].setdefault(alias.casefold(), quant)
        for quant in self._quants:
            self._named[quant.format][quant.id.casefold()] = quant

    def find(self, name: str, format: str | None = None) -> Quant:  # noqa: A002 - as in the catalog
        """The quant of that id or alias, case ignored, in one format or in the first that has it.

        Raises UnknownName: near misses, and for an id of another format that format's name."""
        asked = name.strip()
        found = self.get(asked, format)
        if found is None:
            hint = _elsewhere(self._quants, asked, format)
            raise UnknownName("quant", name, _spellings(self._quants, format), hint=hint)
        return found

    def get(self, name: str, format: str | None = None) -> Quant | None:  # noqa: A002
        """As `find`, but None for an unknown name."""
        asked = name.strip().casefold()
        return self._get(asked, format) or self._grouped(asked, format)

    def _get(self, asked: str, format: str | None) -> Quant | None:  # noqa: A002
        for each in FORMATS if format is None else (format,):
            found = self._named.get(each, {}).get(asked)
            if found is not None:
                return found
        return None

    def _grouped(self, asked: str, format: str | None) -> Quant | None:  # noqa: A002
        """`AWQ-g32`: a quant with a group size of its own. What is known of the usual one is not claimed of it."""
        suffix = re.fullmatch(_GROUP, asked)
        base = self._get(suffix["base"], format) if suffix else None
        if suffix is None or base is None or base.scheme not in _GROUPED_SCHEMES:
            return None
        size = int(suffix["size"])
        if size == base.group_size:
            return base
        return msgspec.structs.replace(base, id=f"{base.id}-g{size}", aliases=(), group_size=size, loss=None)


def _spellings(quants: Iterable[Quant], format: str | None) -> list[str]:  # noqa: A002
    return [quant.id for quant in quants if format in (None, quant.format)]


def _elsewhere(quants: Iterable[Quant], asked: str, format: str | None) -> str | None:  # noqa: A002
    """Says so when the quant exists, but in another format than the one asked for."""
    folded = asked.casefold()
    others = sorted({q.format for q in quants if folded in (q.id.casefold(), *(a.casefold() for a in q.aliases))})
    if not others or format is None:
        return None
    readable = [quant.id for quant in quants if quant.format == format and not quant.rare]
    return f"{asked} is a quant of {', '.join(others)}; {format} has {', '.join(readable)}"
