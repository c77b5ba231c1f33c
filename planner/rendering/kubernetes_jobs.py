"""Jobs of the Kubernetes bundle, which fetch models: the only pods of their kind that reach the internet."""

from __future__ import annotations

import msgspec

from planner.rendering.compose import Container
from planner.rendering.compose_devices import config_volume
from planner.rendering.compose_jobs import prepare_values
from planner.rendering.deployment import Deployment, Unit
from planner.rendering.downloads import downloads
from planner.rendering.kubernetes_pod import (
    MODELS,
    Config,
    Pod,
    PodContainer,
    PodMount,
    PodVolume,
    config_map,
    labels,
    mounts_of,
    object_name,
    user_of,
)
from planner.rendering.templates import TemplateSet

_SCRATCH = PodVolume(kind="scratch", name="tmp")


def pull_pod(deployment: Deployment, image: str) -> Pod | None:
    """The job that downloads from the hub, one container per repository; None when nothing comes from there."""
    mounts = (
        PodMount(volume=MODELS.name, path="/models", read_only=False),
        PodMount(volume=_SCRATCH.name, path="/tmp", read_only=False),  # noqa: S108 - the container's own
    )
    containers = tuple(
        PodContainer(
            name=f"pull-{download.service}",
            image=image,
            command=("hf", "download", *download.words, "--local-dir", f"/models/{download.folder}".rstrip("/")),
            environment=(("HOME", "/tmp"), ("HF_HOME", "/tmp/hf")),  # noqa: S108
            reads_token=True,
            mounts=mounts,
        )
        for download in downloads(deployment)
    )
    if not containers:
        return None
    about = labels("pull", "huggingface-hub", "job", internet=True)
    return Pod(name=object_name("pull"), labels=about, containers=containers, volumes=(MODELS, _SCRATCH), job=True)


def prepare_pod(unit: Unit, made: Container, templates: TemplateSet, header: tuple[str, ...]) -> tuple[Pod, Config]:
    """The job that lets a server fetch and name its models (Ollama's pull and create), and its script."""
    name = f"prepare-{unit.name}"
    script = templates.fill("jobs/prepare.sh.j2", prepare_values(unit, header))
    files = [(file.path, file.text) for file in unit.launch.config_files]
    config = config_map(object_name(name), [("prepare.sh", script), *files])
    kept = [volume for volume in made.volumes if volume.role != "config"]
    writable = [msgspec.structs.replace(volume, read_only=False) for volume in kept]
    volumes, mounts = mounts_of(unit, made, [*writable, config_volume("", "/config")], config)
    user, group = user_of(made)
    own = PodContainer(
        name="prepare",
        image=made.image,
        digest_unknown=made.digest_unknown,
        command=("/bin/sh", "/config/prepare.sh"),
        environment=made.environment,
        read_only=made.read_only,
        mounts=mounts,
    )
    about = labels(name, unit.service.server, "job", internet=True)
    pod = Pod(
        name=object_name(name), labels=about, containers=(own,), volumes=volumes, user=user, group=group, job=True
    )
    return pod, config
