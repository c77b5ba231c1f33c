"""Habits of those who publish GGUF files, as far as their published files show them.

Checked against published sizes (`tests/data/gguf_sizes.csv`); what nobody can derive (unsloth's UD files) is an
estimate and says so.
"""

from __future__ import annotations

from typing import Final

import msgspec

from planner.errors import PlannerError
from planner.sizing.gguf_mix import ALIASES, FILE_TYPES

RECIPES: Final = ("bartowski", "ggml-org", "google-qat", "ollama", "qwen", "unsloth")

# bartowski's large variants: the named mix with embedding and head in Q8_0.
_LARGE: Final = {
    "Q2_K_L": "Q2_K",
    "Q3_K_XL": "Q3_K_L",
    "Q4_K_L": "Q4_K_M",
    "Q5_K_L": "Q5_K_M",
    "Q6_K_L": "Q6_K",
}
# unsloth's dynamic files: the nearest mix and the ratio of its bytes that published files show, for expert models
# (Qwen3-30B-A3B) and, where one was published, for dense ones (Qwen3-8B, Qwen3-0.6B: 1.019, 1.022).
_DYNAMIC: Final = {
    "UD-IQ1_S": ("IQ1_S", 1.10),
    "UD-IQ1_M": ("IQ1_M", 1.10),
    "UD-IQ2_XXS": ("IQ2_XXS", 1.08),
    "UD-IQ2_M": ("IQ2_M", 1.05),
    "UD-IQ3_XXS": ("IQ3_XXS", 1.05),
    "UD-Q2_K_XL": ("Q2_K", 1.0493),
    "UD-Q3_K_XL": ("Q3_K_M", 0.9402),
    "UD-Q4_K_XL": ("Q4_K_M", 0.9547),
    "UD-Q5_K_XL": ("Q5_K_M", 1.0007),
    "UD-Q6_K_XL": ("Q6_K", 1.0497),
    "UD-Q8_K_XL": ("Q8_0", 1.1079),
}
_DYNAMIC_DENSE: Final = 1.02
# Since 2026 unsloth's plain K-mixes of Qwen3.5 are its own too: published over computed, experts and dense.
_OWN_K_MIX: Final = {"qwen35moe": 1.0402, "qwen35": 1.0117}


class Recipe(msgspec.Struct, frozen=True):
    """How one file is made: the mix, and what its publisher changes. `embedding` and `output` are types forced on
    those tensors, `separate_output` adds the head that a tied model need not have, `scale` estimates a custom mix."""

    file_type: str
    imatrix: bool
    embedding: str | None = None
    output: str | None = None
    separate_output: bool = False
    scale: float = 1.0
    error_fraction: float = 0.0
    note: str | None = None


def recipe_for(quant: str, publisher: str | None, *, imatrix: bool, architecture: str, experts: int) -> Recipe:
    """The recipe of `quant` (a file type, an alias or a publisher's variant) as `publisher` makes it.

    Raises PlannerError for a type that llama-quantize does not know, or a variant without its publisher."""
    if publisher is not None and publisher not in RECIPES:
        raise PlannerError(f"unknown recipe {publisher!r}", hint=f"known: {', '.join(RECIPES)}")
    name = quant.upper()
    name = ALIASES.get(name, name)
    imatrix = imatrix or publisher in ("bartowski", "unsloth")
    if name in FILE_TYPES:
        return _plain(name, publisher, architecture, imatrix=imatrix)
    if name in _LARGE and publisher in ("bartowski", "unsloth"):
        return _large(name, publisher, imatrix=imatrix)
    if name in _DYNAMIC and publisher == "unsloth":
        base, scale = _DYNAMIC[name]
        scale = scale if experts else max(scale, _DYNAMIC_DENSE)
        note = f"{name} is unsloth's own mix per model; estimated from {base} by the ratio of published files"
        return Recipe(base, imatrix, scale=scale, error_fraction=0.05, note=note)
    if name in _LARGE or name in _DYNAMIC:
        owner = "unsloth" if name in _DYNAMIC else "bartowski"
        raise PlannerError(f"{quant} is a variant of one publisher", hint=f'give its recipe: recipe="{owner}"')
    raise PlannerError(f"unknown GGUF file type {quant!r}", hint=f"llama-quantize knows {', '.join(FILE_TYPES)}")


def _plain(name: str, publisher: str | None, architecture: str, *, imatrix: bool) -> Recipe:
    if publisher == "unsloth" and architecture in _OWN_K_MIX and "_K" in name:
        note = "unsloth's own mix for this architecture; estimated from published files"
        return Recipe(name, imatrix, scale=_OWN_K_MIX[architecture], error_fraction=0.03, note=note)
    if publisher == "unsloth" and name == "IQ4_XS":
        return Recipe(name, imatrix, embedding="Q4_K")
    if publisher == "google-qat":
        return Recipe(name, imatrix, embedding="F16", output="F16")
    if publisher == "qwen":
        return Recipe(name, imatrix, separate_output=True)
    return Recipe(name, imatrix)


def _large(name: str, publisher: str, *, imatrix: bool) -> Recipe:
    if publisher == "unsloth":
        return Recipe(_LARGE[name], imatrix, embedding="Q4_K")
    return Recipe(_LARGE[name], imatrix, embedding="Q8_0", output="Q8_0")
