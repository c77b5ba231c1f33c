"""What rendering returns, and what it may be told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from planner.errors import RenderError

Target = Literal["launch", "compose", "systemd", "quadlet", "launchd", "kubernetes"]
TARGETS: tuple[Target, ...] = ("launch", "compose", "systemd", "quadlet", "launchd", "kubernetes")

FILE_MODE = 0o644
SCRIPT_MODE = 0o755


class CannotServe(RenderError):
    """The target cannot serve the plan at all; the hint names those that can."""


class RenderOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Choices of the person who deploys, beside the plan.

    `models_dir`: the folder of the models, fixed instead of a variable. `templates`: a folder that overrides templates
    file by file. `role`: only the services of this role. `bind`: the address that is published. `numa_style`: in
    units, numactl in ExecStart or the directives of systemd. `program_dir`: where servers are installed.
    `require_digests`: refuse an image that is not pinned by digest. `observability`: Prometheus' files and a dashboard
    too, in compose the containers for them. `exports`: configurations of other routers, by name. `server_versions`:
    versions that are installed, by server, where they are not those of the catalog. `wired_limit_bytes`: a daemon too
    that lets the GPU of a Mac hold so much."""

    models_dir: str | None = None
    templates: Path | str | None = None
    role: str | None = None
    bind: str = "127.0.0.1"
    numa_style: str = "numactl"
    program_dir: str | None = None
    require_digests: bool = False
    observability: bool = False
    exports: tuple[str, ...] = ()
    server_versions: dict[str, str] = {}
    wired_limit_bytes: int | None = None


class Bundle(Mapping[str, str]):
    """Relative path -> text. `modes`: path -> file mode; `main`: the file that matters most; `target`: what for."""

    def __init__(self, target: str, main: str, files: Mapping[str, str], scripts: frozenset[str] = frozenset()) -> None:
        self.target = target
        self.main = main
        self._files = dict(sorted(files.items()))
        self.modes = {path: SCRIPT_MODE if path in scripts else FILE_MODE for path in self._files}

    def __getitem__(self, path: str) -> str:
        return self._files[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    @property
    def scripts(self) -> frozenset[str]:
        """The files that are executable."""
        return frozenset(path for path, mode in self.modes.items() if mode == SCRIPT_MODE)
