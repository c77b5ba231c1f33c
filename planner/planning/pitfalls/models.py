"""Pitfalls of models: quantization, context, sampling, licences."""

from __future__ import annotations

from collections.abc import Iterator

from planner.catalog.records import Sampling
from planner.planning.ability import kl_divergence, native
from planner.planning.eligibility import is_commercial
from planner.planning.pitfalls.scene import Scene, Setup, Sign
from planner.servers.sampling import vendor_values
from planner.sizing.tensors import expand
from planner.speed.formulas import attention_flops
from planner.speed.model_facts import model_facts
from planner.units import format_gib, format_tokens

# Loss above which chains of thought suffer: that of IQ4_XS with the worst imatrix measured, 0.036 nats
# (llama.cpp tools/perplexity/README.md); vendors advise about 4 bits for reasoning.
REASONING_KL = 0.05

# Above this context, retrieval usually beats longer prompts.
LONG_CONTEXT_TOKENS = 32768

# Vendors publish temperatures in steps of 0.1 and advise ranges as wide (Qwen: 0.5 to 0.7 around 0.6).
TEMPERATURE_TOLERANCE = 0.15

ALWAYS_THINKS = frozenset({"always", "effort"})


def over_quantized(scene: Scene) -> Iterator[Sign]:
    """Reasoning below about four bits."""
    for setup in scene.setups:
        model, quant = setup.model, setup.quant
        if model is None or quant is None or model.kind != "llm" or native(model, quant):
            continue
        loss = kl_divergence(quant)[0]
        if (scene.reasoning or model.thinking in ALWAYS_THINKS) and loss > REASONING_KL:
            yield Sign(f"{quant.id} loses {loss:.2f} nats a token: chains of thought break first", setup)


def sixteen_bits(scene: Scene) -> Iterator[Sign]:
    """16-bit weights where a 4-bit file of the same model serves the workload."""
    for setup in scene.setups:
        lighter = setup.lighter
        if lighter is None or setup.quant is None:
            continue
        loss = kl_divergence(lighter.quant)[0]
        if scene.floor is not None and loss > kl_divergence(scene.floor)[0]:
            continue
        text = (
            f"{setup.quant.id} weights take {format_gib(lighter.own_bytes)} and as much reading for a token; "
            f"{lighter.quant.id} takes {format_gib(lighter.weights_bytes)} and loses {loss:.2f} nats a token"
        )
        yield Sign(text, setup, fix=f"serve {lighter.quant.id}, unless a measurement shows that it is not enough")


def context_beyond_native(scene: Scene) -> Iterator[Sign]:
    """More context than the model was trained for."""
    for setup in scene.setups:
        context = setup.model.context if setup.model else None
        asked = setup.context_tokens
        if context is None or asked is None or asked <= context.native_tokens:
            continue
        text = f"{format_tokens(asked)} tokens, trained for {format_tokens(context.native_tokens)}: "
        how = context.how or "an extension method"
        text += f"stretched by {how}, which costs short prompts a little" if setup.stretched else f"needs {how}"
        fix = f"--context {format_tokens(context.native_tokens)}, or a model with a longer context"
        if scene.users is None:  # a file: the option is the server's own
            fix = f"at most {context.native_tokens} tokens, or a model with a longer context"
        yield Sign(text, setup, fix=fix, severity="note" if setup.stretched else None)


def long_context(scene: Scene) -> Iterator[Sign]:
    """Very long prompts cost cache and first-token time that retrieval would not: said of plans, and of files only
    where several requests share the server."""
    for setup in scene.setups:
        asked, shared = setup.context_tokens or 0, scene.users is not None or (setup.slots or 1) > 1
        if asked > LONG_CONTEXT_TOKENS and shared:
            yield Sign(f"{format_tokens(asked)} tokens: {_cost(setup, asked)}", setup, fix=scene.context_advice)


def _cost(setup: Setup, tokens: int) -> str:
    """What the context costs in memory and in the work of reading a prompt of that length."""
    cache = "the cache grows with every token"
    if setup.footprint and setup.footprint.kv_bytes_per_token:
        cache = (
            f"up to {format_gib(setup.footprint.kv_bytes_per_token * tokens)} of cache each, growing with every token"
        )
    share = attention_share(setup, tokens)
    if share is None:
        return f"{cache}, attention work with its square"
    return f"{cache}; attention is {share:.0%} of reading such a prompt, {attention_share(setup, 8192):.0%} at 8k"


def attention_share(setup: Setup, tokens: int) -> float | None:
    """The share of attention in the arithmetic of one prompt of `tokens`: scores and values of every layer (windowed
    ones see their window) against two FLOPs per active parameter and token. None for models that are not expanded."""
    model = setup.model
    if model is None or (model.architecture is None and not model.tensors):
        return None
    expanded = expand(model)
    facts = model_facts(expanded)
    attention = sum(
        attention_flops(layers, facts.query_width, min(window or tokens, tokens / 2) - tokens / 2, tokens)
        for layers, window in facts.attention
    )
    products = 2.0 * expanded.shape.active_parameters * tokens
    return attention / (attention + products)


def thinking_deterministic(scene: Scene) -> Iterator[Sign]:
    """Greedy decoding was asked of a model that thinks."""
    for setup in scene.setups:
        model, sampling = setup.model, setup.sampling
        if model is None or model.thinking == "no":
            continue
        if scene.deterministic and model.thinking in ALWAYS_THINKS:
            yield Sign(f"{model.name} always thinks and loops when greedy: it keeps its vendor's sampling", setup)
        elif sampling and sampling.temperature == 0 and sampling.thinking is not False:
            yield Sign(f"temperature 0 while {model.name} thinks: its chains of thought loop when greedy", setup)


def thinking_off(scene: Scene) -> Iterator[Sign]:
    """Deterministic sampling has switched the thinking off."""
    for setup in scene.setups:
        if setup.model and setup.sampling and setup.sampling.thinking is False and scene.deterministic:
            yield Sign(f"deterministic sampling: the thinking of {setup.model.name} is switched off", setup)


def not_repeatable(scene: Scene) -> Iterator[Sign]:
    """A seed, while other requests change the sums of one's own."""
    for setup in scene.setups:
        if setup.sampling and setup.sampling.seed is not None and (setup.slots or 1) > 1:
            text = f"a seed is set, yet {setup.slots} slots compute together: who else is in the batch changes the sums"
            yield Sign(text, setup)


def against_vendor(scene: Scene) -> Iterator[Sign]:
    """A temperature far from every one that the vendor advises."""
    for setup in scene.setups:
        stated = setup.sampling.temperature if setup.sampling else None
        if setup.model is None or not stated or scene.deterministic:
            continue
        advised = _advised(setup)
        if advised and all(abs(stated - value) > TEMPERATURE_TOLERANCE for value in advised):
            values = " or ".join(f"{value:g}" for value in advised)
            text = f"temperature {stated:g}; the vendor of {setup.model.name} advises {values}"
            yield Sign(text, setup, fix=f"temperature {values}")


def _advised(setup: Setup) -> tuple[float, ...]:
    assert setup.model is not None
    off = (setup.sampling or Sampling()).thinking is False
    modes = (False,) if off else (True, False)
    found = (vendor_values(setup.model, thinking=mode) for mode in modes)
    known = (values.temperature for values in found if values is not None and values.temperature is not None)
    return tuple(dict.fromkeys(known))


def gated(scene: Scene) -> Iterator[Sign]:
    """A download behind terms, without the token of an account."""
    for setup in scene.setups:
        if setup.model and setup.model.gated and setup.downloads and not setup.has_token:
            text = f"{setup.model.name} is gated: the download needs an account that accepted its terms"
            yield Sign(text, setup)


def licence(scene: Scene) -> Iterator[Sign]:
    """A licence that forbids commercial use."""
    for setup in scene.setups:
        model = setup.model
        if model and model.license is not None and not is_commercial(model.license):
            yield Sign(f"{model.name} is licensed {model.license}: no commercial use", setup)
