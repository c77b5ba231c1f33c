"""What every server room answers, and names that the rooms share."""

from __future__ import annotations

from typing import Protocol

from planner.catalog.records import Model, Quant, ServerFacts
from planner.hardware.facts import Backend, Hardware
from planner.servers.records import Launch, ModelSource, Objection, Service
from planner.sizing.records import Allocation, KvType, Placement

# The one secret that planned servers read; each target decides where the file lies.
API_KEY = "api_key"

# Where servers listen until a target says otherwise.
LOOPBACK = "127.0.0.1"


class ServerRoom(Protocol):
    """One server: what it reads, its memory and speed rules, how it starts. A module of this package is a room."""

    id: str

    def quants(self, model: Model, hardware: Hardware) -> tuple[str, ...]:
        """Quant ids that this server can really get for the model and run here, in order of preference."""

    def supports(
        self,
        model: Model,
        quant: Quant,
        hardware: Hardware,
        placement: Placement | None = None,
        *,
        kv_type: KvType | None = None,
        context_tokens: int | None = None,
    ) -> tuple[Objection, ...]:
        """Why not, each with an id and a sentence; empty means yes. `context_tokens`: what one user gets."""

    def allocation(self, model: Model, quant: Quant, hardware: Hardware, placement: Placement) -> Allocation:
        """The memory rules that sizing follows."""

    def stack(self, hardware: Hardware, placement: Placement) -> str:
        """The key of the speed constants: `llama.cpp-cuda`, `vllm-rocm`, `ollama-cpu`, `mlx`."""

    def backend(self, hardware: Hardware, placement: Placement) -> Backend:
        """What computes."""

    def source(self, model: Model, quant: Quant) -> ModelSource | None:
        """Where the weights are downloaded from; None when the catalog knows no such artifact."""

    def launch(self, service: Service, model: Model, quant: Quant, hardware: Hardware, facts: ServerFacts) -> Launch:
        """How the service starts. Raises RenderError for names that cannot stand in a command line."""
