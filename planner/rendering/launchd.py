"""Target `launchd`: agents of a Mac user's session, which alone may use the GPU.

A property list knows no variables, so every path is absolute and below one folder that each Mac has."""

from __future__ import annotations

import plistlib
from xml.parsers.expat import ExpatError

import msgspec

from planner.errors import RenderError
from planner.rendering.bundle import Bundle, CannotServe
from planner.rendering.deployment import Deployment, Unit
from planner.rendering.parsing import shell_words
from planner.rendering.placing import Folders, Word, argv, environment
from planner.rendering.quoting import shell_word
from planner.rendering.router import router_config, router_files
from planner.rendering.systemd import deployment_bind
from planner.rendering.templates import TemplateSet
from planner.rendering.wired_limit import wired_limit_file
from planner.rendering.words import key_wrapper, must_equal, resolved

ROOT = "/Users/Shared/planner"
# Where Homebrew installs on Apple Silicon; Python servers in one virtual environment.
PROGRAM_DIR, PYTHON_DIR = "/opt/homebrew/bin", f"{ROOT}/venv/bin"
PYTHON_SERVERS = ("vllm", "mlx-lm")
_PATH = "/opt/homebrew/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"


class Agent(msgspec.Struct, frozen=True, kw_only=True):
    """One agent: its label, words and variables, all plain."""

    label: str
    words: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    log: str


def models_path(deployment: Deployment) -> str:
    """The models folder. Raises RenderError for a relative one: an agent has no current folder of the user's."""
    fixed = deployment.options.models_dir
    if fixed is None:
        return f"{ROOT}/models"
    if not fixed.startswith("/"):
        raise RenderError(f"models folder {fixed!r} is relative", hint="use an absolute path")
    return fixed.rstrip("/") or "/"


def _folders(deployment: Deployment, unit: Unit) -> Folders:
    return Folders(
        models=Word(text=f"{models_path(deployment)}/"),
        config=Word(text=f"{ROOT}/config/"),
        key=Word(text=f"{ROOT}/secrets/api_key"),
        cache=Word(text=f"{ROOT}/cache/{unit.name}/"),
        mounts=False,
    )


def label(name: str) -> str:
    """Label of a service's agent, also the stem of its file."""
    return f"com.planner.{name}"


def agent(deployment: Deployment, unit: Unit) -> Agent:
    """The agent of one service."""
    folders, port = _folders(deployment, unit), Word(text=str(unit.launch.port))
    host = deployment_bind(deployment)
    words = resolved(argv(unit, folders, host, port), {})
    usual = PYTHON_DIR if unit.service.server in PYTHON_SERVERS else PROGRAM_DIR
    words = (f"{(deployment.options.program_dir or usual).rstrip('/')}/{words[0]}", *words[1:])
    if unit.launch.secret_environment:
        names = [name for name, _ in unit.launch.secret_environment]
        words = (*resolved(key_wrapper(names, folders.key.text), {}), *words)
    settings = tuple((s.name, s.value.text) for s in environment(unit, folders, host, port))
    return Agent(
        label=label(unit.name),
        words=words,
        environment=(*((("PATH", _PATH),) if "PATH" not in dict(settings) else ()), *settings),
        log=f"{ROOT}/logs/{unit.name}.log",
    )


def _router_agent(deployment: Deployment) -> Agent:
    assert deployment.router is not None
    words = [f"{PYTHON_DIR}/uvicorn", "--app-dir", f"{ROOT}/router", "router:app"]
    words += ["--host", deployment.options.bind, "--port", str(deployment.router.port)]
    words += ["--no-server-header", "--no-access-log", "--timeout-graceful-shutdown", "60"]
    variables = (("PATH", _PATH), ("PLANNER_ROUTER_CONFIG", f"{ROOT}/config/router.json"))
    return Agent(label=label("router"), words=tuple(words), environment=variables, log=f"{ROOT}/logs/router.log")


def _plist(shown: Agent, templates: TemplateSet, header: tuple[str, ...]) -> str:
    values = {"header": header, "home": ROOT, **msgspec.structs.asdict(shown)}
    text = templates.fill("launchd/agent.plist.j2", values)
    try:
        found = plistlib.loads(text.encode())
    except (ValueError, ExpatError, plistlib.InvalidFileException) as error:
        raise RenderError(f"{shown.label}.plist is no property list: {error}", hint="a template lays it out") from error
    must_equal(f"label of {shown.label}.plist", shown.label, found.get("Label"))
    must_equal(f"words of {shown.label}.plist", list(shown.words), found.get("ProgramArguments"))
    must_equal(f"variables of {shown.label}.plist", dict(shown.environment), found.get("EnvironmentVariables"))
    return text


def _prepare(deployment: Deployment, unit: Unit, templates: TemplateSet, header: tuple[str, ...]) -> str:
    paths = {file.path: f"{ROOT}/config/{file.path}" for file in unit.launch.config_files}
    commands = [" ".join(shell_word(paths.get(w, w)) for w in step) for step in unit.launch.prepare]
    for line, step in zip(commands, unit.launch.prepare, strict=True):
        must_equal(f"preparation of {unit.name}", tuple(paths.get(w, w) for w in step), shell_words(line, {}))
    variables = [f"{n}={shell_word(v)}" for n, v in agent(deployment, unit).environment]
    values = {
        "header": header,
        "service": unit.name,
        "file": f"{label(unit.name)}.plist",
        "environment": variables,
        "commands": commands,
    }
    return templates.fill("launchd/prepare.sh.j2", values)


def render_launchd(deployment: Deployment, templates: TemplateSet, header: tuple[str, ...]) -> Bundle:
    """One agent per service. Raises RenderError for a plan that is not for a Mac."""
    if not deployment.apple:
        raise CannotServe(
            "launchd is part of macOS and cannot serve this plan", hint="render compose, systemd or launch"
        )
    agents = [agent(deployment, unit) for unit in deployment.units]
    files: dict[str, str] = {}
    for unit in deployment.units:
        files |= {f"config/{file.path}": file.text for file in unit.launch.config_files}
        if unit.launch.prepare:
            files[f"{unit.name}-prepare.sh"] = _prepare(deployment, unit, templates, header)
    if deployment.router is not None:
        agents.append(_router_agent(deployment))
        files |= router_files(templates, header)
        files["config/router.json"] = router_config(deployment, f"{ROOT}/secrets/api_key", "launchd")
    files |= wired_limit_file(deployment, templates, header)
    files |= {f"{shown.label}.plist": _plist(shown, templates, header) for shown in agents}
    scripts = frozenset(path for path in files if path.endswith(".sh"))
    return Bundle("launchd", f"{agents[0].label}.plist", files, scripts)
