"""Pitfalls of models: quantization, context, sampling, licences."""

from __future__ import annotations

from collections.abc import Iterator

from planner.planning.ability import kl_divergence, native
from planner.planning.eligibility import is_commercial
from planner.planning.pitfalls.view import View
from planner.planning.plan import Warning as Pitfall
from planner.planning.services import sampling_intent
from planner.units import format_tokens

# Loss above which chains of thought suffer: that of IQ4_XS with the worst imatrix measured, 0.036 nats
# (llama.cpp tools/perplexity/README.md); vendors advise about 4 bits for reasoning.
REASONING_KL = 0.05

# Above this context, retrieval usually beats longer prompts.
LONG_CONTEXT_TOKENS = 32768


def over_quantized(view: View) -> Iterator[Pitfall]:
    """Reasoning below about four bits."""
    for one in view.services.chosen:
        model, quant = one.candidate.model, one.candidate.quant
        reasons = view.case.workload.id == "reasoning" or model.thinking in {"always", "effort"}
        if model.kind == "llm" and reasons and not native(model, quant) and kl_divergence(quant)[0] > REASONING_KL:
            yield Pitfall(
                rule_id="over-quantized-reasoning",
                severity="warning",
                text=f"{quant.id} loses {kl_divergence(quant)[0]:.2f} nats a token: chains of thought break first",
                fix="--min-quant IQ4_XS, or a smaller model at Q4_K_M",
            )


def context_beyond_native(view: View) -> Iterator[Pitfall]:
    """More context than the model was trained for."""
    for one in view.services.chosen:
        context = one.candidate.model.context
        asked = one.candidate.footprint.context_tokens
        if context is not None and asked > context.native_tokens:
            how = context.how or "an extension method"
            yield Pitfall(
                rule_id="context-beyond-native",
                severity="warning",
                text=f"{format_tokens(asked)} tokens, trained for {format_tokens(context.native_tokens)}: needs {how}",
                fix=f"--context {format_tokens(context.native_tokens)}, or a model with a longer context",
            )


def long_context(view: View) -> Iterator[Pitfall]:
    """Very long prompts cost cache and first-token time that retrieval would not."""
    for one in view.services.chosen[:1]:
        asked = one.candidate.footprint.context_tokens
        if asked > LONG_CONTEXT_TOKENS:
            yield Pitfall(
                rule_id="long-context",
                severity="note",
                text=f"{format_tokens(asked)} tokens: the cache grows with every token, attention work with its square",
                fix=view.case.row.context_advice or "retrieval or chunks of 8k to 32k tokens",
            )


def thinking_deterministic(view: View) -> Iterator[Pitfall]:
    """Greedy decoding was asked of a model that thinks."""
    if sampling_intent(view.case) != "deterministic":
        return
    for one in view.services.chosen:
        model = one.candidate.model
        if model.thinking in {"always", "effort"}:
            yield Pitfall(
                rule_id="thinking-deterministic",
                severity="warning",
                text=f"{model.name} always thinks and loops when greedy: it keeps its vendor's sampling and a seed",
                fix="a model whose thinking can be switched off, or a JSON schema for the format of the output",
            )
        elif model.thinking == "hybrid":
            yield Pitfall(
                rule_id="thinking-off",
                severity="note",
                text=f"deterministic sampling: the thinking of {model.name} is switched off",
                fix=None,
            )


def licences(view: View) -> Iterator[Pitfall]:
    """Gated downloads and licences that forbid commercial use."""
    for one in view.services.chosen:
        model = one.candidate.model
        if model.gated:
            yield Pitfall(
                rule_id="gated-model",
                severity="warning",
                text=f"{model.name} is gated: the download needs an account that accepted its terms",
                fix="accept the terms on the model's page and set HF_TOKEN, or --exclude it",
            )
        if model.license is not None and not is_commercial(model.license):
            yield Pitfall(
                rule_id="license-non-commercial",
                severity="warning",
                text=f"{model.name} is licensed {model.license}: no commercial use",
                fix="--license commercial plans without such models",
            )
