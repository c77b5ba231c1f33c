"""Target `kubernetes`: one Deployment per process on the one machine that the plan is for, nothing open to the outside.

A plan counts memory and cards of one machine, so every pod goes to the node that a person labels as that machine."""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec

from planner.errors import RenderError
from planner.rendering.bundle import Bundle, CannotServe
from planner.rendering.compose import FOLDERS, container
from planner.rendering.deployment import Deployment, Unit, is_loopback
from planner.rendering.kubernetes_check import check_pods
from planner.rendering.kubernetes_jobs import prepare_pod, pull_pod
from planner.rendering.kubernetes_pod import (
    API_KEY,
    INTERNET,
    KEY_MOUNT,
    MODELS,
    Config,
    Pod,
    PodContainer,
    PodMount,
    PodVolume,
    config_map,
    labels,
    object_name,
    probes,
    server_pod,
)
from planner.rendering.router import router_config, router_files
from planner.rendering.templates import TemplateSet
from planner.units import GIB

# Claims can hardly be made smaller or larger later, so that plans of about one size share theirs: a quarter more than
# the files, up to the next power of two. Caches (compiled kernels, LocalAI's backends) are a few GiB.
_SPARE_FRACTION, _CACHE_GIB = 0.25, 32
_ROUTER_BYTES = 2**30


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A PersistentVolumeClaim."""

    name: str
    size: str


def claims(deployment: Deployment, pods: tuple[Pod, ...]) -> tuple[Claim, ...]:
    """The models folder first, then the caches that pods mount."""
    sizes = {
        unit.launch.download.uri: unit.launch.download.download_bytes or unit.service.footprint.file_bytes
        for unit in deployment.units
    }
    needed_gib = max(1.0, sum(sizes.values()) * (1 + _SPARE_FRACTION) / GIB)
    models = Claim(name=MODELS.source, size=f"{2 ** math.ceil(math.log2(needed_gib))}Gi")
    caches = {v.source for pod in pods for v in pod.volumes if v.kind == "claim"} - {models.name}
    return (models, *(Claim(name=name, size=f"{_CACHE_GIB}Gi") for name in sorted(caches)))


def _models_dir(deployment: Deployment) -> str | None:
    fixed = deployment.options.models_dir
    if fixed is not None and not fixed.startswith("/"):
        raise RenderError(f"models folder {fixed!r} is relative", hint="use an absolute path of the node")
    return fixed


def security_level(pods: tuple[Pod, ...]) -> str:
    """The strictest of the Pod Security Standards that all pods meet."""
    if any(container.capabilities for pod in pods for container in pod.containers):
        return "privileged"
    return "baseline" if any(pod.user is None for pod in pods) else "restricted"


def _router_pod(port: int, config: Config, image: str) -> Pod:
    memory = ("memory", str(_ROUTER_BYTES))
    mounts = (
        PodMount(volume="config", path="/etc/planner"),
        KEY_MOUNT,
        PodMount(volume="tmp", path="/tmp", read_only=False),  # noqa: S108 - the container's own
    )
    own = PodContainer(
        name="router",
        image=image,
        environment=(("PLANNER_ROUTER_CONFIG", "/etc/planner/router.json"),),
        port=port,
        # Its health path says 503 while no server answers: that is no reason to start the router again.
        probes=probes(60, "/health", None),
        requests=(("cpu", "100m"), memory),
        limits=(memory,),
        mounts=mounts,
    )
    return Pod(
        name=object_name("router"),
        labels=labels("router", "planner-router", "router"),
        containers=(own,),
        volumes=(
            PodVolume(kind="config", name="config", source=config.name),
            API_KEY,
            PodVolume(kind="scratch", name="tmp"),
        ),
        config_digest=config.digest,
        stop_seconds=70,
    )


class _Part(NamedTuple):
    """Some files, and the pods that they start."""

    files: dict[str, str]
    pods: tuple[Pod, ...]


def render_kubernetes(deployment: Deployment, templates: TemplateSet, header: tuple[str, ...]) -> Bundle:
    """Manifests, the router's image and the jobs. Raises CannotServe for Apple GPUs and for an address to bind."""
    if deployment.apple:
        raise CannotServe(
            "containers cannot use an Apple GPU, so kubernetes cannot serve this plan", hint="render launch or launchd"
        )
    if not is_loopback(deployment.options.bind):
        raise CannotServe(
            f"pods bind no address of a machine, so kubernetes cannot publish {deployment.options.bind}",
            hint="leave it out, and put an Ingress with TLS in front of the Service",
        )
    parts = [_unit(deployment, unit, templates, header) for unit in deployment.units]
    parts += [_pull(deployment, templates, header), _router(deployment, templates, header)]
    parts.append(_cluster(deployment, tuple(pod for part in parts for pod in part.pods), templates, header))
    applied = sorted(path for part in parts for path in part.files if path.endswith(".yaml") and "jobs/" not in path)
    index = {"header": header, "resources": applied}
    parts.append(_Part({"kustomization.yaml": templates.fill("kubernetes/kustomization.yaml.j2", index)}, ()))
    files: dict[str, str] = {}
    for part in parts:
        for path in files.keys() & part.files.keys():
            raise RenderError(f"two parts of the bundle want the file {path}", hint="rename the service")
        files |= part.files
    return Bundle("kubernetes", f"{deployment.units[0].name}.yaml", files)


def _unit(deployment: Deployment, unit: Unit, templates: TemplateSet, header: tuple[str, ...]) -> _Part:
    """The manifest of a unit, and the job that prepares it."""
    instances = deployment.instances(unit)
    containers = [container(deployment, unit, instance) for instance in instances]
    config = None
    if any(volume.role == "config" for volume in containers[0].volumes):
        config = config_map(object_name(unit.name), [(file.path, file.text) for file in unit.launch.config_files])
    pods = tuple(server_pod(deployment, unit, i, made, config) for i, made in zip(instances, containers, strict=True))
    service = unit.service
    about = f"{service.model_name} {service.quant}, {service.role}, on {service.server}"
    files = {f"{unit.name}.yaml": _manifest(templates, header, about, pods, config)}
    if not unit.launch.prepare:
        return _Part(files, pods)
    job, script = prepare_pod(unit, containers[0], templates, header)
    about = f"Lets {unit.name} fetch and name its model once."
    files[f"jobs/prepare-{unit.name}.yaml"] = _manifest(templates, header, about, (job,), script)
    return _Part(files, (*pods, job))


def _manifest(
    templates: TemplateSet, header: tuple[str, ...], about: str, pods: tuple[Pod, ...], config: Config | None
) -> str:
    """Deployments with their Services, or jobs, behind the configuration that they read."""
    text = templates.fill(
        "kubernetes/workload.yaml.j2", {"header": header, "about": about, "config": config, "pods": pods}
    )
    check_pods(text, f"the manifest of {pods[0].name}", pods, config)
    return text


def _pull(deployment: Deployment, templates: TemplateSet, header: tuple[str, ...]) -> _Part:
    """The job that downloads models, and its image."""
    pod = pull_pod(deployment, f"planner-pull:{templates.digest}")
    if pod is None:
        return _Part({}, ())
    manifest = _manifest(templates, header, "Fetches the models once.", (pod,), None)
    docker = templates.fill("jobs/pull.Dockerfile.j2", {"header": header})
    return _Part({"jobs/pull.yaml": manifest, "pull/Dockerfile": docker}, (pod,))


def _router(deployment: Deployment, templates: TemplateSet, header: tuple[str, ...]) -> _Part:
    """The router's manifest, program and image."""
    if deployment.router is None:
        return _Part({}, ())
    routes = router_config(deployment, FOLDERS.key.text, "kubernetes")
    config = config_map(object_name("router"), [("router.json", routes)])
    pod = _router_pod(deployment.router.port, config, f"planner-router:{templates.digest}")
    docker = {"header": header, "port": deployment.router.port}
    files = {
        "router.yaml": _manifest(templates, header, "The router.", (pod,), config),
        "router/Dockerfile": templates.fill("router/Dockerfile.j2", docker),
        **router_files(templates, header),
    }
    return _Part(files, (pod,))


def _cluster(deployment: Deployment, pods: tuple[Pod, ...], templates: TemplateSet, header: tuple[str, ...]) -> _Part:
    """What the pods live in: namespace, claims and network policies."""
    found = [(dict(pod.labels), container) for pod in pods for container in pod.containers]
    servers = {c.port for about, c in found if about["app.kubernetes.io/component"] == "server" and c.port}
    values: dict[str, dict[str, object]] = {
        "namespace": {"level": security_level(pods)},
        "storage": {"claims": claims(deployment, pods), "models_dir": _models_dir(deployment)},
        "network": {
            "router_port": deployment.router.port if deployment.router else None,
            "server_ports": sorted(servers),
            "observability": deployment.options.observability,
            "downloads": any(INTERNET in about.items() for about, _ in found),
        },
    }
    files = {
        f"cluster/{name}.yaml": templates.fill(f"kubernetes/{name}.yaml.j2", {"header": header, **own})
        for name, own in values.items()
    }
    return _Part(files, ())
