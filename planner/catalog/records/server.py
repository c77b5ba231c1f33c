"""Facts of a server: version, images, formats; the behaviour lies in `planner.servers`."""

from typing import Annotated

import msgspec

from planner.catalog.records.base import Record

# OCI image specification 1.1, "Digests"; the length keeps a last newline out, which `$` lets pass.
Digest = Annotated[str, msgspec.Meta(pattern="^sha256:[0-9a-f]{64}$", max_length=71)]


class Image(Record):
    """A container image for one backend; `programs` are those known to be inside (health checks, numactl).
    `digest`: what the tag stood for when somebody looked it up, from `images.yaml`; None: nobody has. `disk_bytes`:
    what an image of that name took on disk when `disk_source` measured it; None: not known."""

    backend: str
    reference: str
    digest: Digest | None = None
    programs: tuple[str, ...] = ()
    user: str | None = None
    disk_bytes: int | None = None
    disk_source: str | None = None


class PinnedImage(Record):
    """The digest of a published image. `id`: the reference with its tag, as a server's facts name it; `source`: where
    and when the digest was looked up."""

    id: str
    digest: Digest
    source: str


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
