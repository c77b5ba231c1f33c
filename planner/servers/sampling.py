"""Sampler settings: what the vendor advises, or as repeatable as the model allows, and why.

Vendor values come from the model's catalog entry, else from the family's model card. Deterministic work wants
temperature 0, but vendors of thinking models warn of endless loops there: a hybrid model gets its thinking switched
off, a model that always thinks keeps its vendor's values and a seed. No repetition penalty on code: it taxes every
brace and name that has to be repeated.
"""

from __future__ import annotations

from planner.catalog.records import Model, Sampling, SamplingValues
from planner.catalog.records.policy import SamplingIntent

# One fixed seed, so that two runs of the same prompt can be compared.
SEED = 42

_QWEN3_THINKING = SamplingValues(temperature=0.6, top_p=0.95, top_k=20, min_p=0.0)
_QWEN3_PLAIN = SamplingValues(temperature=0.7, top_p=0.8, top_k=20, min_p=0.0)
_R1 = SamplingValues(temperature=0.6, top_p=0.95)

# Model cards and generation_config files of the vendors, where the catalog entry says nothing. Keys are families;
# a family ends where its name goes on (`llama-3` covers `llama-3.1`).
FAMILY_VALUES: dict[str, SamplingValues] = {
    "deepseek-r1": _R1,
    "qwq": _R1,
    "gpt-oss": SamplingValues(temperature=1.0, top_p=1.0, top_k=0, min_p=0.0),
    "gemma-3": SamplingValues(temperature=1.0, top_p=0.95, top_k=64, min_p=0.0),
    "llama-3": SamplingValues(temperature=0.6, top_p=0.9),
    "mistral-small": SamplingValues(temperature=0.15),
}

_CODE_WORDS = ("code", "coder", "coding", "devstral", "codestral", "starcoder", "fim")


def choose_sampling(model: Model, intent: SamplingIntent, *, code: bool = False) -> Sampling:
    """The sampler settings of a service and their reason. `code` says that code is asked of a general model."""
    if model.kind != "llm":
        return Sampling(reason="produces no text")
    is_code = code or writes_code(model)
    if intent == "deterministic":
        return _deterministic(model, is_code)
    return _vendor(vendor_values(model), is_code, "vendor's values")


def writes_code(model: Model) -> bool:
    """True for models made for code, by tag or family."""
    words = {*model.tags, *model.family.split("-"), *model.id.split("-")}
    return any(word in _CODE_WORDS for word in words)


def vendor_values(model: Model, *, thinking: bool = True) -> SamplingValues | None:
    """What the vendor advises for the default mode, or with thinking switched off; None when nothing is known."""
    stated = model.sampling
    if stated is not None:
        return (not thinking and stated.non_thinking) or stated.default
    if model.family.startswith("qwen3") and model.thinking != "no":
        return _QWEN3_THINKING if thinking else _QWEN3_PLAIN
    if model.family.startswith("qwen3") and model.kind == "llm":
        return _QWEN3_PLAIN
    for family, values in FAMILY_VALUES.items():
        if model.family == family or model.family.startswith((f"{family}-", f"{family}.")):
            return values
    return None


def _deterministic(model: Model, is_code: bool) -> Sampling:
    if model.thinking == "always":
        why = "always thinks, and greedy decoding would loop: vendor's values and a seed"
        return _vendor(vendor_values(model), is_code, why, SEED)
    if model.thinking == "effort":
        why = "reasons at every effort level, made for its vendor's values: those and a seed"
        return _vendor(vendor_values(model), is_code, why, SEED)
    hybrid = model.thinking == "hybrid"
    return Sampling(
        temperature=0.0,
        top_p=1.0,
        top_k=1,
        min_p=0.0,
        seed=SEED,
        thinking=False if hybrid else None,
        reason="greedy: temperature 0, fixed seed, no penalties" + ("; thinking switched off" if hybrid else ""),
    )


def _vendor(values: SamplingValues | None, is_code: bool, why: str, seed: int | None = None) -> Sampling:
    if values is None:
        return Sampling(seed=seed, reason="the vendor publishes no values: the model's own defaults apply")
    penalty = values.repetition_penalty
    if is_code and penalty is not None and penalty != 1.0:
        why += "; without their repetition penalty, which damages code"
        penalty = None
    return Sampling(
        temperature=values.temperature,
        top_p=values.top_p,
        top_k=values.top_k,
        min_p=values.min_p,
        repetition_penalty=penalty,
        presence_penalty=None if is_code else values.presence_penalty,
        seed=seed,
        reason=why,
    )


def with_neutral(sampling: Sampling) -> Sampling:
    """The same with what the vendor leaves open set to its neutral value, for servers whose own defaults are not
    neutral (llama-server: top-k 40, min-p 0.05; Ollama: top-k 40, repeat penalty). Unchanged when nothing is set."""
    if sampling.temperature is None and sampling.top_p is None and sampling.top_k is None:
        return sampling
    return Sampling(
        temperature=sampling.temperature,
        top_p=1.0 if sampling.top_p is None else sampling.top_p,
        top_k=0 if sampling.top_k is None else sampling.top_k,
        min_p=0.0 if sampling.min_p is None else sampling.min_p,
        repetition_penalty=sampling.repetition_penalty,
        presence_penalty=sampling.presence_penalty,
        seed=sampling.seed,
        thinking=sampling.thinking,
        reason=sampling.reason,
    )


# The chat template variable that switches thinking off, where it is not `enable_thinking` (model cards).
_TEMPLATE_SWITCHES: dict[str, dict[str, object]] = {
    "deepseek-v3": {"thinking": False},
    "deepseek-v4": {"thinking": False},
    "kimi": {"thinking": False},
    "seed-oss": {"thinking_budget": 0},
}


def template_switch(model: Model) -> dict[str, object]:
    """Variables of the chat template that switch the thinking of a hybrid model off."""
    return dict(_TEMPLATE_SWITCHES.get(model.family, {"enable_thinking": False}))
