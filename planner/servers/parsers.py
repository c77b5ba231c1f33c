"""vLLM's tool-call and reasoning parsers by model family."""

from __future__ import annotations

import msgspec

from planner.catalog.records import Model


class Parsers(msgspec.Struct, frozen=True):
    """Values of `--tool-call-parser` and `--reasoning-parser`, None where vLLM has none that fits."""

    tools: str | None = None
    reasoning: str | None = None


# docs/features/tool_calling.md and reasoning_outputs.md of vLLM 0.33; the names are choices of its parser. The longest
# start of a model id decides, then the family.
BY_ID: dict[str, Parsers] = {
    "qwen3-coder-next": Parsers("qwen3_coder"),
    "qwen3-coder": Parsers("qwen3_xml"),
    "phi-4-mini-instruct": Parsers("phi4_mini_json"),
    "deepseek-v3-": Parsers("deepseek_v3"),
    "deepseek-v3.1": Parsers("deepseek_v31", "deepseek_v3"),
    "deepseek-v3.2": Parsers("deepseek_v32", "deepseek_v3"),
    "deepseek-v4.1": Parsers("deepseek_v41", "deepseek_v41"),
    "glm-4.7": Parsers("glm47", "glm47"),
    "kimi-k3": Parsers("kimi_k3", "kimi_k3"),
    "minimax-m3": Parsers("minimax_m3", "minimax_m3"),
    "hunyuan-a13b": Parsers("hunyuan_a13b", "hunyuan_a13b"),
    "hy3": Parsers("hy_v3", "hy_v3"),
    "hy4": Parsers("hy_v4", "hy_v4"),
    "ling-": Parsers("ling3", "ling3"),
    "nvidia-nemotron-3": Parsers("qwen3_coder", "nemotron_v3"),
    "smollm3": Parsers("hermes"),
    "ernie-4.5-21b-a3b-thinking": Parsers("ernie45", "ernie45"),
    "c4ai-command-a": Parsers("cohere_command3"),
    "muse-glimmer": Parsers("muse_glimmer", "muse_glimmer"),
}

BY_FAMILY: dict[str, Parsers] = {
    "qwen3": Parsers("hermes", "qwen3"),
    "qwen3-next": Parsers("hermes", "qwen3"),
    "qwen3-vl": Parsers("hermes", "qwen3"),
    "qwen3.5": Parsers("qwen3_coder", "qwen3"),
    "qwen3.6": Parsers("qwen3_coder", "qwen3"),
    "qwen3.8": Parsers("qwen3_coder", "qwen3"),
    "qwen2.5": Parsers("hermes"),
    "qwen2.5-coder": Parsers("hermes"),
    "qwq": Parsers("hermes", "deepseek_r1"),
    "llama-3.1": Parsers("llama3_json"),
    "llama-3.2": Parsers("llama3_json"),
    "llama-3.3": Parsers("llama3_json"),
    "llama-4": Parsers("llama4_pythonic"),
    "mistral": Parsers("mistral"),
    "mistral-nemo": Parsers("mistral"),
    "mistral-small": Parsers("mistral", "mistral"),
    "mistral-medium": Parsers("mistral", "mistral"),
    "mistral-large": Parsers("mistral"),
    "ministral-3": Parsers("mistral"),
    "devstral": Parsers("mistral"),
    "deepseek-r1": Parsers("deepseek_v3", "deepseek_r1"),
    "deepseek-r1-distill": Parsers(None, "deepseek_r1"),
    "deepseek-v4": Parsers("deepseek_v4", "deepseek_v4"),
    "gpt-oss": Parsers("openai", "openai_gptoss"),
    "gemma-4": Parsers("gemma4", "gemma4"),
    "glm-4": Parsers("glm45", "glm45"),
    "glm-5": Parsers("glm47", "glm47"),
    "granite-4.0": Parsers("granite4"),
    "granite-4.1": Parsers("granite4"),
    "granite-4.2": Parsers("granite4"),
    "kimi": Parsers("kimi_k2", "kimi_k2"),
    "minimax": Parsers("minimax_m2", "minimax_m2"),
    "mimo": Parsers("mimo", "mimo"),
    "seed-oss": Parsers("seed_oss", "seed_oss"),
    "step": Parsers("step3p5", "step3p5"),
    "olmo-3": Parsers("olmo3", "olmo3"),
    "lfm2": Parsers("lfm2"),
    "lfm2.5": Parsers("lfm2"),
    "laguna": Parsers("poolside_v1", "poolside_v1"),
    "minicpm": Parsers("minicpm5"),
    "apertus": Parsers("apertus"),
}


def parsers_of(model: Model) -> Parsers:
    """The parsers of a model: the reasoning parser only when it thinks, the tool parser unless the catalog says
    that it calls no tools."""
    starts = [start for start in BY_ID if model.id.startswith(start)]
    found = BY_ID[max(starts, key=len)] if starts else BY_FAMILY.get(model.family, Parsers())
    return Parsers(
        tools=None if model.tool_calling is False else found.tools,
        reasoning=None if model.thinking == "no" else found.reasoning,
    )
