"""Rules about how a program is started: image, ports, health, limits, restarts, rights."""

from __future__ import annotations

import re
from collections.abc import Iterator

from planner.doctor.records import HIGHEST_PORT, Finding, Patient
from planner.doctor.rules_server import key_of

_DIGEST = re.compile(r"[^@\s]+@sha256:[0-9a-f]{64}")
_OF_SYSTEMD = frozenset({"no", "always", "on-success", "on-failure", "on-abnormal", "on-abort", "on-watchdog"})
_RESTARTS = {
    "compose": frozenset({"no", "false", "always", "on-failure", "unless-stopped", "any", "none"}),
    "unit": _OF_SYSTEMD,
    "quadlet": _OF_SYSTEMD,
    "launchd": frozenset({"keepalive"}),
}


def image_pinned(patient: Patient) -> Iterator[Finding]:
    """A tag that names a version; a digest of the right form."""
    image = patient.served.image
    if not image or patient.served.server is None:
        return
    name, at, _ = image.partition("@")
    if at and not _DIGEST.fullmatch(image):
        yield patient.finding(
            "image-digest", "error", f"{image}: no digest", "write @sha256: and 64 hex digits", "image"
        )
    tag = name.rpartition(":")[2] if ":" in name.rpartition("/")[2] else ""
    if not at and (not tag or tag == "latest" or tag.startswith("latest-")):
        facts = patient.catalog.server(patient.served.server)
        known = facts.images[0].reference if facts.images else None
        fix = f"name a version, like {known}" if known else "name a version"
        text = f"{image} is another image tomorrow: flags and models that work today may not"
        yield patient.finding("image-latest", "warning", text, fix, "image")


def gpu_runtime(patient: Patient) -> Iterator[Finding]:
    """The legacy way to reach NVIDIA GPUs."""
    if patient.served.legacy_runtime == "nvidia":
        text = "`runtime: nvidia` needs a daemon setting that CDI and recent toolkits do without"
        fix = "delete it; reserve the GPU under deploy.resources.reservations.devices"
        yield patient.finding("gpu-runtime", "warning", text, fix, "runtime")


def open_ports(patient: Patient) -> Iterator[Finding]:
    """Ports that other machines reach: an error where nothing asks for a key."""
    keyless = patient.served.server is not None and key_of(patient) is None
    for port in patient.served.ports:
        if port.is_loopback:
            continue
        severity = "error" if keyless else "warning"
        text = f"port {port.published} is open on every interface" + (", and no key is asked for" if keyless else "")
        fix = f'bind it to loopback: "127.0.0.1:{port.published}:{port.target or port.published}"'
        if patient.served.kind == "kubernetes":
            fix = "type: ClusterIP, and an Ingress with TLS where others must reach it"
        fix += ", and set an API key from a secret file" if keyless else ""
        yield patient.finding("port-open", severity, text, fix, "ports")  # type: ignore[arg-type]


def port_range(patient: Patient) -> Iterator[Finding]:
    """Published ports are numbers up to 65535."""
    for port in patient.served.ports:
        if port.published.isdigit() and int(port.published) > HIGHEST_PORT:
            text = f"port {port.published} does not exist"
            yield patient.finding("port-range", "error", text, f"use one up to {HIGHEST_PORT}", "ports")


def health_check(patient: Patient) -> Iterator[Finding]:
    """A server loads for minutes: without a health check nobody knows when it is ready."""
    served = patient.served
    if served.server is None or served.is_job or served.kind not in {"compose", "quadlet", "kubernetes"}:
        return
    if served.health is None:
        text = "no health check: what waits for it starts while the weights still load"
        yield patient.finding("health-missing", "warning", text, "ask the server's health route, with a start period")
        return
    images = patient.catalog.server(served.server).images
    programs = {program for image in images for program in image.programs}
    program = served.health[0] if served.health else ""
    if programs and program not in {*programs, "probe"} and "/" not in program:
        text = f"the health check runs {program}, which the image does not hold"
        fix = f"use one of {', '.join(sorted(programs))}"
        yield patient.finding("health-program", "error", text, fix, "healthcheck")


def waits_for_ready(patient: Patient) -> Iterator[Finding]:
    """Who depends on a model server has to wait until it answers."""
    served = {one.name: one for one in patient.document.served}
    for name, condition in patient.served.waits_for.items():
        other = served.get(name)
        if other is None:
            continue
        if condition == "service_healthy" and other.health is None and other.server is not None:
            text = f"waits for {name} to be healthy, which has no health check"
            yield patient.finding("waits-never", "error", text, f"give {name} a health check", "depends_on")
        elif condition == "service_started" and other.server is not None:
            text = f"starts when {name} has started, minutes before it answers"
            yield patient.finding("waits-started", "warning", text, "condition: service_healthy", "depends_on")


def restart_policy(patient: Patient) -> Iterator[Finding]:
    """A policy that the format knows, and one at all for a server."""
    served = patient.served
    known = _RESTARTS.get(served.kind)
    if known is None or served.is_job:
        return
    policy = (served.restart or "").partition(":")[0].strip("'\"").casefold()
    if policy and policy not in known:
        text = f"restart policy {served.restart!r} is not known"
        yield patient.finding("restart-unknown", "error", text, f"one of {', '.join(sorted(known))}", "restart")
    elif not policy and served.server is not None:
        yield patient.finding("restart-missing", "note", "stays down after a crash or a reboot", "set a restart policy")


def memory_limit(patient: Patient) -> Iterator[Finding]:
    """Weights and caches can take a machine down with them."""
    served = patient.served
    if served.server is not None and not served.memory_limited and not served.is_job:
        text = "no memory limit: a long context can push the machine into swap, or the kernel kills another process"
        yield patient.finding("memory-unlimited", "warning", text, "set the limit that `planner size` gives")


def rights(patient: Patient) -> Iterator[Finding]:
    """More rights than a server needs."""
    if patient.served.privileged:
        text = "runs privileged: whoever breaks into it owns the machine"
        yield patient.finding(
            "privileged", "error", text, "reserve devices instead, and drop capabilities", "privileged"
        )
    if patient.served.host_network:
        text = "shares the host's network: every port it opens is open on the machine"
        yield patient.finding("host-network", "warning", text, "publish one port on loopback", "network")
