"""Target `launch`: one bash script per service, for a terminal or somebody else's supervisor."""

from __future__ import annotations

import re

from planner.errors import RenderError
from planner.rendering.bundle import Bundle
from planner.rendering.deployment import Deployment, Unit
from planner.rendering.parsing import shell_words
from planner.rendering.placing import Folders, Setting, Word, argv, environment, join, numactl
from planner.rendering.quoting import shell_word
from planner.rendering.router import router_config, router_files
from planner.rendering.systemd import deployment_bind, writes_models
from planner.rendering.templates import TemplateSet
from planner.rendering.words import must_equal, resolved, settings_as_words, shell, shell_lines

FOLDERS = Folders(
    models=Word("$models/"), config=Word("$here/config/"), key=Word("$key_file"), cache=Word("$cache/"), mounts=False
)
# Values that cannot occur in a plan, so that reading back tells a variable from its spelling.
_KNOWN = {"models": "\x02m", "here": "\x02h", "key_file": "\x02k", "cache": "\x02c", "node": "\x02n", "port": "\x02p"}
_INSTALL = {
    "llama-server": "llama.cpp: its releases, a package manager, or a build",
    "vllm": "vLLM: pip install vllm{} in a virtual environment, on PATH",
    "mlx-lm": "MLX-LM: pip install mlx-lm{} in a virtual environment, on PATH",
    "ollama": "Ollama: its installer",
    "localai": "LocalAI: its releases",
}


def _port(unit: Unit) -> Word:
    return Word("$port") if unit.launch.instances > 1 else Word(text=str(unit.launch.port))


def command(deployment: Deployment, unit: Unit) -> tuple[Word, ...]:
    """The words after `exec`."""
    first = deployment.instances(unit)[0]
    words = list(argv(unit, FOLDERS, deployment_bind(deployment), _port(unit)))
    if deployment.options.program_dir is not None:
        words[0] = Word(text=f"{deployment.options.program_dir.rstrip('/')}/{words[0].text}")
    node = Word("$node") if unit.launch.instances > 1 else None
    bound = numactl(unit, first, node)
    return (*((Word(text="numactl"), *bound) if bound else ()), *words)


def settings(deployment: Deployment, unit: Unit) -> tuple[Setting, ...]:
    """The script's variables."""
    return environment(unit, FOLDERS, deployment_bind(deployment), _port(unit))


def _model_paths(unit: Unit) -> list[str]:
    return [shell(join(FOLDERS.models, a.text)) for a in unit.launch.argv if a.kind == "models"]


def _programs(deployment: Deployment, unit: Unit) -> list[dict[str, str]]:
    names = [word.text for word in command(deployment, unit)[:1]]
    if names == ["numactl"]:
        names.append(command(deployment, unit)[1 + len(numactl(unit, deployment.instances(unit)[0]))].text)
    found = []
    for name in names:
        what = "numactl: a package of that name" if name == "numactl" else _install(unit)
        found.append({"name": name, "message": f"{name} is not installed. {what}"})
    return found


def _install(unit: Unit) -> str:
    pin = f"=={unit.version}" if unit.version else ""
    return _INSTALL.get(unit.service.server, unit.service.server).format(pin)


def script_name(unit: Unit) -> str:
    """File name of a service's script."""
    return f"{unit.name}.sh"


def _values(deployment: Deployment, unit: Unit, header: tuple[str, ...]) -> dict[str, object]:
    launch, service = unit.launch, unit.service
    words = command(deployment, unit)
    shown = settings(deployment, unit)
    raw = " ".join(word.raw for word in (*words, *(s.value for s in shown)))
    reads_key = "$key_file" in raw or bool(launch.secret_environment)
    return {
        "header": header,
        "about": f"{service.model_name} {service.quant}, {service.role}, on {service.server}",
        "file": script_name(unit),
        "service": unit.name,
        "models_dir": deployment.options.models_dir,
        "reads_key": reads_key,
        "uses_here": reads_key or "$here" in raw,
        "uses_models": "$models" in raw or writes_models(unit),
        "uses_cache": "$cache" in raw,
        "instances": deployment.instances(unit) if launch.instances > 1 else (),
        "programs": _programs(deployment, unit),
        "model_paths": _model_paths(unit),
        "makes_models": writes_models(unit),
        "secret_environment": [name for name, _ in launch.secret_environment],
        "environment": [shell(word) for word in settings_as_words(shown)],
        "command": shell_lines(words),
    }


def _check(deployment: Deployment, unit: Unit, text: str) -> None:
    match = re.search(r"^exec (.*)", text, re.MULTILINE | re.DOTALL)
    if match is None:
        raise RenderError(f"{script_name(unit)} has no exec line", hint="a template leaves it out")
    raw = {f"${name}": value for name, value in _KNOWN.items()}
    expected = resolved(command(deployment, unit), raw)
    must_equal(f"command of {script_name(unit)}", expected, shell_words(match[1], _KNOWN))
    for word in settings_as_words(settings(deployment, unit)):
        line = f"export {shell(word)}\n"
        must_equal(f"variable {line.strip()} of {script_name(unit)}", True, line in text)
        must_equal(line.strip(), resolved([word], raw), shell_words(shell(word), _KNOWN))


def _prepare(deployment: Deployment, unit: Unit, templates: TemplateSet, header: tuple[str, ...]) -> str:
    paths = {file.path: f"config/{file.path}" for file in unit.launch.config_files}
    own = [s for s in settings(deployment, unit) if not s.value.raw]
    values = {
        "header": header,
        "service": unit.name,
        "file": script_name(unit),
        "environment": [shell(word) for word in settings_as_words(own)],
        "commands": [" ".join(shell_word(paths.get(w, w)) for w in step) for step in unit.launch.prepare],
    }
    return templates.fill("launch/prepare.sh.j2", values)


def render_launch(deployment: Deployment, templates: TemplateSet, header: tuple[str, ...]) -> Bundle:
    """A script per service, another for its preparation, and the router's."""
    files: dict[str, str] = {}
    for unit in deployment.units:
        text = templates.fill("launch/service.sh.j2", _values(deployment, unit, header))
        _check(deployment, unit, text)
        files[script_name(unit)] = text
        files |= {f"config/{file.path}": file.text for file in unit.launch.config_files}
        if unit.launch.prepare:
            files[f"{unit.name}-prepare.sh"] = _prepare(deployment, unit, templates, header)
    if deployment.router is not None:
        values = {"header": header, "host": deployment.options.bind, "port": deployment.router.port}
        files["router.sh"] = templates.fill("launch/router.sh.j2", values)
        files |= router_files(templates, header)
        files["config/router.json"] = router_config(deployment, "../secrets/api_key", "launch")
    scripts = frozenset(path for path in files if path.endswith(".sh"))
    return Bundle("launch", script_name(deployment.units[0]), files, scripts)
