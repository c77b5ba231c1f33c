"""What a person has to know of a model on vLLM that no flag says."""

from __future__ import annotations

from planner.catalog.records import Model, Quant
from planner.servers.checkpoints import checkpoints
from planner.servers.parsers import parsers_of
from planner.servers.records import Service


def notes_of(service: Service, model: Model, quant: Quant) -> tuple[str, ...]:
    """Limits of a planned service, a sentence each."""
    notes = ["the key guards /v1 only: publish nothing but the router"]
    penalty = service.sampling.presence_penalty
    if penalty is not None:
        notes.append(f"the vendor's presence_penalty of {penalty:g} is a field of each request here, not of the server")
    if service.sampling.seed is not None and service.parallel > 1:
        notes.append(
            "the same prompt may still differ by who else is in the batch: VLLM_BATCH_INVARIANT=1 where supported"
        )
    parsers = parsers_of(model)
    if model.tool_calling and parsers.tools is None:
        notes.append(f"vLLM has no tool-call parser for {model.id}: a request with tools is refused")
    if model.thinking != "no" and parsers.reasoning is None:
        notes.append(f"vLLM has no reasoning parser for {model.id}: its thoughts stand in the answer")
    known = checkpoints(model).get(quant.id)
    if known and known.online:
        notes.append(f"{quant.id} is made from the 16-bit repository while loading: the download is the 16-bit size")
    if model.gated and known and known.repo == model.repo:
        notes.append(f"{known.repo} is gated: accept its licence on the hub and give the download a token")
    return tuple(notes)
