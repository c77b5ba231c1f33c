"""Target `systemd`: one hardened unit per service, a template unit where there is one process per NUMA node."""

from __future__ import annotations

from planner.errors import RenderError
from planner.rendering.bundle import Bundle, CannotServe
from planner.rendering.compose_jobs import prepare_values
from planner.rendering.deployment import FETCHES_AT_START, Deployment, Instance, Unit, is_loopback, reachable
from planner.rendering.parsing import systemd_words, unit_settings
from planner.rendering.placing import Folders, Setting, Word, argv, environment, numa_directives, numactl
from planner.rendering.quoting import one_line, systemd_assignment
from planner.rendering.router import router_config, router_files
from planner.rendering.templates import TemplateSet
from planner.rendering.words import key_wrapper, must_equal, resolved, unit_lines, unit_word

MODELS_PATH = "/var/lib/planner/models"
# Where the servers' own instructions install them; Python servers in one virtual environment.
PROGRAM_DIR, PYTHON_DIR = "/usr/local/bin", "/opt/planner/venv/bin"
PYTHON_SERVERS = ("vllm", "mlx-lm")

_CREDENTIALS = "/run/credentials/of-the-unit"
_DEVICES = {
    # Names of /proc/devices; the driver has called its first one both ways.
    "cuda": ("/dev/nvidiactl", "char-nvidia", "char-nvidia-frontend", "char-nvidia-uvm", "char-nvidia-caps"),
    "rocm": ("/dev/kfd", "char-drm"),
    "vulkan": ("char-drm", "/dev/nvidiactl", "char-nvidia", "char-nvidia-frontend", "char-nvidia-uvm"),
    "sycl": ("char-drm",),
}
# Servers that never make code at run time when no GPU is used.
_STATIC_CODE = ("llama-server",)


def models_path(deployment: Deployment) -> str:
    """The models folder on the host. Raises RenderError for a relative one: a unit has no current folder."""
    fixed = deployment.options.models_dir
    if fixed is None:
        return MODELS_PATH
    if not fixed.startswith("/") or any(c.isspace() or c in '%"\\' for c in fixed):
        raise RenderError(f"models folder {fixed!r} cannot stand in a unit", hint="use an absolute path without spaces")
    return fixed.rstrip("/") or "/"


def folders(deployment: Deployment, unit: Unit) -> Folders:
    """Where a unit finds things."""
    return Folders(
        models=Word(text=models_path(deployment) + "/"),
        config=Word(text="/etc/planner/config/"),
        key=Word("%d/api-key"),
        cache=Word(text=f"/var/cache/planner-{unit.name}/"),
        mounts=False,
    )


def unit_name(unit: Unit) -> str:
    """File name of the unit, a template where it has instances."""
    return f"planner-{unit.name}{'@' if unit.launch.instances > 1 else ''}.service"


def instance_unit(unit: Unit, instance: Instance) -> str:
    """The name to start."""
    return unit_name(unit).replace("@", f"@{instance.node}")


def program(deployment: Deployment, unit: Unit, name: str) -> str:
    """Absolute path of a server's program."""
    usual = PYTHON_DIR if unit.service.server in PYTHON_SERVERS else PROGRAM_DIR
    return f"{(deployment.options.program_dir or usual).rstrip('/')}/{name}"


def port_word(unit: Unit, instance: Instance) -> Word:
    """The port: a number, or the variable that each instance's drop-in sets."""
    return Word("${PLANNER_PORT}") if unit.launch.instances > 1 else Word(text=str(instance.port))


def _numa_directives(deployment: Deployment, unit: Unit, nodes: tuple[int, ...]) -> tuple[str, ...]:
    return numa_directives(unit.launch.numa, nodes) if deployment.options.numa_style == "directives" else ()


def command(deployment: Deployment, unit: Unit, instance: Instance) -> tuple[Word, ...]:
    """The words of ExecStart=."""
    server = argv(unit, folders(deployment, unit), deployment_bind(deployment), port_word(unit, instance))
    words = (Word(text=program(deployment, unit, server[0].text)), *server[1:])
    if unit.launch.secret_environment:
        names = [name for name, _ in unit.launch.secret_environment]
        words = (*key_wrapper(names, "$CREDENTIALS_DIRECTORY/api-key"), *words)
    node = Word("%i") if unit.launch.instances > 1 else None
    bound = numactl(unit, instance, node)
    if bound and deployment.options.numa_style == "numactl":
        words = (Word(text="/usr/bin/numactl"), *bound, *words)
    return words


def deployment_bind(deployment: Deployment) -> str:
    """The address of the servers: behind a router always this machine alone."""
    return "127.0.0.1" if deployment.router is not None else deployment.options.bind


def readiness(deployment: Deployment, unit: Unit, instance: Instance) -> tuple[Word, ...]:
    """A wait for the health path, so that a started unit is one that serves."""
    path = unit.launch.health.path
    url = f'"http://{reachable(deployment_bind(deployment))}:$1{path}"'
    loop = f"until curl -fsS -o /dev/null --max-time 5 {url} 2>/dev/null; do sleep 2; done"
    return (Word(text="/bin/sh"), Word(text="-c"), Word(text=loop), Word(text="ready"), port_word(unit, instance))


def _settings(deployment: Deployment, unit: Unit, instance: Instance) -> tuple[Setting, ...]:
    home = Setting("HOME", Word(text=f"/var/lib/planner-{unit.name}"))
    # Environment= knows no variables: an instance's address stands in its drop-in.
    port = Word(text="%PORT%") if unit.launch.instances > 1 else Word(text=str(instance.port))
    found = environment(unit, folders(deployment, unit), deployment_bind(deployment), port)
    kept = tuple(s for s in found if "%PORT%" not in s.value.text)
    return kept if any(s.name == "HOME" for s in kept) else (home, *kept)


def _assignments(settings: tuple[Setting, ...]) -> list[str]:
    return [systemd_assignment(f"{s.name}={s.value.text}") for s in settings]


def _values(deployment: Deployment, unit: Unit, header: tuple[str, ...]) -> dict[str, object]:
    launch, service = unit.launch, unit.service
    first = deployment.instances(unit)[0]
    many = launch.instances > 1
    reads_key = launch.secret_environment or any(a.kind == "secret" for a in launch.argv)
    about = f"planner: {service.model_name} {service.quant}, {service.role}, on {service.server}"
    return {
        "header": header,
        "description": one_line(about).replace("%", "%%") + (", NUMA node %i" if many else ""),
        "exec_start": unit_lines(command(deployment, unit, first)),
        "exec_ready": " ".join(map(unit_word, readiness(deployment, unit, first))),
        "start_seconds": launch.start_seconds,
        "environment": _assignments(_settings(deployment, unit, first)),
        "reads_key": bool(reads_key),
        "memory_bytes": launch.memory_bytes,
        "locks_memory": launch.locks_memory,
        "numa": () if many else _numa_directives(deployment, unit, first.nodes),
        "writes_models": writes_models(unit),
        "models_path": models_path(deployment),
        "folder": f"planner-{unit.name}",
        "devices": _DEVICES.get(launch.backend, ()) if launch.gpu_indexes else (),
        "groups": ("video", "render") if launch.gpu_indexes and launch.backend != "cuda" else (),
        "no_code_generation": launch.backend == "cpu" and service.server in _STATIC_CODE,
        "many_gpus": len(launch.gpu_indexes) > 1,
        "loopback": is_loopback(deployment_bind(deployment)) and service.server not in FETCHES_AT_START,
    }


def writes_models(unit: Unit) -> bool:
    """Whether the server keeps its own store in the models folder (Ollama)."""
    return any(mount.source == "models" and not mount.read_only for mount in unit.launch.mounts)


def _check(deployment: Deployment, unit: Unit, text: str) -> None:
    first = deployment.instances(unit)[0]
    known = {"d": _CREDENTIALS, "i": str(first.node)}
    variables = {"PLANNER_PORT": str(first.port)}
    raw = {"%d": _CREDENTIALS, "%i": str(first.node), "${PLANNER_PORT}": str(first.port)}
    settings = unit_settings(text)
    commands = [value for section, key, value in settings if (section, key) == ("Service", "ExecStart")]
    what = unit_name(unit)
    must_equal(f"number of ExecStart= in {what}", 1, len(commands))
    expected = resolved(command(deployment, unit, first), raw)
    must_equal(f"ExecStart= of {what}", expected, systemd_words(commands[0], known, variables))
    wanted = [f"{s.name}={s.value.text}" for s in _settings(deployment, unit, first)]
    found = [systemd_words(v.replace("$", "$$"), known, {})[0] for _, k, v in settings if k == "Environment"]
    must_equal(f"Environment= of {what}", wanted, found)


def _unit_files(deployment: Deployment, unit: Unit, templates: TemplateSet, header: tuple[str, ...]) -> dict[str, str]:
    name = unit_name(unit)
    text = templates.fill("systemd/service.j2", _values(deployment, unit, header))
    _check(deployment, unit, text)
    files = {name: text}
    if unit.launch.instances > 1:
        for instance in deployment.instances(unit):
            numa = list(_numa_directives(deployment, unit, instance.nodes))
            address = environment(
                unit, folders(deployment, unit), deployment_bind(deployment), Word(text=str(instance.port))
            )
            numa += [f"Environment={w}" for w in _assignments(tuple(s for s in address if _holds_port(s, instance)))]
            values = {"header": header, "port": instance.port, "numa": numa}
            folder = f"{instance_unit(unit, instance)}.d"
            files[f"{folder}/instance.conf"] = templates.fill("systemd/instance.conf.j2", values)
    files |= {f"config/{file.path}": file.text for file in unit.launch.config_files}
    if unit.launch.prepare:
        files |= _prepare_files(deployment, unit, templates, header)
    return files


def _holds_port(setting: Setting, instance: Instance) -> bool:
    return setting.value.text.endswith(f":{instance.port}")


def _prepare_files(
    deployment: Deployment, unit: Unit, templates: TemplateSet, header: tuple[str, ...]
) -> dict[str, str]:
    instances = deployment.instances(unit)
    first = instances[0]
    script = f"prepare-{unit.name}.sh"
    values = {
        "header": header,
        "unit": f"planner-{unit.name}-prepare.service",
        "service": unit.name,
        "conflicts": " ".join(instance_unit(unit, instance) for instance in instances),
        "script": script,
        "environment": _assignments(_settings(deployment, unit, first)),
        "models_path": models_path(deployment),
        "folder": f"planner-{unit.name}",
    }
    return {
        f"planner-{unit.name}-prepare.service": templates.fill("systemd/prepare.service.j2", values),
        f"config/{script}": templates.fill("jobs/prepare.sh.j2", prepare_values(unit, header, "/etc/planner/config")),
    }


def _router_files(deployment: Deployment, templates: TemplateSet, header: tuple[str, ...]) -> dict[str, str]:
    assert deployment.router is not None
    words = ["/opt/planner/router-venv/bin/uvicorn", "--app-dir", "/opt/planner/router", "router:app"]
    words += ["--host", deployment.options.bind, "--port", str(deployment.router.port)]
    words += ["--no-server-header", "--no-access-log", "--timeout-graceful-shutdown", "60"]
    units = [instance_unit(u, i) for u in deployment.units for i in deployment.instances(u)]
    values = {
        "header": header,
        "units": units,
        "exec_start": unit_lines(Word(text=word) for word in words),
        "loopback": is_loopback(deployment.options.bind),
    }
    return {
        "planner-router.service": templates.fill("systemd/router.service.j2", values),
        "config/router.json": router_config(deployment, "api-key", "systemd"),
        **router_files(templates, header),
    }


def render_systemd(deployment: Deployment, templates: TemplateSet, header: tuple[str, ...]) -> Bundle:
    """Units, drop-ins and the router. Raises RenderError for a Mac, which has no systemd."""
    if deployment.apple:
        raise CannotServe("a Mac has no systemd, so it cannot serve this plan", hint="render launch or launchd")
    files: dict[str, str] = {}
    for unit in deployment.units:
        files |= _unit_files(deployment, unit, templates, header)
    if any(writes_models(unit) for unit in deployment.units):
        files["planner.sysusers.conf"] = templates.fill("systemd/sysusers.conf.j2", {"header": header})
    if deployment.router is not None:
        files |= _router_files(deployment, templates, header)
    return Bundle("systemd", unit_name(deployment.units[0]), files)
