"""Workloads and decision-matrix rows: what people want, and what experience answers."""

from typing import Literal

from planner.catalog.records.base import Record

SamplingIntent = Literal["vendor", "deterministic"]
Role = Literal["interactive", "batch", "embedding", "image"]


class Workload(Record):
    """What a deployment must do. Targets are per user; `min_decode_tokens_per_s` and `max_ttft_s` decide
    whether a candidate meets its targets, `capabilities` (`tools`, `vision`, `embedding`, `image`, `reasoning`)
    whether it may compete.
    `quant_floor` is a quant id: nothing with more measured loss is planned unless asked. `axis`: the kind of ability
    by which models are compared, an id of `axes.yaml`."""

    id: str
    title: str
    prompt_tokens: int
    output_tokens: int
    context_tokens: int
    users: int = 1
    min_decode_tokens_per_s: float | None = None
    max_ttft_s: float | None = None
    capabilities: tuple[str, ...] = ()
    roles: tuple[Role, ...] = ("interactive",)
    optional_roles: tuple[Role, ...] = ()
    quant_floor: str | None = None
    sampling: SamplingIntent = "vendor"
    axis: str = "chat"
    description: str | None = None


class Sampling(Record):
    """Sampler settings of a planned service and why; None = the server's or model's own default."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    thinking: bool | None = None
    reason: str = ""


class Reference(Record):
    """The choice that a row names as its reference: server, models and quants, and how they lie."""

    server: str
    models: tuple[str, ...]
    quants: tuple[str, ...]
    device: Literal["gpu", "cpu", "unified", "any"] = "any"


class MatrixRow(Record, kw_only=True):
    """One row of the decision matrix: the named facts that must all hold, and the answer."""

    id: str
    title: str
    when: tuple[str, ...]
    reference: Reference | None = None
    servers: tuple[str, ...]
    shortlist: tuple[str, ...] = ()
    quants: tuple[str, ...] = ()
    device: Literal["gpu", "cpu", "unified", "any"] = "any"
    sampling: SamplingIntent | None = None
    because: str
    cost: str
    context_advice: str | None = None
