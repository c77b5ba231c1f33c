"""What a person rules in or out. Contradictions are usage errors before any search."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from planner.catalog.records.policy import Role
from planner.errors import UnknownName, UsageError, near_misses
from planner.sizing.records import KvType, Pool, Record
from planner.units import GIB, format_gib, parse_bytes, parse_seconds, parse_tokens

if TYPE_CHECKING:
    from planner.catalog.catalog import Catalog

Prefer = Literal["quality", "speed", "context", "headroom"]

# What stays free in each pool unless the person says otherwise.
DEFAULT_HEADROOM_FRACTION = 0.05
LEAST_HEADROOM_BYTES = GIB


class Headroom(Record):
    """Memory that stays free in each pool: a share of what is usable, at least `least_bytes`."""

    fraction: float = DEFAULT_HEADROOM_FRACTION
    least_bytes: int = LEAST_HEADROOM_BYTES

    def of(self, pool: Pool) -> int:
        """Bytes kept free in this pool."""
        return max(round(pool.usable_bytes * self.fraction), self.least_bytes)


class Constraints(Record):
    """What a plan must satisfy. Names are catalog ids; None and empty = no constraint.

    `models`: only these compete. `context_tokens` 0 means the model's native length. `max_memory` caps pools by id, by
    kind (`ram`, `unified`) or as `vram` (every GPU); the key `""` caps every pool."""

    users: int | None = None
    context_tokens: int | None = None
    roles: tuple[Role, ...] = ()
    models: tuple[str, ...] = ()
    family: str | None = None
    quant: str | None = None
    min_quant: str | None = None
    server: str | None = None
    kv_type: KvType | None = None
    min_decode_tokens_per_s: float | None = None
    max_ttft_s: float | None = None
    max_memory: dict[str, int] = {}
    license: str | None = None
    gpu_only: bool = False
    exclude: tuple[str, ...] = ()
    headroom: Headroom = Headroom()
    memory: Literal["idle", "now"] = "idle"
    prefer: Prefer | None = None
    deterministic: bool = False

    @property
    def model(self) -> str | None:
        """The only model that competes; None with several or all."""
        return self.models[0] if len(self.models) == 1 else None

    def __post_init__(self) -> None:
        for problem, hint in _contradictions(self):
            raise UsageError(problem, hint=hint)


def _contradictions(asked: Constraints) -> list[tuple[str, str]]:
    found = []
    if asked.users is not None and asked.users < 1:
        found.append((f"users {asked.users} must be at least 1", "leave --users out for the workload's own"))
    if asked.min_decode_tokens_per_s is not None and asked.min_decode_tokens_per_s <= 0:
        found.append(("the least decode speed must be more than zero", "write it like --min-decode 15"))
    named = [("model", name) for name in asked.models]
    for name, value in (*named, ("family", asked.family), ("server", asked.server), ("quant", asked.quant)):
        if value is not None and value in asked.exclude:
            text = f"--{name} {value} and --exclude {value} contradict each other: both asked for and excluded"
            found.append((text, f"drop --{name} or --exclude {value}"))
    if asked.quant is not None and asked.min_quant is not None:
        found.append(
            ("--quant and --min-quant contradict each other: one names a quant, the other a least one", "keep one")
        )
    if asked.gpu_only and "ram" in asked.max_memory and "vram" not in asked.max_memory and len(asked.max_memory) == 1:
        found.append(("--gpu-only uses no RAM that --max-memory ram= could cap", "cap vram= instead"))
    kept = asked.headroom.least_bytes if asked.headroom != Headroom() else 0
    for pool, cap in asked.max_memory.items():
        if cap <= kept:
            text = f"--max-memory {f'{pool}=' if pool else ''}{format_gib(cap)} and --headroom {format_gib(kept)}"
            found.append(
                (f"{text} contradict each other: nothing is left to use", "raise the cap or lower the headroom")
            )
    if asked.gpu_only and "batch" in asked.roles and "interactive" in asked.roles:
        found.append(
            ("--gpu-only contradicts the roles interactive,batch: the batch role runs in RAM", "drop one of the two")
        )
    if len(set(asked.roles)) != len(asked.roles):
        found.append(("a role is named twice", "name each role once"))
    return found


def constraints_from(catalog: Catalog, given: Mapping[str, Any]) -> Constraints:
    """Constraints from the keywords of `planner.recommend` (text or numbers), names resolved in the catalog.

    Raises UsageError for unreadable or contradictory values, UnknownName for names with near misses."""
    unknown = [name for name in given if name not in READERS]
    if unknown:
        close = near_misses(unknown[0], READERS)
        raise UsageError(
            f"unknown constraint {unknown[0]!r}",
            hint=f"did you mean {', '.join(close)}?" if close else f"known: {', '.join(READERS)}",
        )
    values: dict[str, Any] = {}
    for name, value in given.items():
        if value is not None:
            field, reader = READERS[name]
            values[field] = reader(catalog, value)
    if "server" in values and "quant" in values:
        values["quant"] = _readable_quant(catalog, str(given["quant"]), values["server"])
    return Constraints(**values)


def _readable_quant(catalog: Catalog, name: str, server: str) -> str:
    """The id of a quant in a format that the server reads: BF16 on vLLM is not BF16 on llama-server.

    Raises UsageError naming what the server reads, UnknownName."""
    formats = catalog.server(server).formats
    for form in formats:
        try:
            quant = catalog.quant(name, form)
        except UnknownName:
            continue
        if quant.format == form:
            return quant.id
    catalog.quant(name)
    readable = [quant.id for quant in catalog.quants.values() if quant.format in formats and not quant.rare]
    raise UsageError(f"{server} cannot read {name}", hint=f"it reads {', '.join(readable)}")


def _users(_catalog: Catalog, value: Any) -> int:
    return int(value)


def _context(_catalog: Catalog, value: Any) -> int:
    return parse_tokens(value) or 0


def _roles(_catalog: Catalog, value: Any) -> tuple[Role, ...]:
    names = tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else tuple(value)
    known: tuple[Role, ...] = get_args(Role)
    for name in names:
        if name not in known:
            raise UsageError(f"unknown role {name!r}", hint=f"known: {', '.join(known)}")
    return tuple(role for name in names for role in known if role == name)


def _models(catalog: Catalog, value: Any) -> tuple[str, ...]:
    """Ids of one name or of several, each once."""
    names = [value] if isinstance(value, (str, Path)) else list(value)
    return tuple(dict.fromkeys(catalog.model(str(name)).id for name in names))


def _family(catalog: Catalog, value: Any) -> str:
    known = {model.family for model in catalog.models.values()}
    if value not in known:
        close = near_misses(str(value), known)
        raise UsageError(f"unknown family {value!r}", hint=f"did you mean {', '.join(close)}?" if close else None)
    return str(value)


def _quant(catalog: Catalog, value: Any) -> str:
    return catalog.quant(str(value)).id


def _server(catalog: Catalog, value: Any) -> str:
    return catalog.server(str(value)).id


def _kv_type(_catalog: Catalog, value: Any) -> KvType:
    if isinstance(value, KvType):
        return value
    names = value.lower().split(",") if isinstance(value, str) else list(value)
    if len(names) > 2 or not all(name.strip() for name in names):
        raise UsageError(f"KV cache type {value!r} is not one or two types", hint="write it like q8_0 or q8_0,f16")
    return KvType(k=names[0].strip(), v=names[-1].strip())


def _rate(_catalog: Catalog, value: Any) -> float:
    try:
        rate = float(value)
    except ValueError:
        rate = nan
    if not isfinite(rate):
        raise UsageError(f"decode speed {value!r} is not a number", hint="write it like 15")
    return rate


def _seconds(_catalog: Catalog, value: Any) -> float:
    return parse_seconds(value, "time to first token")


def _max_memory(_catalog: Catalog, value: Any) -> dict[str, int]:
    if isinstance(value, Mapping):
        return {str(pool).casefold(): parse_bytes(size, f"memory cap of {pool}") for pool, size in value.items()}
    caps: dict[str, int] = {}
    for item in [value] if isinstance(value, (str, int)) else list(value):
        pool, equals, size = str(item).rpartition("=") if isinstance(item, str) else ("", "", item)
        if equals and not pool:
            raise UsageError(f"memory cap {item!r} names no pool", hint="write it like vram=20GiB")
        caps[pool.strip().casefold()] = parse_bytes(size, "memory cap")
    return caps


def _license(_catalog: Catalog, value: Any) -> str:
    return str(value).casefold()


def _flag(_catalog: Catalog, value: Any) -> bool:
    return bool(value)


def _exclude(catalog: Catalog, value: Any) -> tuple[str, ...]:
    """Ids of what is left out: each name must be a model, family, server or quant."""
    names = [value] if isinstance(value, str) else list(value)
    found = tuple(_excluded_id(catalog, part.strip()) for name in names for part in str(name).split(","))
    if set(catalog.servers) <= set(found):
        raise UsageError("--exclude leaves no server", hint=f"keep one of {', '.join(catalog.servers)}")
    return found


def _excluded_id(catalog: Catalog, name: str) -> str:
    families = {model.family for model in catalog.models.values()}
    folded = name.casefold()
    for known in (catalog.servers, families, catalog.models):
        if folded in known:
            return folded
    quants = {quant.id.casefold(): quant.id for quant in catalog.quants.values()}
    if folded in quants:
        return quants[folded]
    for find in (catalog.model, catalog.quant):
        try:
            return find(name).id
        except UnknownName:
            continue
    close = near_misses(name, (*catalog.servers, *families, *catalog.models, *quants.values()))
    hint = f"did you mean {', '.join(close)}?" if close else "name a model, family, server or quant"
    raise UsageError(f"nothing called {name!r} to exclude", hint=hint)


def _headroom(_catalog: Catalog, value: Any) -> Headroom:
    """A share (`10%`) of each pool, at least 1 GiB unless it is 0; or a size per pool."""
    if isinstance(value, Headroom):
        return value
    text = str(value).strip()
    if text.endswith("%"):
        try:
            share = float(text[:-1]) / 100
        except ValueError:
            raise UsageError(f"headroom {value!r} is not a share", hint="write it like 10% or 2GiB") from None
        if not 0 <= share < 1:
            raise UsageError(f"headroom {value!r} must be between 0% and 100%")
        return Headroom(fraction=share, least_bytes=LEAST_HEADROOM_BYTES if share else 0)
    return Headroom(fraction=0.0, least_bytes=parse_bytes(value, "headroom"))


def _one_of(*known: str) -> Any:
    def read(_catalog: Catalog, value: Any) -> str:
        if value not in known:
            raise UsageError(f"unknown choice {value!r}", hint=f"known: {', '.join(known)}")
        return str(value)

    return read


# Keywords, which are the names of the options: the field that each sets, and how its value is read.
READERS: dict[str, tuple[str, Any]] = {
    "users": ("users", _users),
    "context": ("context_tokens", _context),
    "roles": ("roles", _roles),
    "model": ("models", _models),
    "family": ("family", _family),
    "quant": ("quant", _quant),
    "min_quant": ("min_quant", _quant),
    "server": ("server", _server),
    "kv_type": ("kv_type", _kv_type),
    "min_decode": ("min_decode_tokens_per_s", _rate),
    "max_ttft": ("max_ttft_s", _seconds),
    "max_memory": ("max_memory", _max_memory),
    "license": ("license", _license),
    "gpu_only": ("gpu_only", _flag),
    "exclude": ("exclude", _exclude),
    "headroom": ("headroom", _headroom),
    "memory": ("memory", _one_of("idle", "now")),
    "prefer": ("prefer", _one_of("quality", "speed", "context", "headroom")),
    "deterministic": ("deterministic", _flag),
}
