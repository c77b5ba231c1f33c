"""Sampler settings as fields of a request, in each server's own words.

Servers hold what was planned on their command lines and in their files. A request says more: another intent, and what
a server forgets between requests.
"""

from __future__ import annotations

from planner.catalog.records import Model, Sampling
from planner.servers.sampling import choose_sampling, template_switch, with_neutral

_FIELDS = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "presence_penalty", "seed")
_COMMON = {field: field for field in _FIELDS}
_LLAMA_CPP = _COMMON | {"repetition_penalty": "repeat_penalty"}
# What each OpenAI-compatible API calls the settings that it takes; the others it would ignore. Sources: vLLM's
# protocol classes, llama-server's README, mlx_lm/server.py, LocalAI's core/schema/prediction.go, Ollama's
# openai/openai.go.
_NAMES: dict[str, dict[str, str]] = {
    "vllm": _COMMON,
    "llama-server": _LLAMA_CPP,
    "mlx-lm": _COMMON,
    "localai": _LLAMA_CPP,
    "ollama": {field: field for field in ("temperature", "top_p", "presence_penalty", "seed")},
}
# What a server does not keep between requests: Ollama's OpenAI API puts temperature 1 and top-p 1 where a request is
# silent, whatever its Modelfile says (openai/openai.go); mlx_lm.server has no options for these (mlx_lm/server.py);
# vLLM reads five settings of a generation config (get_diff_sampling_param in vllm/config/model.py), not this one.
_FORGETS: dict[str, tuple[str, ...]] = {
    "ollama": ("temperature", "top_p"),
    "mlx-lm": ("repetition_penalty", "presence_penalty", "seed"),
    "vllm": ("presence_penalty",),
}


def deterministic_fields(server: str, model: Model, *, code: bool = False) -> dict[str, object]:
    """What a request to this server must say for answers that are as repeatable as the model allows. Empty for models
    that write no text. `code`: code is asked of a general model."""
    if model.kind != "llm":
        return {}
    sampling = choose_sampling(model, "deterministic", code=code)
    return _named(server, with_neutral(sampling), _FIELDS) | _thinking(server, model, sampling)


def forgotten_fields(server: str, sampling: Sampling) -> dict[str, object]:
    """The planned settings that this server holds only when each request repeats them."""
    return _named(server, sampling, _FORGETS.get(server, ()))


def _named(server: str, sampling: Sampling, fields: tuple[str, ...]) -> dict[str, object]:
    values = {field: getattr(sampling, field) for field in fields}
    names = _NAMES.get(server, {})
    return {names[field]: value for field, value in values.items() if value is not None and field in names}


def _thinking(server: str, model: Model, sampling: Sampling) -> dict[str, object]:
    if sampling.thinking is not False:
        return {}
    if server == "ollama":
        return {"reasoning_effort": "none"}
    if server == "localai":
        # Its metadata holds texts, and reads the template's own switch from them.
        return {"metadata": {name: str(value).lower() for name, value in template_switch(model).items()}}
    return {"chat_template_kwargs": template_switch(model)}
