"""How the file behind a source was made: what sizing must follow to come out at the published bytes."""

from __future__ import annotations

import re

from planner.catalog.records import Model, Quant
from planner.servers import gguf
from planner.servers.records import ModelSource
from planner.sizing.artifact import PLAIN, Made

_HUB = re.compile(r"(?:hf:|ollama:hf\.co/)(?P<owner>[^/]+)/")

# llama-quantize treats fused QKV tensors as values since its rewrite of early 2026; older files follow the older rule.
REWRITTEN = "2026"


def made_by(source: ModelSource | None, model: Model, quant: Quant) -> Made:
    """Habits of the publisher that the source names, the generation of the quantizer by the model's age, and whether an
    image projector is loaded with it. Anything but a published GGUF file is as its format says."""
    if source is None or quant.format != "gguf" or source.uri.startswith("file:"):
        return PLAIN
    hub = _HUB.match(source.uri)
    recipe = gguf.PUBLISHERS[hub["owner"]].recipe if hub and hub["owner"] in gguf.PUBLISHERS else None
    published = model.released or model.repo_created
    return Made(
        recipe=recipe,
        quantizer="2024" if published and published < REWRITTEN else "2026",
        projector=any("mmproj" in name for name in source.file_names),
    )
