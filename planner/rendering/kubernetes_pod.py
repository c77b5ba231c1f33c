"""A container of a plan as a pod: what Kubernetes is asked for, and what it mounts."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable
from typing import Literal

import msgspec

from planner.errors import RenderError
from planner.rendering.compose import Container
from planner.rendering.compose_devices import RENDER_GID, VIDEO_GID, Volume
from planner.rendering.compose_mounts import OWNER
from planner.rendering.deployment import FETCHES_AT_START, Deployment, Instance, Unit
from planner.servers.devices import used_gpus

KEY_SECRET = "planner-api-key"  # noqa: S105 - its name
# The label of pods that may reach the internet.
INTERNET = ("planner/internet", "yes")
# The group of every volume, and the user of what has none of its own: a number without an account anywhere.
GROUP = 65532
_PERIOD_S = 10
# A share of the CPU for what is not bound: no limit stands beside it, so idle CPUs are used whatever it says.
_CPU_SHARE = "500m"
# Extended resources, as the vendors' device plugins name them.
_GPU_RESOURCES = {"nvidia": "nvidia.com/gpu", "amd": "amd.com/gpu", "intel": "gpu.intel.com/i915"}
# Intel's plugin names a resource by the kernel's driver, which is xe from this architecture on.
_XE_DRIVER = ("Xe2", "gpu.intel.com/xe")
# The keys that a ConfigMap may have.
_CONFIG_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")


class PodVolume(msgspec.Struct, frozen=True, kw_only=True):
    """One volume of a pod; `source` names the claim, ConfigMap or Secret, `size` limits memory."""

    kind: Literal["claim", "config", "secret", "memory", "scratch"]
    name: str
    source: str = ""
    size: str = ""


class PodMount(msgspec.Struct, frozen=True, kw_only=True):
    """Where a container sees a volume, or one file of it."""

    volume: str
    path: str
    sub_path: str = ""
    read_only: bool = True


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """How the kubelet asks: an HTTP path, or the open port where there is none."""

    kind: Literal["startupProbe", "readinessProbe", "livenessProbe"]
    path: str | None
    period_seconds: int
    timeout_seconds: int
    failures: int


MODELS = PodVolume(kind="claim", name="models", source="planner-models")
API_KEY = PodVolume(kind="secret", name="api-key", source=KEY_SECRET)
KEY_MOUNT = PodMount(volume=API_KEY.name, path="/run/secrets")


def probes(start_seconds: int, ready_path: str, alive_path: str | None) -> tuple[Probe, ...]:
    """Time to load before anything is asked, then quick to leave the Service and slow to be started again.
    `ready_path` answers once it can serve, `alive_path` while it need not be started again (None: its open port)."""
    starts = math.ceil(start_seconds / _PERIOD_S)
    return (
        Probe(kind="startupProbe", path=alive_path, period_seconds=_PERIOD_S, timeout_seconds=5, failures=starts),
        Probe(kind="readinessProbe", path=ready_path, period_seconds=_PERIOD_S, timeout_seconds=5, failures=3),
        Probe(kind="livenessProbe", path=alive_path, period_seconds=30, timeout_seconds=10, failures=6),
    )


class PodContainer(msgspec.Struct, frozen=True, kw_only=True):
    """One container; words and values are plain."""

    name: str
    image: str
    digest_unknown: bool = False
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    reads_token: bool = False
    port: int | None = None
    probes: tuple[Probe, ...] = ()
    requests: tuple[tuple[str, str], ...] = ()
    limits: tuple[tuple[str, str], ...] = ()
    read_only: bool = True
    capabilities: tuple[str, ...] = ()
    mounts: tuple[PodMount, ...] = ()


class Pod(msgspec.Struct, frozen=True, kw_only=True):
    """The pod of a Deployment or Job. `user` None: the image decides, and may choose root."""

    name: str
    labels: tuple[tuple[str, str], ...]
    containers: tuple[PodContainer, ...]
    volumes: tuple[PodVolume, ...]
    user: int | None = GROUP
    group: int = GROUP
    fs_group: int = GROUP
    groups: tuple[int, ...] = ()
    config_digest: str | None = None
    start_seconds: int = 60
    stop_seconds: int = 60
    job: bool = False

    @property
    def selector(self) -> tuple[tuple[str, str], ...]:
        """The labels that tell this pod from all others."""
        return tuple(
            (key, value) for key, value in self.labels if key.endswith(("/part-of", "/instance", "/component"))
        )


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """A ConfigMap: its name, and its files."""

    name: str
    files: tuple[tuple[str, str], ...]

    @property
    def digest(self) -> str:
        """Changes with the files: a pod reads them only when it starts, so a change has to make a new pod."""
        return hashlib.sha256(repr(self.files).encode()).hexdigest()[:12]


def config_map(name: str, files: Iterable[tuple[str, str]]) -> Config:
    """The ConfigMap of some files. Raises RenderError for a name that no key can have."""
    made = Config(name=name, files=tuple(files))
    for key, _ in made.files:
        if not _CONFIG_KEY.fullmatch(key):
            raise RenderError(
                f"configuration file {key!r} cannot lie in a ConfigMap", hint="use letters, digits, . - _"
            )
    return made


def object_name(name: str) -> str:
    """Name of a process's objects: a Service's may not begin with a digit, so none begins with the process's own."""
    return f"planner-{name}"


def labels(
    name: str, program: str, component: str, role: str = "", *, internet: bool = False
) -> tuple[tuple[str, str], ...]:
    """The labels of a pod: those that Kubernetes recommends, and what policies ask for."""
    found = [
        ("app.kubernetes.io/part-of", "planner"),
        ("app.kubernetes.io/name", program),
        ("app.kubernetes.io/instance", name),
        ("app.kubernetes.io/component", component),
    ]
    if role:
        found.append(("planner/role", role))
    if internet:
        found.append(INTERNET)
    return tuple(found)


def user_of(made: Container) -> tuple[int | None, int]:
    """User and group as numbers; no user where the image has to decide."""
    if made.user == OWNER:
        return GROUP, GROUP
    if made.user is None:
        return None, GROUP
    user, _, group = made.user.strip('"').partition(":")
    if not user.isdigit():
        raise RenderError(
            f"{made.name}: user {user!r} of the image is no number", hint="write its number in the catalog"
        )
    return int(user), int(group) if group.isdigit() else GROUP


def gpu_resource(deployment: Deployment, unit: Unit) -> tuple[str, str] | None:
    """The resource of the vendor's device plugin, and how many. Raises RenderError for GPUs of two kinds."""
    gpus = used_gpus(deployment.plan.hardware, unit.service.placement) if unit.launch.gpu_indexes else ()
    names = {_GPU_RESOURCES.get(gpu.vendor) for gpu in gpus}
    if gpus and all((gpu.architecture or "").startswith(_XE_DRIVER[0]) for gpu in gpus):
        names = {_XE_DRIVER[1]}
    if len(names) > 1 or None in names:
        raise RenderError(f"{unit.name} uses GPUs of different vendors, which one container cannot ask for")
    return (str(names.pop()), str(len(gpus))) if names else None


def _resources(deployment: Deployment, unit: Unit, instance: Instance) -> tuple[dict[str, str], dict[str, str]]:
    """Requests and limits. Whole CPUs with equal limits are what the kubelet's static CPU manager binds."""
    cpus = exclusive_cpus(deployment, unit, instance)
    requests = {"cpu": str(cpus) if cpus else _CPU_SHARE}
    limits = {"cpu": str(cpus)} if cpus else {}
    if unit.launch.memory_bytes:
        requests["memory"] = limits["memory"] = str(unit.launch.memory_bytes)
    gpu = gpu_resource(deployment, unit)
    if gpu is not None:
        requests[gpu[0]] = limits[gpu[0]] = gpu[1]
    return requests, limits


def exclusive_cpus(deployment: Deployment, unit: Unit, instance: Instance) -> int | None:
    """CPUs that a bound process asks for alone; None when it is not bound.

    All of its NUMA nodes, or one core fewer where the plan binds to every node: the static policy insists on CPUs that
    are reserved for the system (kubernetes.io, "Control CPU Management Policies on the Node"), and a pod that asks for
    those too never starts."""
    if unit.launch.numa != "bind" or not instance.cpus:
        return None
    hardware = deployment.plan.hardware
    bound = {
        cpu for u in deployment.units if u.launch.numa == "bind" for i in deployment.instances(u) for cpu in i.cpus
    }
    siblings = max(1, round(hardware.cpu.threads_per_core))
    left = sum(len(node.cpus) for node in hardware.plan_nodes) - len(bound)
    return len(instance.cpus) if left >= siblings else max(1, len(instance.cpus) - siblings)


def _scratch(path: str) -> PodVolume:
    name = re.sub(r"[^a-z0-9]+", "-", path.casefold()).strip("-")
    return PodVolume(kind="scratch", name=name)


def _mounted(unit: Unit, volume: Volume, config: Config | None) -> tuple[PodVolume, PodMount]:
    if volume.role == "models":
        found = MODELS
    elif volume.role == "cache":
        found = PodVolume(kind="claim", name=volume.name.removeprefix(f"planner-{unit.name}-"), source=volume.name)
    else:
        found = PodVolume(kind="config", name="config", source=config.name if config else "")
    sub_path = volume.name if volume.role == "config" else ""
    return found, PodMount(volume=found.name, path=volume.target, sub_path=sub_path, read_only=volume.read_only)


def mounts_of(
    unit: Unit, made: Container, volumes: Iterable[Volume], config: Config | None
) -> tuple[tuple[PodVolume, ...], tuple[PodMount, ...]]:
    """Volumes of a pod, and where its container sees them: models, caches, configuration, key, scratch space."""
    pairs = [_mounted(unit, volume, config) for volume in volumes]
    if made.secrets:
        pairs.append((API_KEY, KEY_MOUNT))
    if made.shm:
        shared = PodVolume(kind="memory", name="shared-memory", size=made.shm.removesuffix("b"))
        pairs.append((shared, PodMount(volume=shared.name, path="/dev/shm", read_only=False)))  # noqa: S108
    for path in (entry.partition(":")[0] for entry in made.tmpfs):
        scratch = _scratch(path)
        pairs.append((scratch, PodMount(volume=scratch.name, path=path, read_only=False)))
    return tuple({volume.name: volume for volume, _ in pairs}.values()), tuple(mount for _, mount in pairs)


def server_pod(deployment: Deployment, unit: Unit, instance: Instance, made: Container, config: Config | None) -> Pod:
    """The pod of one process of a unit.

    The device plugin shows a container its own cards only, counted from 0, so the launch's choice of devices falls
    away."""
    volumes, mounts = mounts_of(unit, made, made.volumes, config)
    requests, limits = _resources(deployment, unit, instance)
    user, group = user_of(made)
    own = PodContainer(
        name="server",
        image=made.image,
        digest_unknown=made.digest_unknown,
        command=made.entrypoint,
        args=made.command,
        environment=tuple(pair for pair in made.environment if pair[0] != unit.launch.device_variable),
        port=made.port,
        probes=probes(made.start_seconds, unit.launch.health.path, unit.launch.health.path),
        requests=tuple(requests.items()),
        limits=tuple(limits.items()),
        read_only=made.read_only,
        capabilities=made.capabilities,
        mounts=mounts,
    )
    server = unit.service.server
    return Pod(
        name=object_name(instance.name),
        labels=labels(instance.name, server, "server", unit.service.role, internet=server in FETCHES_AT_START),
        containers=(own,),
        volumes=volumes,
        user=user,
        group=group,
        groups=(VIDEO_GID, RENDER_GID) if made.groups else (),
        config_digest=config.digest if config else None,
        start_seconds=made.start_seconds,
    )
