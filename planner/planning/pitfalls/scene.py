"""What the checks look at: services as planned or as found in files, on a machine, and what a check says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import msgspec

from planner.catalog.records import Image, Model, Quant, Sampling
from planner.catalog.records.policy import Role
from planner.hardware.facts import Hardware
from planner.planning.plan import PoolPlan
from planner.sizing.records import Footprint, Placement
from planner.speed.records import Speed

Severity = Literal["note", "warning", "error"]
# Where a pitfall is looked for: in a plan, in a file that starts servers, on a machine by itself.
Side = Literal["plan", "file", "host"]

# The placements in which the CPU computes a part.
IN_RAM = frozenset({"cpu", "experts-in-ram", "split"})


class Need(msgspec.Struct, frozen=True):
    """What a service wants of one memory, in bytes: its weights alone, all of it with one request of full length, all
    of it with every slot full, what it would want if only the experts of one token counted (0: it has none), and what
    its server takes for itself at the start (None: what it needs)."""

    pool: str
    usable_bytes: int
    weights_bytes: int
    request_bytes: int
    full_bytes: int
    capacity_bytes: int = 0
    active_weights_bytes: int = 0
    claimed_bytes: int | None = None


class Lighter(msgspec.Struct, frozen=True):
    """A 4-bit file of a model that is served in 16 bits, and the weights of both in bytes."""

    quant: Quant
    weights_bytes: int
    own_bytes: int


class Setup(msgspec.Struct, frozen=True):
    """One service, as planned or as found. None: not known, or left to the server.

    `place`: where it stands in a file. `context_tokens`: what one user gets; `shared_tokens`: the total that the slots
    divide among them; `reach_tokens`: the longest context that would fit. `users`: how many ask it at once, where the
    scene does not say. `image`: what a container of it would start. `stretched`: an extension of the trained context
    is switched on. `makes_room`: what does not fit is moved or shortened without an error. `numa`: None where the file
    has no say in it. `devices`: GPUs by id or index, `all` for every one. `starts_server`: False for a file that only
    configures a model."""

    name: str
    place: str = ""
    role: Role = "interactive"
    server: str | None = None
    model: Model | None = None
    quant: Quant | None = None
    context_tokens: int | None = None
    shared_tokens: int | None = None
    reach_tokens: int | None = None
    slots: int | None = None
    users: int | None = None
    stretched: bool = False
    sampling: Sampling | None = None
    placement: Placement | None = None
    numa: Literal["none", "bind", "interleave"] | None = None
    devices: frozenset[str] = frozenset()
    needs: tuple[Need, ...] = ()
    makes_room: bool = False
    footprint: Footprint | None = None
    image: Image | None = None
    ram_bytes: int | None = None
    memory_limit_bytes: int | None = None
    locks_memory: bool = False
    lock_limit_bytes: int | None = None
    ports: tuple[tuple[int, str | None], ...] = ()
    downloads: bool = True
    has_token: bool = False
    lighter: Lighter | None = None
    starts_server: bool = True
    speed: Speed | None = None
    missed_targets: tuple[str, ...] = ()

    @property
    def uses_ram(self) -> bool:
        """Whether the CPU computes a part."""
        return self.placement is not None and self.placement.kind in IN_RAM

    @property
    def gpus(self) -> tuple[int, ...]:
        """Indexes of the GPUs in use."""
        return self.placement.gpus if self.placement else ()


class Scene(msgspec.Struct, frozen=True):
    """Services that run side by side, the machine if it is known, and what is asked of them.

    `users` at once; `floor`: the most lossy quant that the workload allows; `bars`: the memories of a plan;
    `context_advice`: what the row that decided says of long prompts."""

    hardware: Hardware | None = None
    setups: tuple[Setup, ...] = ()
    users: int | None = None
    reasoning: bool = False
    deterministic: bool = False
    floor: Quant | None = None
    bars: tuple[PoolPlan, ...] = ()
    context_advice: str | None = None

    @property
    def ram_matters(self) -> bool:
        """Whether the CPU computes here, as far as it is known: a machine by itself may be used for anything."""
        return not self.setups or any(setup.uses_ram for setup in self.setups)


class Sign(msgspec.Struct, frozen=True):
    """What a check found: a sentence, whose it is, a key below its place (of a machine: the path of the fact), and
    where they differ from those of the pitfall, fix and severity."""

    text: str
    setup: Setup | None = None
    key: str = ""
    fix: str | None = None
    severity: Severity | None = None


Check = Callable[[Scene], Iterator[Sign]]


class Pitfall(msgspec.Struct, frozen=True):
    """One entry of the register: what is wrong in general, how bad, how it is mended, where it is looked for.

    `severities`: the usual one first. `weighed`: a choice that a plan has already weighed against others and told of;
    it is not said again of a file that is still as it was rendered."""

    id: str
    severities: tuple[Severity, ...]
    sides: tuple[Side, ...]
    wrong: str
    fix: str | None
    check: Check
    weighed: bool = False
