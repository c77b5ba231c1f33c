"""What a container is given: ports, volumes, GPUs, groups, and the variables that may be set for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec

from planner.rendering.deployment import Deployment, Unit
from planner.rendering.quoting import compose_scalar

# `docker run` cannot add a host group by a name that the image lacks, so numbers; these are Ubuntu 24.04's.
VIDEO_GID, RENDER_GID = 44, 992


class Volume(msgspec.Struct, frozen=True, kw_only=True):
    """One mount; `source` is already quoted. `name`: of a cache its volume, of configuration the path below the config
    folder ("" for all of it)."""

    role: Literal["models", "cache", "config"]
    source: str
    target: str
    name: str = ""
    read_only: bool = True

    @property
    def type(self) -> str:
        """As Compose calls it."""
        return "volume" if self.role == "cache" else "bind"


def config_volume(name: str, target: str, *, read_only: bool = True) -> Volume:
    """A file or folder below the bundle's config folder, the folder itself when `name` is empty."""
    source = compose_scalar(f"./config/{name}".rstrip("/"))
    return Volume(role="config", name=name, source=source, target=target, read_only=read_only)


class GpuRequest(msgspec.Struct, frozen=True, kw_only=True):
    """NVIDIA cards by id, or else by number: Compose refuses both together."""

    device_ids: tuple[str, ...] = ()
    count: int = 0


class Publish(msgspec.Struct, frozen=True, kw_only=True):
    """A published port, both already quoted; a variable may change them."""

    address: str
    port: str


class HasGroups(Protocol):
    """A container, as far as variables depend on it."""

    @property
    def groups(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def user(self) -> str | None: ...  # noqa: D102
    @property
    def publish(self) -> Publish | None: ...  # noqa: D102
    @property
    def port(self) -> int: ...  # noqa: D102
    @property
    def name(self) -> str: ...  # noqa: D102


def port_variable(name: str) -> str:
    """The variable that changes a published port."""
    return f"PLANNER_{name.upper().replace('-', '_')}_PORT"


def publish(bind: str, port: int, name: str) -> Publish:
    """The published address and port; the address is fixed by the person who renders, not by a variable."""
    return Publish(address=compose_scalar(bind), port=f'"${{{port_variable(name)}:-{port}}}"')


def gpu_request(deployment: Deployment, unit: Unit) -> GpuRequest | None:
    """NVIDIA cards by UUID; by number only when none is known and the service takes all cards of the machine."""
    launch = unit.launch
    wanted = len(launch.gpu_indexes)
    if not launch.gpu_indexes or not _nvidia(deployment, unit):
        return None
    if len(launch.gpu_uuids) == wanted:
        return GpuRequest(device_ids=launch.gpu_uuids)
    cards = [n for n, gpu in enumerate(deployment.plan.hardware.gpus) if gpu.vendor == "nvidia"]
    if set(launch.gpu_indexes) == set(cards):
        return GpuRequest(count=wanted)
    return GpuRequest(device_ids=tuple(str(cards.index(n)) for n in launch.gpu_indexes if n in cards))


def _nvidia(deployment: Deployment, unit: Unit) -> bool:
    gpus = deployment.plan.hardware.gpus
    vendors = {gpus[index].vendor for index in unit.launch.gpu_indexes if index < len(gpus)}
    return unit.launch.backend == "cuda" or "nvidia" in vendors


def devices(deployment: Deployment, unit: Unit) -> tuple[str, ...]:
    """Device nodes: the kernel driver and render nodes of AMD and Intel cards."""
    if not unit.launch.gpu_indexes or _nvidia(deployment, unit):
        return ()
    return ("/dev/kfd", "/dev/dri") if unit.launch.backend == "rocm" else ("/dev/dri",)


def groups(deployment: Deployment, unit: Unit) -> tuple[str, ...]:
    """Groups that own those nodes, as variables: their numbers are the host's."""
    if not devices(deployment, unit):
        return ()
    return (f"${{PLANNER_VIDEO_GID:-{VIDEO_GID}}}", f"${{PLANNER_RENDER_GID:-{RENDER_GID}}}")


def variables(
    deployment: Deployment, containers: Sequence[HasGroups], pulls: bool, extra_ports: Sequence[tuple[str, int]] = ()
) -> list[dict[str, str]]:
    """The lines of .env.example; `extra_ports`: what is published beside the servers and the router."""
    found = []
    if deployment.options.models_dir is None:
        found.append(("PLANNER_MODELS_DIR", "./models", "Folder of the models, on the host."))
    ports = [(c.name, c.port) for c in containers if c.publish is not None]
    if deployment.router is not None:
        ports.append(("router", deployment.router.port))
    ports += extra_ports
    found += [(port_variable(name), str(port), f"Port of {name} on the host.") for name, port in ports]
    if pulls or any(c.user and "PLANNER_UID" in c.user for c in containers):
        found.append(("PLANNER_UID", "1000", "Owner of the models folder: id -u"))
        found.append(("PLANNER_GID", "1000", "Its group: id -g"))
    if any(c.groups for c in containers):
        found.append(("PLANNER_VIDEO_GID", str(VIDEO_GID), "getent group video | cut -d: -f3"))
        found.append(("PLANNER_RENDER_GID", str(RENDER_GID), "getent group render | cut -d: -f3"))
    if pulls:
        found.append(("HF_TOKEN", "", "Token of the model hub, for gated models; only the pull job sees it."))
    return [{"name": name, "value": value, "comment": comment} for name, value, comment in found]
