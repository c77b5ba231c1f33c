"""The files a capture holds beside the machine's own: what the drivers and the running kernel answered."""

from __future__ import annotations

import msgspec

from planner.hardware.facts import Disk
from planner.hardware.nvidia import Driver
from planner.hardware.tree import Tree

NVML_FILE = "planner/nvml.json"
LIVE_FILE = "planner/live.json"


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """What only the running kernel could say: the CPUs that affinity leaves, the models' disk, files it did not let us
    read."""

    architecture: str | None = None
    page_bytes: int | None = None
    allowed_cpus: tuple[int, ...] = ()
    disk: Disk | None = None
    denied_paths: tuple[str, ...] = ()


def from_a_running_machine(tree: Tree) -> bool:
    """True for this machine and for a capture of one, not for a bare tree of files."""
    return tree.live or tree.exists(LIVE_FILE)


def read_saved_live(tree: Tree) -> Live:
    """The running kernel's answers when the tree was captured; unknown ones where there are none."""
    content = tree.data(LIVE_FILE)[1] if not tree.live else b""
    try:
        return msgspec.json.decode(content, type=Live) if content else Live()
    except msgspec.MsgspecError:
        return Live()


def read_saved_driver(tree: Tree) -> Driver:
    """NVML's answers when the tree was captured; no boards where there are none."""
    content = tree.data(NVML_FILE)[1] if not tree.live else b""
    if not content:
        return Driver()
    try:
        return msgspec.json.decode(content, type=Driver)
    except msgspec.MsgspecError:
        return Driver(problem=f"{NVML_FILE} of the capture is broken and left out")
