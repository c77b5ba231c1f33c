"""Target `compose`: one container per process, the key in a file secret, only what must be open is published."""

from __future__ import annotations

import msgspec

from planner.errors import RenderError
from planner.rendering import compose_check, compose_devices, compose_jobs, compose_observability
from planner.rendering.bundle import Bundle, CannotServe
from planner.rendering.compose_mounts import OWNER, home_of, models_source, tmpfs_of, user_of, volumes_of
from planner.rendering.deployment import FETCHES_AT_START, Deployment, Instance, Unit, cpu_list
from planner.rendering.downloads import downloads
from planner.rendering.placing import Folders, Word, argv, environment
from planner.rendering.router import router_config, router_files
from planner.rendering.templates import TemplateSet
from planner.rendering.words import key_wrapper, resolved

FOLDERS = Folders(
    models=Word(text="/models/"),
    config=Word(text="/config/"),
    key=Word(text="/run/secrets/api_key"),
    cache=Word(text="/cache/"),
    mounts=True,
)
EVERYWHERE = "0.0.0.0"  # noqa: S104 - inside the container's own network

# What the images start with (their Dockerfiles), needed only where something must run in front of it.
_ENTRYPOINTS = {
    "llama-server": ("/app/llama-server",),
    "vllm": ("vllm", "serve"),
    "ollama": ("/bin/ollama",),
    "localai": ("/entrypoint.sh",),
}
# LocalAI unpacks its backends beside itself.
_WRITES_ANYWHERE = ("localai",)


class Container(msgspec.Struct, frozen=True, kw_only=True):
    """One process as the template lays it out; texts are plain unless they say otherwise."""

    name: str
    unit: str
    image: str
    digest_unknown: bool
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    user: str | None  # already quoted
    port: int
    publish: compose_devices.Publish | None
    networks: tuple[str, ...]
    volumes: tuple[compose_devices.Volume, ...]
    secrets: tuple[str, ...]
    devices: tuple[str, ...]
    groups: tuple[str, ...]
    gpu: compose_devices.GpuRequest | None
    memory: str | None
    shm: str | None
    cpuset: str | None
    slice: str | None
    locks_memory: bool
    health: tuple[str, ...]
    start_seconds: int
    read_only: bool
    tmpfs: tuple[str, ...]
    capabilities: tuple[str, ...]


def _image(deployment: Deployment, unit: Unit) -> tuple[str, bool]:
    reference = unit.launch.image
    if reference is None:
        raise CannotServe(
            f"{unit.service.server} has no container image for {unit.launch.backend}",
            hint="render launch or systemd instead",
        )
    tag = reference.partition("@")[0].rpartition("/")[2].partition(":")[2]
    if "@" not in reference and tag in ("", "latest"):
        raise RenderError(f"image {reference} of {unit.name} names no version", hint="pin a tag in the catalog")
    reference = deployment.pinned(reference)
    return reference, "@" not in reference


def _front(unit: Unit, instance: Instance) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What must run before the server in its container, and the capabilities for it."""
    launch = unit.launch
    words: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    if launch.numa == "interleave" and _has_numactl(unit):
        nodes = ",".join(map(str, instance.nodes)) or "all"
        words, capabilities = ("numactl", f"--interleave={nodes}", "--"), ("SYS_NICE",)
    if launch.secret_environment:
        names = [name for name, _ in launch.secret_environment]
        words += resolved(key_wrapper(names, "/run/secrets/api_key"), {})
    return words, capabilities


def _command(unit: Unit, instance: Instance) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Entrypoint (empty: the image's own), command, capabilities."""
    port = Word(text=str(unit.launch.port))
    words = resolved(argv(unit, FOLDERS, EVERYWHERE, port), {})
    rest = words[unit.launch.image_entrypoint_words :]
    front, capabilities = _front(unit, instance)
    if not front:
        return (), rest, ()
    return (*front, *_ENTRYPOINTS.get(unit.service.server, words[:1])), rest, capabilities


def _networks(deployment: Deployment, unit: Unit) -> tuple[str, ...]:
    if deployment.router is None:
        return ("edge",)
    return ("backend", "edge") if unit.service.server in FETCHES_AT_START else ("backend",)


def _secrets(unit: Unit) -> tuple[str, ...]:
    launch = unit.launch
    reads = launch.secret_environment or any(a.kind == "secret" for a in launch.argv)
    return ("api_key",) if reads or any(m.source == "secret" for m in launch.mounts) else ()


def container(deployment: Deployment, unit: Unit, instance: Instance) -> Container:
    """One process of a unit as a container."""
    launch = unit.launch
    image, digest_unknown = _image(deployment, unit)
    entrypoint, command, capabilities = _command(unit, instance)
    volumes = volumes_of(deployment, unit)
    if user_of(unit, volumes) == OWNER:
        # Another user cannot enter root's home: what lies there is made anew below HOME.
        volumes = tuple(volume for volume in volumes if not volume.target.startswith("/root/"))
    settings = environment(unit, FOLDERS, EVERYWHERE, Word(text=str(launch.port)))
    user = user_of(unit, volumes)
    home = home_of(user, volumes)
    published = None
    if deployment.router is None:
        published = compose_devices.publish(deployment.options.bind, instance.port, f"{instance.name}")
    bound = launch.numa == "bind" and bool(instance.nodes)
    return Container(
        name=instance.name,
        unit=unit.name,
        image=image,
        digest_unknown=digest_unknown,
        entrypoint=entrypoint,
        command=command,
        environment=(*home, *((s.name, s.value.text) for s in settings)),
        user=user,
        port=launch.port,
        publish=published,
        networks=_networks(deployment, unit),
        volumes=volumes,
        secrets=_secrets(unit),
        devices=compose_devices.devices(deployment, unit),
        groups=compose_devices.groups(deployment, unit),
        gpu=compose_devices.gpu_request(deployment, unit),
        memory=f"{launch.memory_bytes}b" if launch.memory_bytes else None,
        shm=f"{launch.shm_bytes}b" if launch.shm_bytes else None,
        cpuset=cpu_list(instance.cpus) or None,
        slice=slice_name(instance.nodes) if bound else None,
        locks_memory=launch.locks_memory,
        health=launch.health.argv or (),
        start_seconds=launch.start_seconds,
        read_only=unit.service.server not in _WRITES_ANYWHERE,
        tmpfs=tmpfs_of(unit),
        capabilities=capabilities,
    )


def slice_name(nodes: tuple[int, ...]) -> str:
    """The slice that binds memory to NUMA nodes (a hyphen would make it another slice's child)."""
    return f"planner-numa{'_'.join(map(str, nodes))}.slice"


def _router_values(deployment: Deployment, containers: tuple[Container, ...], digest: str) -> dict[str, object] | None:
    if deployment.router is None:
        return None
    named = {endpoint.service for endpoint in deployment.router.endpoints}
    return {
        "image": f"planner-router:{digest}",
        "port": deployment.router.port,
        "publish": compose_devices.publish(deployment.options.bind, deployment.router.port, "router"),
        "depends_on": [
            (c.name, "service_healthy" if c.health else "service_started") for c in containers if c.unit in named
        ],
    }


def _slices(containers: tuple[Container, ...], deployment: Deployment) -> dict[str, dict[str, str]]:
    found = {}
    for _, instance in deployment.processes():
        if any(c.name == instance.name and c.slice for c in containers):
            nodes = ",".join(map(str, instance.nodes))
            found[slice_name(instance.nodes)] = {"nodes": nodes, "cpus": cpu_list(instance.cpus)}
    return found


def not_interleaved(deployment: Deployment) -> tuple[str, ...]:
    """Services planned with memory interleaved over NUMA nodes whose image has no numactl to ask for it."""
    return tuple(
        f"{unit.name} is planned with memory interleaved over NUMA nodes, which Compose cannot ask for: the image"
        " has no numactl. Render quadlet, systemd or launch for it, or expect less bandwidth."
        for unit in deployment.units
        if unit.launch.numa == "interleave" and not _has_numactl(unit)
    )


def _has_numactl(unit: Unit) -> bool:
    return unit.image is not None and "numactl" in unit.image.programs


def render_compose(deployment: Deployment, templates: TemplateSet, header: tuple[str, ...]) -> Bundle:
    """compose.yaml with everything that it mounts, builds or reads. Raises RenderError when Compose cannot serve it."""
    if any(unit.launch.backend == "metal" for unit in deployment.units):
        raise CannotServe(
            "containers cannot use an Apple GPU, so compose cannot serve this plan", hint="render launch or launchd"
        )
    containers = tuple(container(deployment, u, i) for u in deployment.units for i in deployment.instances(u))
    prepares = compose_jobs.prepares(deployment, containers)
    pulled = downloads(deployment)
    volumes = sorted({v.source for c in containers for v in c.volumes if v.type == "volume"})
    secrets = ["api_key"] if deployment.router or any(c.secrets for c in containers) else []
    watching = compose_observability.watching(deployment)
    if watching is not None:
        volumes, secrets = [*volumes, *watching.volumes], [*secrets, watching.password]
    values = {
        "header": header,
        "name": "planner",
        "warnings": not_interleaved(deployment),
        "s": None,
        "services": containers,
        "router": _router_values(deployment, containers, templates.digest),
        "pull": {"image": f"planner-pull:{templates.digest}", "models": models_source(deployment)} if pulled else None,
        "prepares": prepares,
        "watching": watching,
        "internal": deployment.router is not None,
        "volumes": volumes,
        "secrets": secrets,
    }
    text = templates.fill("compose/compose.yaml.j2", values)
    compose_check.check(text, containers)
    files = {"compose.yaml": text}
    for unit in deployment.units:
        files |= {f"config/{file.path}": file.text for file in unit.launch.config_files}
    for name, slice_values in _slices(containers, deployment).items():
        files[f"slices/{name}"] = templates.fill("compose/numa.slice.j2", {"header": header, **slice_values})
    variables = compose_devices.variables(deployment, containers, bool(pulled), compose_observability.ports(deployment))
    files[".env.example"] = templates.fill("compose/env.example.j2", {"header": header, "variables": variables})
    files |= compose_jobs.pull_files(deployment, templates, header)
    files |= compose_jobs.prepare_files(deployment, templates, header)
    if deployment.router is not None:
        files |= router_files(templates, header)
        docker = {"header": header, "port": deployment.router.port}
        files["router/Dockerfile"] = templates.fill("router/Dockerfile.j2", docker)
        files["config/router.json"] = router_config(deployment, "/run/secrets/api_key", "compose")
    return Bundle("compose", "compose.yaml", files)
