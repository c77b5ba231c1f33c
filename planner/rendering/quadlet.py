"""Target `quadlet`: one podman container per process, as files that systemd turns into units."""

from __future__ import annotations

import json

import msgspec

from planner.errors import RenderError
from planner.rendering.bundle import Bundle, CannotServe
from planner.rendering.compose import FOLDERS, Container, container
from planner.rendering.compose_jobs import prepare_values
from planner.rendering.compose_mounts import OWNER
from planner.rendering.deployment import Deployment, Instance, Unit
from planner.rendering.parsing import systemd_words, unit_settings
from planner.rendering.placing import Word, numa_directives
from planner.rendering.quoting import one_line, systemd_word
from planner.rendering.router import router_config, router_files
from planner.rendering.systemd import models_path
from planner.rendering.templates import TemplateSet
from planner.rendering.words import must_equal, unit_lines

CONFIG_PATH = "/etc/planner/config"
# Who writes into the models folder where a server keeps its own store: an unprivileged number, made its owner by the
# README.
_WRITER = "65532:65532"
_ROUTER_BYTES = 2**30


class Quadlet(msgspec.Struct, frozen=True, kw_only=True):
    """One .container file as the template lays it out; values are quoted as systemd reads them. `numa`: the
    unit's memory policy. It is inherited over fork and exec (Linux, "NUMA Memory Policy"), so it reaches the
    container."""

    name: str
    description: str
    image: str
    digest_unknown: bool = False
    entrypoint: str = ""
    exec: str = ""
    environment: tuple[str, ...] = ()
    user: str | None = None
    network: str | None = None
    ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    reads_key: bool = False
    devices: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    shm: str | None = None
    tmpfs: tuple[str, ...] = ()
    locks_memory: bool = False
    health: str | None = None
    start_seconds: int = 60
    podman: tuple[str, ...] = ()
    numa: tuple[str, ...] = ()
    pids: int = 4096
    read_only: bool = True
    capabilities: tuple[str, ...] = ()
    job: bool = False


def file_name(name: str) -> str:
    """The file of one process; systemd calls its unit `planner-NAME.service`."""
    return f"planner-{name}.container"


def _words(words: tuple[str, ...]) -> str:
    return unit_lines(Word(text=word) for word in words)


def _command(made: Container) -> tuple[str, str]:
    """Entrypoint= (one word) and Exec= (the rest): podman's JSON form of an entrypoint would be quoted twice."""
    first, rest = made.entrypoint[:1], made.entrypoint[1:]
    return (systemd_word(first[0]) if first else "", _words((*rest, *made.command)))


def _models_path(deployment: Deployment) -> str:
    """The models folder on the host. Raises RenderError for a name that podman would take for two."""
    found = models_path(deployment)
    if ":" in found:
        raise RenderError(f"models folder {found!r} cannot stand in a Quadlet", hint="use a path without a colon")
    return found


def _volumes(deployment: Deployment, made: Container) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Volume= values, and the names of those that podman keeps."""
    values, kept = [], []
    for volume in made.volumes:
        mode = "ro" if volume.read_only else "rw"
        if volume.role == "cache":
            kept.append(volume.name)
            values.append(f"{volume.name}.volume:{volume.target}:{mode}")
        else:
            source = f"{CONFIG_PATH}/{volume.name}".rstrip("/")
            source = _models_path(deployment) if volume.role == "models" else source
            values.append(f"{source}:{volume.target}:{mode}")
    return tuple(value.replace("%", "%%").replace("$", "$$") for value in values), tuple(kept)


def _setting(name: str, value: str) -> str:
    """A value of Environment=: the generator copies it into ExecStart=, where systemd expands variables."""
    return systemd_word(f"{name}={value}")


def _devices(made: Container) -> tuple[str, ...]:
    """CDI names of NVIDIA cards, device nodes of others."""
    if made.gpu is None:
        return made.devices
    if made.gpu.device_ids:
        return tuple(f"nvidia.com/gpu={name}" for name in made.gpu.device_ids)
    return ("nvidia.com/gpu=all",)


def _podman(made: Container, instance: Instance, numa: str) -> tuple[str, ...]:
    """What Quadlet of podman 5.4 has no key for: the memory limit, and the NUMA nodes that memory comes from."""
    words = [f"--memory={made.memory}"] if made.memory else []
    if made.cpuset:
        words.append(f"--cpuset-cpus={made.cpuset}")
    if numa == "bind" and instance.nodes:
        words.append(f"--cpuset-mems={','.join(map(str, instance.nodes))}")
    return tuple(words)


def quadlet(deployment: Deployment, unit: Unit, instance: Instance, made: Container) -> tuple[Quadlet, tuple[str, ...]]:
    """One process as a .container file, and the volumes that it keeps."""
    service = unit.service
    entrypoint, words = _command(made)
    volumes, kept = _volumes(deployment, made)
    about = f"planner: {service.model_name} {service.quant}, {service.role}, on {service.server}"
    port = f"{deployment.options.bind}:{instance.port}:{made.port}"
    file = Quadlet(
        name=instance.name,
        description=one_line(about).replace("%", "%%"),
        image=made.image,
        digest_unknown=made.digest_unknown,
        entrypoint=entrypoint,
        exec=words,
        environment=tuple(_setting(name, value) for name, value in made.environment),
        user=_WRITER if made.user == OWNER else made.user.strip('"') if made.user else None,
        network="planner.network" if deployment.router is not None else None,
        ports=() if deployment.router is not None else (port,),
        volumes=volumes,
        reads_key=bool(made.secrets),
        devices=_devices(made),
        groups=("video", "render") if made.groups else (),
        shm=made.shm.removesuffix("b") if made.shm else None,
        tmpfs=made.tmpfs,
        locks_memory=made.locks_memory,
        health=_health(made.health),
        start_seconds=made.start_seconds,
        podman=_podman(made, instance, unit.launch.numa),
        numa=numa_directives("interleave", instance.nodes) if unit.launch.numa == "interleave" else (),
        read_only=made.read_only,
        capabilities=made.capabilities,
    )
    return file, kept


def _health(words: tuple[str, ...]) -> str | None:
    """A health command as the JSON list that podman takes, quoted for systemd."""
    if not words:
        return None
    return json.dumps(list(words), ensure_ascii=True).replace("%", "%%").replace("$", "$$")


def _prepare(unit: Unit, served: Quadlet) -> Quadlet:
    script = f"{CONFIG_PATH}/prepare-{unit.name}.sh:/prepare.sh:ro"
    return msgspec.structs.replace(
        served,
        name=f"{unit.name}-prepare",
        description=f"planner: fetch the model of {unit.name}",
        entrypoint=systemd_word("/bin/sh"),
        exec=systemd_word("/prepare.sh"),
        network=None,
        ports=(),
        volumes=(*served.volumes, script, f"{CONFIG_PATH}:/config:ro"),
        devices=(),
        groups=(),
        health=None,
        numa=(),
        job=True,
    )


def _router(deployment: Deployment) -> Quadlet:
    assert deployment.router is not None
    port = deployment.router.port
    return Quadlet(
        name="router",
        description="planner: router",
        image="planner-router.build",
        environment=(_setting("PLANNER_ROUTER_CONFIG", "/config/router.json"),),
        user=_WRITER,
        network="planner.network",
        ports=(f"{deployment.options.bind}:{port}:{port}",),
        volumes=(f"{CONFIG_PATH}/router.json:/config/router.json:ro",),
        reads_key=True,
        tmpfs=("/tmp",),  # noqa: S108 - the container's own
        podman=(f"--memory={_ROUTER_BYTES}b",),
        pids=256,
        health=_health(_router_health(port)),
    )


def _router_health(port: int) -> tuple[str, ...]:
    ask = f"import urllib.request as r; r.urlopen('http://127.0.0.1:{port}/health', timeout=5)"
    return ("python3", "-c", ask)


def _check(text: str, made: Container, name: str) -> None:
    """Raises RenderError where the file would start another command than was planned."""
    pairs = [(key, value) for section, key, value in unit_settings(text) if section == "Container"]
    settings = dict(pairs)
    found = systemd_words(settings.get("Entrypoint", ""), {}, {}) + systemd_words(settings.get("Exec", ""), {}, {})
    must_equal(f"command of {name}", (*made.entrypoint, *made.command), found)
    variables = [systemd_words(value, {}, {})[0] for key, value in pairs if key == "Environment"]
    must_equal(f"variables of {name}", [f"{key}={value}" for key, value in made.environment], variables)


def render_quadlet(deployment: Deployment, templates: TemplateSet, header: tuple[str, ...]) -> Bundle:
    """The .container files with their network, volumes and builds. Raises CannotServe for Apple GPUs."""
    if deployment.apple:
        raise CannotServe(
            "podman cannot use an Apple GPU, so quadlet cannot serve this plan", hint="render launch or launchd"
        )
    files: dict[str, str] = {}
    volumes: set[str] = set()
    for unit in deployment.units:
        served = []
        for instance in deployment.instances(unit):
            made = container(deployment, unit, instance)
            file, kept = quadlet(deployment, unit, instance, made)
            served.append(file)
            volumes |= set(kept)
            text = templates.fill("quadlet/container.j2", {"header": header, "c": file})
            _check(text, made, file_name(file.name))
            files[file_name(file.name)] = text
        files |= {f"config/{config.path}": config.text for config in unit.launch.config_files}
        if unit.launch.prepare:
            job = _prepare(unit, served[0])
            files[file_name(job.name)] = templates.fill("quadlet/container.j2", {"header": header, "c": job})
            script = prepare_values(unit, header)
            files[f"config/prepare-{unit.name}.sh"] = templates.fill("jobs/prepare.sh.j2", script)
    for name in sorted(volumes):
        files[f"{name}.volume"] = templates.fill("quadlet/volume.j2", {"header": header, "name": name})
    if deployment.router is not None:
        files |= _router_bundle(deployment, templates, header)
    main = file_name(deployment.instances(deployment.units[0])[0].name)
    return Bundle("quadlet", main, files)


def _router_bundle(deployment: Deployment, templates: TemplateSet, header: tuple[str, ...]) -> dict[str, str]:
    assert deployment.router is not None
    config = router_config(deployment, FOLDERS.key.text, "quadlet")
    build = {"header": header, "image": f"planner-router:{templates.digest}"}
    return {
        **router_files(templates, header),
        "router/Dockerfile": templates.fill("router/Dockerfile.j2", {"header": header, "port": deployment.router.port}),
        "config/router.json": config,
        "planner.network": templates.fill("quadlet/network.j2", {"header": header}),
        "planner-router.build": templates.fill("quadlet/build.j2", build),
        file_name("router"): templates.fill("quadlet/container.j2", {"header": header, "c": _router(deployment)}),
    }
