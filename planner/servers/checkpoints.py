"""Safetensors repositories of a model: which quant lies where, and which is made while loading."""

from __future__ import annotations

import msgspec

from planner.catalog.records import Model


class Checkpoint(msgspec.Struct, frozen=True):
    """A repository for one quant. `online`: the value of `--quantization` that quantizes it while loading."""

    repo: str
    online: str | None = None


# Models whose own repository is not BF16: the quant that it holds (model cards and config.json, [K] where the catalog
# has no entry of its own). None: a mixture for which no quant id stands.
NATIVE_FAMILIES: dict[str, str | None] = {
    "deepseek-r1": "FP8-block",
    "deepseek-v3": "FP8-block",
    "deepseek-v4": None,
    "gpt-oss": "MXFP4",
    "ministral-3": "FP8",
    "mistral-large": "FP8",
}
NATIVE_IDS: dict[str, str | None] = {
    "minimax-m2": "FP8-block",
    "minimax-m3": None,
    "mimo-v2-flash": "FP8-block",
    "mimo-v2.5": "FP8-block",
    "kimi-k2-instruct": "FP8-block",
    "kimi-k2-thinking": "W4A16",
    "kimi-k2.5": "W4A16",
    "kimi-k2.6": "W4A16",
    "kimi-k2.7": "W4A16",
    "kimi-k3": None,
    "devstral-2": "FP8",
    "devstral-small-2-": "FP8",
    "mistral-medium-3.5": "FP8",
    "mistral-small-4": "FP8",
}


def native_quant(model: Model) -> str | None:
    """The quant of the model's own repository: BF16 unless it was published in another."""
    if model.family in NATIVE_FAMILIES:
        return NATIVE_FAMILIES[model.family]
    return next((quant_id for start, quant_id in NATIVE_IDS.items() if model.id.startswith(start)), "BF16")


def checkpoints(model: Model) -> dict[str, Checkpoint]:
    """Quant id to repository, as the catalog names them, with online FP8 where only a BF16 repository is known."""
    artifacts = model.artifacts
    named = {
        "FP8": artifacts.fp8,
        "NVFP4": artifacts.nvfp4,
        "AWQ": artifacts.awq,
        "GPTQ-INT4": artifacts.gptq_int4,
    }
    found = {quant_id: Checkpoint(repo) for quant_id, repo in named.items() if repo}
    native = native_quant(model)
    if model.repo and native:
        found[native] = Checkpoint(model.repo)
        if native == "BF16":
            found["FP16"] = Checkpoint(model.repo)
            if model.kind == "llm":
                found.setdefault("FP8", Checkpoint(model.repo, online="fp8"))
    return found
