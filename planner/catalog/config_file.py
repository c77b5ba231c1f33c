"""A `config.json` as a mapping whose values are checked when they are read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from planner.errors import ModelFileError

_LIMIT_BYTES = 1 << 24
_TEXT_PARTS = ("text_config", "llm_config", "language_config")
_LARGEST = 1 << 48


def load_config(path: Path) -> Mapping[str, Any]:
    """The mapping in the file. Raises ModelFileError: absent, too large, not JSON, not an object."""
    try:
        if path.exists() and not path.is_file():
            raise ModelFileError(f"{path.name}: not a file")
        if path.stat().st_size > _LIMIT_BYTES:
            raise ModelFileError(f"{path.name}: too large for a config.json")
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ModelFileError(f"{path.name}: no such file") from None
    except OSError as error:
        raise ModelFileError(f"{path.name}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path.name}: not JSON: {error}") from None
    if not isinstance(found, dict):
        raise ModelFileError(f"{path.name}: expected an object, found {type(found).__name__}")
    return found


class Config:
    """The language part of a config: keys of `text_config`, then those at the top, then what the class implies."""

    def __init__(self, config: Mapping[str, Any], name: str, defaults: Mapping[str, object] | None = None) -> None:
        part: Mapping[str, Any] = next((config[key] for key in _TEXT_PARTS if isinstance(config.get(key), Mapping)), {})
        self._layers: tuple[Mapping[str, Any], ...] = (part, config, defaults or {})
        self.name = name

    def get(self, *keys: str) -> Any:
        """The first of these keys that is there and not null."""
        for mapping in self._layers:
            for key in keys:
                if mapping.get(key) is not None:
                    return mapping[key]
        return None

    def number(self, *keys: str) -> int | None:
        """A whole number from 0; of a list per layer the largest. Raises ModelFileError for anything else."""
        value = self.get(*keys)
        if isinstance(value, list) and all(each is None or type(each) is int for each in value):
            value = max((each for each in value if each is not None), default=None)
        if value is None:
            return None
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _LARGEST:
            raise ModelFileError(f"{self.name}: {keys[0]}: expected a whole number, found {value!r:.60}")
        return value

    def required(self, *keys: str) -> int:
        """As `number`; raises ModelFileError when it is absent or 0."""
        value = self.number(*keys)
        if not value:
            raise ModelFileError(f"{self.name}: {keys[0]}: missing")
        return value

    def flag(self, *keys: str) -> bool:
        """True when the key is there and true."""
        return self.get(*keys) is True

    def names(self, key: str, *, wrapper_first: bool = False) -> tuple[str, ...]:
        """A list of texts; empty when absent. `wrapper_first`: the key at the top goes before that of the text part.
        Raises ModelFileError for anything else."""
        value = (self._layers[1].get(key) if wrapper_first else None) or self.get(key) or []
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise ModelFileError(f"{self.name}: {key}: expected a list of texts, found {value!r:.60}")
        return tuple(value)

    def numbers(self, key: str) -> tuple[int, ...]:
        """A list of whole numbers, as a list or as `3,4,5`; empty when absent or a single value."""
        value = self.get(key)
        if isinstance(value, str):
            value = [int(part) for part in value.split(",") if part.strip().isdigit()]
        if not isinstance(value, list) or not all(isinstance(each, int) for each in value):
            return ()
        return tuple(int(each) for each in value)
