"""Another version of a server than the one whose names the catalog knows."""

from __future__ import annotations

import re
from collections.abc import Mapping

from msgspec.structs import replace

from planner.catalog.records import Image, ServerFacts
from planner.errors import UsageError

# The tag grammar of the OCI distribution specification 1.1; a version becomes part of a tag.
_VERSION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")


def parse_versions(texts: tuple[str, ...], servers: tuple[str, ...]) -> dict[str, str]:
    """`SERVER=VERSION`, or a bare VERSION where only one server is planned. Raises UsageError."""
    return dict(_parsed(text, tuple(dict.fromkeys(servers))) for text in texts)


def _parsed(text: str, servers: tuple[str, ...]) -> tuple[str, str]:
    server, equals, version = text.rpartition("=")
    if not equals and len(servers) == 1:
        server = servers[0]
    if server not in servers:
        raise UsageError(
            f"--server-version {text!r}: which server?", hint=f"SERVER=VERSION; planned: {', '.join(servers)}"
        )
    if not _VERSION.fullmatch(version):
        raise UsageError(f"--server-version {text!r} is no version", hint="like 0.34.0 or b11500")
    return server, version


def at_version(facts: ServerFacts, versions: Mapping[str, str]) -> ServerFacts:
    """The facts with the version that is wanted of the server: its images named by it, without the digests of others.
    The names of flags and variables stay those of the version that the catalog knows."""
    wanted = versions.get(facts.id, facts.version)
    if not facts.version.startswith("v"):
        wanted = wanted.removeprefix("v")
    if wanted == facts.version:
        return facts
    images = tuple(_renamed(image, facts.version, wanted) for image in facts.images)
    return replace(facts, version=wanted, images=images)


def _renamed(image: Image, known: str, wanted: str) -> Image:
    name, _, tag = image.reference.rpartition(":")
    return replace(image, reference=f"{name}:{tag.replace(known, wanted)}", digest=None)


def unchecked(facts: ServerFacts, wanted: ServerFacts) -> str | None:
    """The warning that a version deserves whose names nobody has checked; None for the one that the catalog knows."""
    if facts.version == wanted.version:
        return None
    return f"{facts.id} {wanted.version} was not checked: its flags and variables are taken from {facts.version}"
