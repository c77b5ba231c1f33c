"""Commands that fetch a service's weights into the models folder."""

from __future__ import annotations

import re

import msgspec

from planner.rendering.deployment import Deployment, Unit
from planner.servers.records import ModelSource

_HUB = re.compile(r"hf:(?P<repo>[^@]+)(?:@(?P<revision>[^/]+))?(?:/(?P<file>.+))?")


class Download(msgspec.Struct, frozen=True, kw_only=True):
    """One download: `words` follow `hf download`, `folder` is below the models folder ("" = itself)."""

    service: str
    repo: str
    words: tuple[str, ...]
    folder: str
    bytes: int | None


def hub_download(service: str, source: ModelSource) -> Download | None:
    """The download of a source on the hub; None for other sources (Ollama's library, a local file)."""
    match = _HUB.fullmatch(source.uri)
    if match is None:
        return None
    repo, revision, file = match["repo"], match["revision"], match["file"]
    folder = "" if file or not source.file_names else source.file_names[0]
    files = (source.file_names or (file,)) if file else ()
    pinned = ("--revision", revision) if revision and revision != "main" else ()
    return Download(
        service=service, repo=repo, words=(repo, *files, *pinned), folder=folder, bytes=source.download_bytes
    )


def downloads(deployment: Deployment) -> tuple[Download, ...]:
    """Every download of a deployment, the same files once."""
    found: dict[tuple[str, ...], Download] = {}
    for unit in deployment.units:
        download = hub_download(unit.name, unit.launch.download)
        if download is not None:
            found.setdefault((*download.words, download.folder), download)
    return tuple(found.values())


def local_files(deployment: Deployment) -> tuple[str, ...]:
    """Files that a person must put into the models folder: sources that were read from disk."""
    units = (u for u in deployment.units if u.launch.download.uri.startswith("file:"))
    return tuple(name for unit in units for name in _names(unit))


def _names(unit: Unit) -> tuple[str, ...]:
    return unit.launch.download.file_names or (unit.launch.download.uri.removeprefix("file:"),)
