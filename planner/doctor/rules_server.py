"""Rules about what a server is told: flags, variables, models, slots, keys."""

from __future__ import annotations

import re
from collections.abc import Iterator

from planner.catalog.model_names import is_file_name
from planner.catalog.records import Model, ServerFacts
from planner.doctor.naming import REPOSITORY, STORED
from planner.doctor.programs import flag_value
from planner.doctor.records import Finding, Patient
from planner.doctor.settings import settings_of
from planner.errors import CatalogError, RenderError, near_misses
from planner.servers.oracle import RemovedName, argv_problems, config_problems, variable_problems
from planner.servers.records import ConfigFile

# Variables that belong to one server by their prefix; others are the machine's or a library's.
_PREFIXES = {
    "vllm": ("VLLM_",),
    "ollama": ("OLLAMA_",),
    "llama-server": ("LLAMA_ARG_", "LLAMA_SERVER_"),
    "localai": ("LOCALAI_",),
    "mlx-lm": ("MLX_",),
}
_KEY_FLAGS = ("--api-key", "--api-key-file", "--api-keys")
_KEY_VARIABLES = ("API_KEY", "API_KEYS")
# vLLM 0.33: request logging is off unless --enable-log-requests asks for it; the old flag parses as its negation.
_POINTLESS = {"vllm": {"--disable-log-requests": "leave it out: requests are not logged unless asked for"}}
_EVERY_INTERFACE = ("0.0.0.0", "::", "[::]")  # noqa: S104 - what is looked for, not what is bound


def known_flags(patient: Patient) -> Iterator[Finding]:
    """Every flag and value exists in the version that the catalog knows."""
    facts = _facts(patient)
    if facts is None or not patient.served.argv or facts.id == "ollama":
        return
    for problem in argv_problems(patient.served.argv, facts):
        yield _from_oracle(patient, problem, facts, "flag", "command")


def pointless_flags(patient: Patient) -> Iterator[Finding]:
    """Flags that are still read and change nothing."""
    pointless = _POINTLESS.get(patient.served.server or "", {})
    for flag in (word for word in patient.served.argv if word in pointless):
        yield patient.finding("flag-pointless", "note", f"{flag} changes nothing", pointless[flag], "command")


def known_variables(patient: Patient) -> Iterator[Finding]:
    """Every variable with the server's prefix is one that it reads."""
    facts = _facts(patient)
    if facts is None:
        return
    own = [name for name in patient.served.environment if name.startswith(_PREFIXES[facts.id]) or name in facts.removed]
    for problem in variable_problems(own, facts):
        yield _from_oracle(patient, problem, facts, "variable", "environment")


def known_keys(patient: Patient) -> Iterator[Finding]:
    """Every key of a Modelfile or of LocalAI's model file is one that the server reads."""
    facts, text = _facts(patient), patient.served.config
    if facts is None or text is None:
        return
    for problem in config_problems(ConfigFile(path=patient.served.name, text=text), facts):
        yield _from_oracle(patient, problem, facts, "key", "")


def _facts(patient: Patient) -> ServerFacts | None:
    return patient.catalog.server(patient.served.server) if patient.served.server else None


def _from_oracle(patient: Patient, problem: RenderError, facts: ServerFacts, kind: str, key: str) -> Finding:
    return patient.finding(
        f"{kind}-removed" if isinstance(problem, RemovedName) else f"{kind}-unknown",
        "error",
        problem.message,
        problem.hint or _leave(facts),
        key,
    )


def _leave(facts: ServerFacts) -> str:
    return f"leave it out, or name the {facts.name} version that has it"


def known_model(patient: Patient) -> Iterator[Finding]:
    """The repository is one of a model that the catalog knows, or of one of its quantized files."""
    repository = repository_of(patient)
    if repository is None or _model(patient, repository) is not None:
        return
    close = _near_repositories(patient, repository)
    text = f"{repository} is not known: many names like it do not exist"
    fix = f"did you mean {', '.join(close)}?" if close else "check the name at its publisher"
    yield patient.finding("model-unknown", "warning", text, fix, "command")


def repository_of(patient: Patient) -> str | None:
    """The Hugging Face repository that the server is told to load, None for files and other names."""
    if patient.served.config is not None:
        return None
    name = (settings_of(patient.served).model or "").partition(":")[0]
    return name if REPOSITORY.fullmatch(name) and not is_file_name(name) else None


def _model(patient: Patient, repository: str) -> Model | None:
    try:
        return patient.catalog.model(repository)
    except CatalogError:
        return None


def _near_repositories(patient: Patient, repository: str) -> tuple[str, ...]:
    """Known repositories whose name begins as this one does, else those spelt most alike."""
    known = [model.repo for model in patient.catalog.models.values() if model.repo]
    folded = repository.casefold()
    begun = sorted((name for name in known if folded.startswith(name.casefold())), key=len, reverse=True)
    return tuple(dict.fromkeys([*begun[:2], *near_misses(repository, known, limit=3)]))[:3]


def quantized_repository(patient: Patient) -> Iterator[Finding]:
    """A server loads AWQ or GPTQ from files made so; it does not quantize 16-bit weights on the way."""
    method = (flag_value(patient.served.argv, "--quantization", "-q") or "").casefold()
    repository = repository_of(patient)
    if method not in STORED or repository is None or patient.served.server != "vllm":
        return
    kind = STORED[method]
    if re.search(r"awq|gptq|w4a16|int4|4bit|quantized", repository, re.IGNORECASE):
        return
    model = _model(patient, repository)
    if model is None:
        close = _near_repositories(patient, repository)
        model = _model(patient, close[0]) if close else None
    stored = getattr(model.artifacts, {"AWQ": "awq", "GPTQ": "gptq_int4"}.get(kind, "awq"), None) if model else None
    text = f"{repository} holds 16-bit weights; --quantization {method} needs a repository quantized with {kind}"
    fix = f"serve {stored}" if stored else f"serve a repository whose name ends in -{kind}, or leave the flag out"
    yield patient.finding("quantization-mismatch", "error", text, fix, "command")


def key_of(patient: Patient) -> str | None:
    """Where the server's API key comes from; None when it asks for none."""
    served = patient.served
    if flag_value(served.argv, *_KEY_FLAGS) is not None:
        return "flag"
    names = [name for name in served.environment if name.endswith(_KEY_VARIABLES)]
    return names[0] if names else None


def listens_openly(patient: Patient) -> Iterator[Finding]:
    """A server outside a container that listens on every interface."""
    served = patient.served
    if served.kind not in {"unit", "script", "launchd"} and not served.host_network:
        return
    host = flag_value(served.argv, "--host") or served.environment.get("OLLAMA_HOST", "")
    if host.startswith(_EVERY_INTERFACE):
        keyless = key_of(patient) is None
        text = f"listens on {host}" + (
            ", and no key is asked for" if keyless else ", where every machine around reaches it"
        )
        fix = "listen on 127.0.0.1" + (", or set an API key from a file" if keyless else " behind a proxy with TLS")
        yield patient.finding("port-open", "error" if keyless else "warning", text, fix)


def secrets_inline(patient: Patient) -> Iterator[Finding]:
    """Keys that stand in the file or in the process list."""
    served = patient.served
    value = flag_value(served.argv, "--api-key")
    if value and not value.startswith("$"):
        text = "the API key stands in the command, where every user of the machine can read it"
        fix = "--api-key-file, or a variable from a secret file"
        yield patient.finding("secret-in-command", "error", text, fix, "command")
    for name, text in served.environment.items():
        if name.endswith(("_TOKEN", *_KEY_VARIABLES)) and text and not text.startswith(("$", "/")):
            said = f"{name} stands in the file in plain text"
            yield patient.finding("secret-inline", "error", said, "read it from a secret file", "environment")
