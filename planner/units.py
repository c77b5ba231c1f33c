"""Quantities at the edges: text with a unit to plain numbers, and back.

Inside the package everything is bytes (int), bytes per second, FLOP per second, seconds and tokens.
"""

from __future__ import annotations

import re

from planner.errors import UsageError

KIB, MIB, GIB, TIB = 1024, 1024**2, 1024**3, 1024**4
KWH_JOULES = 3.6e6

_SIZE_UNITS = {
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": KIB,
    "mib": MIB,
    "gib": GIB,
    "tib": TIB,
}
_QUANTITY = r"\s*([0-9]+(?:\.[0-9]+)?)\s*([a-zA-Z/%]*)\s*"


def _split(text: str, what: str, example: str) -> tuple[float, str]:
    match = re.fullmatch(_QUANTITY, text)
    if match is None:
        raise UsageError(f"{what} {text!r} is not a quantity", hint=f"write it like {example}")
    number, unit = float(match[1]), match[2].casefold()
    if not unit:
        raise UsageError(f"{what} {text!r} has no unit", hint=f"write it like {example}")
    return number, unit


def parse_bytes(value: int | str, what: str = "size") -> int:
    """Bytes from `24GiB`, `24GB` or an int of bytes. Raises UsageError for a bare number or an unknown unit."""
    if isinstance(value, int):
        number, factor = float(value), 1
        result = value
    else:
        number, unit = _split(value, what, "24GiB or 24GB")
        if unit not in _SIZE_UNITS:
            raise UsageError(f"{what} {value!r}: unknown unit", hint="use GiB, GB, MiB or MB")
        factor = _SIZE_UNITS[unit]
        result = round(number * factor)
    if number <= 0:
        raise UsageError(f"{what} {value!r} must be more than zero")
    return result


def parse_bytes_per_s(value: int | float | str, what: str = "bandwidth") -> float:
    """Bytes per second from `400GB/s` or a number of bytes per second. Raises UsageError otherwise."""
    if isinstance(value, (int, float)):
        result = float(value)
    else:
        number, unit = _split(value, what, "400GB/s")
        size, _, per = unit.partition("/")
        if per != "s" or size not in _SIZE_UNITS:
            raise UsageError(f"{what} {value!r}: unknown unit", hint="write it like 400GB/s")
        result = number * _SIZE_UNITS[size]
    if result <= 0:
        raise UsageError(f"{what} {value!r} must be more than zero")
    return result


def parse_tokens(value: int | str, what: str = "context") -> int | None:
    """Tokens from `8192`, `8k` (8192), `1m` (1048576); `max` is None: the model's native length."""
    if isinstance(value, int):
        result = value
    else:
        text = value.strip().casefold()
        if text == "max":
            return None
        match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([km]?)", text)
        if match is None:
            raise UsageError(f"{what} {value!r} is not a token count", hint="write it like 8192, 32k, 1m or max")
        result = round(float(match[1]) * {"": 1, "k": 1024, "m": 1024**2}[match[2]])
    if result <= 0:
        raise UsageError(f"{what} {value!r} must be more than zero")
    return result


def parse_seconds(value: int | float | str, what: str = "time") -> float:
    """Seconds from `2`, `2s` or `500ms`."""
    if isinstance(value, (int, float)):
        result = float(value)
    else:
        match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(ms|s|min)?\s*", value.casefold())
        if match is None:
            raise UsageError(f"{what} {value!r} is not a time", hint="write it like 2, 2s or 500ms")
        result = float(match[1]) * {"ms": 0.001, "s": 1.0, "min": 60.0, None: 1.0}[match[2]]
    if result <= 0:
        raise UsageError(f"{what} {value!r} must be more than zero")
    return result


def parse_watts(value: int | float | str, what: str = "power") -> float:
    """Watts from `350W`, `1.2kW` or a number of watts. Raises UsageError for a bare number as text."""
    if isinstance(value, (int, float)):
        result = float(value)
    else:
        number, unit = _split(value, what, "350W")
        if unit not in {"w", "kw"}:
            raise UsageError(f"{what} {value!r}: unknown unit", hint="write it like 350W or 1.2kW")
        result = number * (1000.0 if unit == "kw" else 1.0)
    if result <= 0:
        raise UsageError(f"{what} {value!r} must be more than zero")
    return result


def format_gib(value_bytes: float | None, digits: int = 1) -> str:
    """Memory for a person, in GiB; `unknown` for None."""
    return "unknown" if value_bytes is None else f"{value_bytes / GIB:.{digits}f} GiB"


def format_gb_per_s(value_bytes_per_s: float | None) -> str:
    """Bandwidth for a person, in GB/s (1e9)."""
    if value_bytes_per_s is None:
        return "unknown"
    value = value_bytes_per_s / 1e9
    return f"{value:.0f} GB/s" if value >= 100 else f"{value:.1f} GB/s"


def format_tokens(value: int) -> str:
    """Token counts as people say them: 8192 is `8k`, 1048576 is `1m`; others stay plain."""
    if value and value % 1024**2 == 0:
        return f"{value // 1024**2}m"
    if value and value % 1024 == 0:
        return f"{value // 1024}k"
    return str(value)


def format_rate(value: float | None) -> str:
    """A speed with two significant digits below 10, whole numbers above."""
    if value is None:
        return "unknown"
    return f"{value:.1f}" if value < 10 else f"{value:.0f}"
