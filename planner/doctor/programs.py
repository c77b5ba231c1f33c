"""Which server a command or an image starts, and its own words among those of wrappers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

# Programs by which a server is started, as their documentation names them.
PROGRAMS = {
    "vllm": "vllm",
    "llama-server": "llama-server",
    "ollama": "ollama",
    "local-ai": "localai",
    "mlx_lm.server": "mlx-lm",
}
# Parts of image names that belong to one server; the image's entrypoint is its program.
IMAGES = {
    "vllm/vllm": "vllm",
    "ollama/ollama": "ollama",
    "localai/localai": "localai",
    "go-skynet/local-ai": "localai",
    "llama.cpp": "llama-server",
}
_PROGRAM_OF = {server: program for program, server in PROGRAMS.items()}
# The image's own start script, which hands its arguments on.
_ENTRYPOINTS = {"entrypoint.sh", "docker-entrypoint.sh"}
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")


def server_of_image(image: str | None) -> str | None:
    """The server whose image it is, None for any other."""
    name = (image or "").partition("@")[0]
    return next((server for part, server in IMAGES.items() if part in name), None)


def own_words(
    image: str | None, entrypoint: Sequence[str], command: Sequence[str]
) -> tuple[str | None, tuple[str, ...]]:
    """The server's id, and its argv from its program on. Shells, numactl and `env` in front are passed over."""
    server = server_of_image(image)
    words = [*entrypoint, *command]
    for index, word in enumerate(words):
        name = PurePosixPath(word).name
        if name in PROGRAMS:
            return PROGRAMS[name], tuple(words[index:])
        if server is not None and name in _ENTRYPOINTS:
            return server, (_PROGRAM_OF[server], *words[index + 1 :])
        if name == "-m" and words[index + 1 : index + 2] == ["mlx_lm.server"]:
            return "mlx-lm", tuple(words[index + 1 :])
        if name == "vllm.entrypoints.openai.api_server":
            return "vllm", ("vllm", "serve", *words[index + 1 :])
    if server is not None and not entrypoint:
        return server, (_PROGRAM_OF[server], *words)
    return server, ()


def is_numa_bound(words: Sequence[str]) -> bool:
    """Whether numactl with a memory policy stands in front."""
    names = [PurePosixPath(word).name for word in words]
    if "numactl" not in names:
        return False
    after = words[names.index("numactl") + 1 :]
    return any(word.startswith(("--membind", "-m", "--interleave", "-i", "--preferred")) for word in after)


def split_assignments(words: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Leading `NAME=value` words, and the rest."""
    environment: dict[str, str] = {}
    rest = list(words)
    while rest and _ASSIGNMENT.match(rest[0]):
        name, _, value = rest.pop(0).partition("=")
        environment[name] = value
    return environment, rest


def flag_value(argv: Sequence[str], *flags: str) -> str | None:
    """The value of the last of these flags, as `--flag value` or `--flag=value`."""
    found = None
    for index, word in enumerate(argv):
        name, equals, value = word.partition("=")
        if name in flags:
            found = value if equals else (argv[index + 1] if index + 1 < len(argv) else "")
    return found
