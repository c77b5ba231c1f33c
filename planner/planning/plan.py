"""The plan: what to run on a machine, why, and what lost."""

from __future__ import annotations

from typing import Literal

from planner.catalog.records import Axis, MatrixRow
from planner.catalog.records.policy import Role, Workload
from planner.hardware.facts import FORMAT_VERSION, Hardware
from planner.planning.constraints import Prefer
from planner.planning.rank import Targets, Value
from planner.servers.records import Service
from planner.sizing.records import Placement, Pool, Record
from planner.speed.records import Range


class Reason(Record):
    """One statement of why, in a sentence, with the rule that made it."""

    rule: str
    text: str


class Warning(Record):  # noqa: A001 - the field's word; never shadows the builtin in use here
    """Something that will bite: rule id, severity, what, and the fix."""

    rule_id: str
    severity: Literal["note", "warning", "error"]
    text: str
    fix: str | None = None


class RowQuote(Record):
    """The matrix row that decided, and its reference choice with its fate on this machine."""

    id: str
    title: str
    because: str
    cost: str
    reference: str | None = None
    reference_outcome: str | None = None


class RouterEndpoint(Record):
    """One backend behind the router."""

    service: str
    role: Role
    models: tuple[str, ...]


class Router(Record, kw_only=True):
    """The router in front of the services: 127.0.0.1:3000 by default."""

    port: int = 3000
    endpoints: tuple[RouterEndpoint, ...]
    reason: str


class PoolPlan(Record):
    """One pool under the plan: the memory bar. `headroom_bytes` stays free by rule."""

    pool: Pool
    used_bytes: int
    headroom_bytes: int


class Alternative(Record):
    """A runner-up with its figures and the rule that put it lower."""

    model: str
    model_name: str
    quant: str
    server: str
    placement: Placement
    total_bytes: int
    context: int
    decode_tokens_per_s: Range | None
    reason: str


class Rejected(Record):
    """A candidate that lost: where it lay, and why."""

    model: str
    quant: str | None
    server: str | None
    placement: str | None
    reason_id: str
    text: str


class Plan(Record, kw_only=True):
    """A saved decision with its inputs; `render` and `bench` need nothing else."""

    format_version: str = FORMAT_VERSION
    workload: Workload
    hardware: Hardware
    catalog_digest: str
    services: tuple[Service, ...]
    router: Router | None = None
    pools: tuple[PoolPlan, ...] = ()
    reasons: tuple[Reason, ...] = ()
    warnings: tuple[Warning, ...] = ()
    matrix_row: RowQuote
    options: dict[str, str] = {}


class Place(Record):
    """One candidate in the order: its value at each level (less is better), the figures that these are made of, and
    the first level at which it falls behind the place before it. `ability` and `quant_loss` are size doublings."""

    model: str
    model_name: str
    quant: str
    server: str
    placement: Placement
    values: tuple[Value, ...]
    ability: float
    quant_loss: float
    decode_tokens_per_s: float | None
    ttft_s: float | None
    total_bytes: int
    free_fraction: float
    behind_by: str | None = None
    behind_text: str | None = None


class Decision(Record):
    """Everything that the order of candidates is made of. `levels` name the values of each place, the first that
    differs decides; `facts` are those that hold here, `row` is the first row whose facts all do."""

    facts: tuple[str, ...]
    row: MatrixRow
    targets: Targets
    prefer: Prefer | None
    axis: Axis | None
    levels: tuple[str, ...]
    places: tuple[Place, ...]


class Answer(Record):
    """What `recommend` returns."""

    plan: Plan
    alternatives: tuple[Alternative, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    decision: Decision | None = None
