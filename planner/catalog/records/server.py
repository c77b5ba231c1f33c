"""Facts of a server: version, images, formats; the behaviour lies in `planner.servers`."""

from __future__ import annotations

from planner.catalog.records.base import Record


class Image(Record):
    """A container image for one backend; `programs` are those known to be inside (health checks, numactl)."""

    backend: str
    reference: str
    digest: str | None = None
    programs: tuple[str, ...] = ()
    user: str | None = None


class ServerFacts(Record):
    """What the catalog knows of a server at one version. `flags` and `environment` are every name that this
    version accepts; `removed` maps a name that is gone to what replaced it (or null).
    `switches`: the flags that take no value. `choices`: the values that a flag accepts, where they are closed.
    `config_keys`: what may stand in its configuration files (Modelfile parameters, LocalAI's model YAML)."""

    id: str
    name: str
    version: str
    formats: tuple[str, ...]
    port: int
    executable: str
    images: tuple[Image, ...] = ()
    flags: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    switches: tuple[str, ...] = ()
    choices: dict[str, tuple[str, ...]] = {}
    config_keys: tuple[str, ...] = ()
    removed: dict[str, str | None] = {}
    sources: tuple[str, ...] = ()
