"""How much of its memory a Mac lets the GPU hold, raised at each start by a daemon that runs once."""

from __future__ import annotations

import plistlib

from planner.errors import RenderError
from planner.rendering.deployment import Deployment
from planner.rendering.templates import TemplateSet
from planner.rendering.words import must_equal
from planner.units import GIB, MIB, format_gib

LABEL = "com.planner.wired-limit"
PATH = f"daemon/{LABEL}.plist"
# What the system and its programs keep at the least: 8 GiB, on larger Macs the seventh part. Assumed, between the
# quarter that macOS keeps by itself (Apple's recommendedMaxWorkingSetSize) and nothing.
LEAST_SYSTEM_BYTES, SYSTEM_SHARE = 8 * GIB, 0.15


def most_bytes(ram_bytes: int) -> int:
    """The highest limit that leaves the system what it needs."""
    return ram_bytes - max(LEAST_SYSTEM_BYTES, int(SYSTEM_SHARE * ram_bytes))


def wired_limit_file(deployment: Deployment, templates: TemplateSet, header: tuple[str, ...]) -> dict[str, str]:
    """The daemon's property list by its path; nothing unless it was asked for. Raises RenderError for a limit that
    leaves the system too little, and where the memory is not known."""
    limit = deployment.options.wired_limit_bytes
    if limit is None:
        return {}
    _check(limit, deployment.plan.hardware.ram_bytes)
    words = ["/usr/sbin/sysctl", f"iogpu.wired_limit_mb={limit // MIB}"]
    text = templates.fill("launchd/wired_limit.plist.j2", {"header": header, "label": LABEL, "words": words})
    must_equal(f"words of {PATH}", words, plistlib.loads(text.encode()).get("ProgramArguments"))
    return {PATH: text}


def _check(limit: int, ram_bytes: int | None) -> None:
    if ram_bytes is None:
        raise RenderError("the Mac's memory is not known, so no limit of it can be set", hint="plan with its size")
    most = most_bytes(ram_bytes)
    if not MIB <= limit <= most:
        raise RenderError(
            f"a wired limit of {format_gib(limit)} leaves too little of {format_gib(ram_bytes)}",
            hint=f"at most {format_gib(most)}: the rest is the system's",
        )
