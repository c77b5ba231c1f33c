"""Programs as the checks of `planner.planning.pitfalls` see them: what each serves, sized for a machine."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from msgspec.structs import replace

from planner.catalog.records import Model, Quant
from planner.doctor.naming import Names
from planner.doctor.placing import placement_of
from planner.doctor.records import Document, Served
from planner.doctor.settings import Settings, settings_of
from planner.errors import PlannerError
from planner.hardware.facts import Hardware
from planner.planning.pitfalls.scene import Need, Setup
from planner.planning.pitfalls.sized import lighter_of, needs_of, ram_bytes
from planner.servers import SERVERS
from planner.servers.origin import made_by
from planner.servers.vllm import MEMORY_FRACTION
from planner.sizing.capacity import max_context
from planner.sizing.footprint import size_model
from planner.sizing.pools import machine_pools
from planner.sizing.records import Footprint, Placement, Runtime
from planner.sizing.tensors import expand
from planner.units import MIB

# What a server keeps at the least where it chooses the context itself (llama-server's --fit-ctx).
LEAST_CONTEXT_TOKENS = 4096

# The kernel's limit of locked memory since Linux 5.16 (include/uapi/linux/resource.h), which services inherit.
DEFAULT_LOCK_BYTES = 8 * MIB

_TOKENS = frozenset({"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"})
_HOSTS_OWN = frozenset({"kubernetes", "modelfile", "launchd"})
_DECIMAL = re.compile(r"[0-9]{1,9}")


def setups_of(document: Document, names: Names, hardware: Hardware | None) -> tuple[Setup, ...]:
    """The programs of a document, those that are no servers with their ports alone."""
    has_token = any(_TOKENS & served.environment.keys() for served in document.served)
    setups = (_setup(served, document, names, hardware) for served in document.served)
    return tuple(replace(setup, has_token=has_token) for setup in setups)


def _setup(served: Served, document: Document, names: Names, hardware: Hardware | None) -> Setup:
    ports = tuple((int(port.published), port.host_ip) for port in served.ports if _DECIMAL.fullmatch(port.published))
    bare = Setup(name=served.name, place=served.place, ports=ports)
    if served.server is None or served.is_job:
        return bare
    settings = settings_of(served)
    model, quant = names.find(served.server, settings)
    placement = placement_of(served, settings, hardware, model)
    setup = replace(
        bare,
        server=served.server,
        role="embedding" if model and model.kind == "embedding" else "interactive",
        model=model,
        quant=quant,
        context_tokens=_context(served, settings, model, document),
        shared_tokens=settings.shared_tokens,
        slots=settings.slots,
        stretched=settings.stretched,
        sampling=settings.sampling,
        numa=_numa(served, settings),
        placement=placement,
        devices=frozenset(_device_names(served, placement)),
        makes_room=settings.makes_room,
        memory_limit_bytes=served.memory_limit_bytes,
        locks_memory=settings.locks_memory,
        lock_limit_bytes=_lock_limit(served, hardware),
        downloads=settings.downloads,
        lighter=lighter_of(model, quant, names.catalog) if model and quant else None,
        starts_server=served.kind != "modelfile",
        ports=ports or tuple(_own_port(served, settings, names)),
    )
    return _sized(setup, settings, hardware)


def _context(served: Served, settings: Settings, model: Model | None, document: Document) -> int | None:
    """Tokens of one request: as stated, in a Modelfile beside the file too; vLLM's own choice is all that the model
    was trained for, as is a 0 of llama-server."""
    stated = settings.context_tokens
    if served.server == "ollama" and stated is None and served.kind != "modelfile":
        return next(_modelfile_contexts(document.path), None)
    if stated == 0 or (stated is None and served.server == "vllm"):
        return model.context.native_tokens if model and model.context else None
    return stated


def _modelfile_contexts(path: str) -> Iterator[int]:
    """The contexts that Modelfiles beside the file, or one folder below it, set."""
    folder = Path(path).parent
    for file in sorted([*folder.glob("*Modelfile"), *folder.glob("*/*Modelfile")]):
        try:
            text = file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        found = settings_of(Served(kind="modelfile", place="", name=str(file), server="ollama", config=text))
        if found.context_tokens:
            yield found.context_tokens


def _own_port(served: Served, settings: Settings, names: Names) -> Iterator[tuple[int, str | None]]:
    """The port that a program without a network of its own listens on, unless it is written with a variable. Of the
    commands in a script nobody knows which of them run at the same time."""
    if served.server is None or not (served.kind in {"unit", "launchd"} or served.host_network):
        return
    stated = settings.port
    if stated is None:
        yield names.catalog.server(served.server).port, settings.host
    elif _DECIMAL.fullmatch(stated):
        yield int(stated), settings.host


def _numa(served: Served, settings: Settings) -> Literal["none", "bind", "interleave"] | None:
    if served.kind in _HOSTS_OWN:
        return None
    return "bind" if served.numa_bound or settings.numa_bound else "none"


def _device_names(served: Served, placement: Placement | None) -> Iterator[str]:
    """GPUs by id; a bare count names none. A unit reaches those that it is placed on."""
    if served.kind == "unit" and placement is not None:
        yield from map(str, placement.gpus)
    for device in served.devices:
        if device in {"count all", "count -1"}:
            yield "all"
        elif not device.startswith("count "):
            yield device


def _lock_limit(served: Served, hardware: Hardware | None) -> int | None:
    """As the file states it, else the kernel's default; a script has the limit of the session that starts it, and of
    Kubernetes the node decides."""
    if served.kind in {"script", "launchd"}:
        return hardware.memory.lock_limit_bytes if hardware else None
    if served.kind == "kubernetes":
        return None
    return DEFAULT_LOCK_BYTES if served.lock_limit_bytes is None else served.lock_limit_bytes


def _sized(setup: Setup, settings: Settings, hardware: Hardware | None) -> Setup:
    """With its needs, where model, quant and placement are known and the catalog can size them."""
    model, quant, placement = setup.model, setup.quant, setup.placement
    if model is None or quant is None or placement is None or model.kind == "image":
        return setup
    try:
        return _with_needs(setup, settings, hardware or Hardware(), model, quant, placement)
    except PlannerError:  # a cache type or a quant that the server refuses: other rules say so
        return setup


def _with_needs(
    setup: Setup, settings: Settings, hardware: Hardware, model: Model, quant: Quant, placement: Placement
) -> Setup:
    room = SERVERS[setup.server or ""]
    expanded, pools = expand(model), machine_pools(hardware)
    allocation = room.allocation(model, quant, hardware, placement)
    made = made_by(room.source(model, quant), model, quant)
    context = setup.context_tokens or LEAST_CONTEXT_TOKENS
    runtime = Runtime(context_tokens=context, parallel=max(setup.slots or 1, 1), kv_type=settings.kv_type)

    def footprint(asked: Runtime) -> Footprint:
        return size_model(
            expanded, quant, asked, allocation, server=room.id, made=made, placement=placement, pools=pools
        )

    full = footprint(runtime)
    needs = needs_of(full, footprint(replace(runtime, parallel=1)), pools, expanded.shape, hardware)
    needs = tuple(_share_of_card(need, settings, setup.server) for need in needs)
    known = replace(setup, footprint=full, needs=needs, ram_bytes=ram_bytes(full, {pool.id: pool for pool in pools}))
    if all(need.full_bytes <= need.usable_bytes for need in needs):
        return known
    reach = max_context(
        expanded, quant, runtime, allocation, placement, pools, limit_tokens=context, made=made,
        free_bytes={pool.id: need.usable_bytes for pool in pools for need in needs if need.pool.split()[0] == pool.id},
    )  # fmt: skip
    return replace(known, reach_tokens=reach)


def _share_of_card(need: Need, settings: Settings, server: str | None) -> Need:
    """Of each card vLLM takes a fraction for itself, unless it is given the bytes of its cache."""
    if server != "vllm" or settings.cache_bytes is not None or not need.pool.startswith("gpu"):
        return need
    fraction = settings.memory_fraction or MEMORY_FRACTION
    usable = min(need.usable_bytes, round(fraction * need.capacity_bytes))
    return replace(need, usable_bytes=usable, claimed_bytes=usable)
