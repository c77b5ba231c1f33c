"""Records of the server floor: a planned service, and the launch that every render target lays out."""

from __future__ import annotations

from typing import Literal

from planner.catalog.records.policy import Role, Sampling
from planner.hardware.facts import Backend
from planner.sizing.records import Footprint, KvType, Placement, Record
from planner.speed.records import Speed


class Objection(Record):
    """Why a server cannot take a model, quant or machine."""

    reason_id: str
    text: str


class ModelSource(Record):
    """Where the weights come from: `hf:REPO@REVISION/FILE`, `ollama:TAG`, or `file:NAME`. `file_names` are the
    files in the models folder; exact bytes when known.

    `hf:REPO@REVISION` without FILE is the whole repository; `file_names` then holds the one folder that it lies
    in. Of a split GGUF the URI names the first part, `file_names` all of them. `localai:REPO`, in a launch only:
    the server fetches it itself. `note`: a name that was derived from the publisher's habit, not read in the
    repository."""

    uri: str
    file_names: tuple[str, ...] = ()
    download_bytes: int | None = None
    note: str | None = None


class Service(Record, kw_only=True):
    """One server of a plan. `context` is what one user gets, `parallel` the slots."""

    name: str
    role: Role
    model: str
    model_name: str
    quant: str
    server: str
    backend: Backend
    placement: Placement
    footprint: Footprint
    speed: Speed
    sampling: Sampling
    context: int
    parallel: int
    kv_type: KvType = KvType()
    source: ModelSource
    port: int
    threads: int | None = None


class Health(Record):
    """How readiness is asked: an HTTP path on the service's port (200 = ready), and the argv of a program that
    exists in the image (None: no such program)."""

    path: str
    argv: tuple[str, ...] | None = None


class Mount(Record):
    """A folder or file that the process sees: `source` is a role (`models`, `cache`, `config`), `target` its path."""

    source: Literal["models", "cache", "config", "secret"]
    name: str
    target: str
    read_only: bool = True


class ConfigFile(Record):
    """A file that the server needs (Modelfile, LocalAI model YAML), relative to the bundle's config folder."""

    path: str
    text: str


class Argument(Record):
    """One word of the command line. `models` and `secret` and `config` words are file names that each target places
    in its own folder; `text` stands as it is."""

    text: str
    kind: Literal["text", "models", "secret", "config"] = "text"


class Launch(Record, kw_only=True):
    """How one service starts, told once; every target formats this list.

    `argv[0]` is the bare program name; the image's own entrypoint stands for the first `image_entrypoint_words`.
    `environment` holds plain values; `secret_environment` maps a variable to the secret file that holds it;
    `models_environment` names variables whose value is the models folder, wherever the target puts it.
    `memory_bytes` is the limit to set, `start_seconds` the load budget. `served_name` is the model name that
    requests must carry. Every launch binds 127.0.0.1: in the word after `--host` (`bind_option` "flag"), or in
    `bind_variable` (`HOST:PORT`); `planner.servers.binding` moves it. In `prepare`, a word equal to the path of one
    of `config_files` stands for that file. `needs_network`: the server itself fetches something when it first
    starts (LocalAI its backend), so that its container must reach the internet. `device_variable` names the variable
    that picks GPUs, set only where the machine has others too."""

    service: str
    role: Role
    server: str
    argv: tuple[Argument, ...]
    environment: tuple[tuple[str, str], ...] = ()
    secret_environment: tuple[tuple[str, str], ...] = ()
    image: str | None = None
    image_entrypoint_words: int = 1
    backend: Backend = "cpu"
    gpu_uuids: tuple[str, ...] = ()
    gpu_indexes: tuple[int, ...] = ()
    mounts: tuple[Mount, ...] = ()
    config_files: tuple[ConfigFile, ...] = ()
    numa: Literal["none", "bind", "interleave"] = "none"
    numa_nodes: tuple[int, ...] = ()
    numa_cpus: tuple[int, ...] = ()
    instances: int = 1
    health: Health
    port: int
    bind_option: Literal["flag", "environment"] = "flag"
    bind_variable: str | None = None
    models_environment: tuple[str, ...] = ()
    device_variable: str | None = None
    served_name: str | None = None
    needs_network: bool = False
    has_key: bool = True
    memory_bytes: int | None = None
    shm_bytes: int | None = None
    locks_memory: bool = False
    start_seconds: int = 60
    prepare: tuple[tuple[str, ...], ...] = ()
    download: ModelSource
    notes: tuple[str, ...] = ()
