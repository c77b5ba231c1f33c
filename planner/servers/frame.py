"""The part of a launch that is told the same way for every server."""

from __future__ import annotations

from planner.catalog.records import Image, ServerFacts
from planner.hardware.facts import Backend, Hardware
from planner.servers.base import API_KEY
from planner.servers.devices import device_environment, numa_of
from planner.servers.limits import memory_limit_bytes, start_seconds
from planner.servers.records import Argument, Health, Launch, Mount, Service

MODELS_MOUNT = Mount(source="models", name="models", target="/models")
KEY_MOUNT = Mount(source="secret", name=API_KEY, target=f"/run/secrets/{API_KEY}")


def framed(
    service: Service,
    hardware: Hardware,
    facts: ServerFacts,
    *,
    argv: tuple[Argument, ...],
    health: Health,
    served_name: str,
    environment: dict[str, str] | None = None,
    mounts: tuple[Mount, ...] = (MODELS_MOUNT,),
    own_bytes: int,
    engine_s: float,
    entrypoint_words: int = 1,
    notes: tuple[str, ...] = (),
) -> Launch:
    """A launch with the devices, NUMA policy, image, limits and download of its service. `own_bytes`: what the
    server's processes take beside the plan; `engine_s`: its start-up beside reading the weights."""
    numa = numa_of(service.placement, hardware)
    devices = device_environment(service.backend, service.placement, hardware, facts.environment)
    image = image_for(facts, service.backend, hardware)
    gpus = tuple(index for index in service.placement.gpus if index < len(hardware.gpus))
    uuids = tuple(uuid for index in gpus if (uuid := hardware.gpus[index].uuid))
    return Launch(
        service=service.name,
        role=service.role,
        server=facts.id,
        argv=argv,
        environment=tuple({**(environment or {}), **devices}.items()),
        image=reference(image),
        image_entrypoint_words=entrypoint_words,
        backend=service.backend,
        gpu_uuids=uuids if len(uuids) == len(gpus) else (),
        gpu_indexes=gpus,
        mounts=mounts,
        numa=numa.policy,
        numa_nodes=numa.nodes,
        numa_cpus=numa.cpus,
        instances=service.placement.instances,
        health=health,
        port=service.port,
        device_variable=next(iter(devices), None),
        served_name=served_name,
        memory_bytes=memory_limit_bytes(service, hardware, own_bytes),
        start_seconds=start_seconds(service, hardware, engine_s),
        download=service.source,
        notes=notes + ((service.source.note,) if service.source.note else ()),
    )


def image_for(facts: ServerFacts, backend: Backend, hardware: Hardware) -> Image | None:
    """The server's image for a backend; None on a Mac, where no container reaches the GPU, and where none exists."""
    if hardware.os.name == "macos" or backend == "metal":
        return None
    return next((image for image in facts.images if image.backend == backend), None)


def reference(image: Image | None) -> str | None:
    """Tag, and digest where it is known."""
    if image is None:
        return None
    return f"{image.reference}@{image.digest}" if image.digest else image.reference


def curl_health(path: str, port: int) -> Health:
    """Readiness over HTTP with the curl that the image holds."""
    return Health(path=path, argv=("curl", "-fsS", "-o", "/dev/null", f"http://127.0.0.1:{port}{path}"))
