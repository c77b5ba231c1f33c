"""What the doctor finds in files, and what it says of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Literal, NamedTuple

from planner.catalog.records.base import Record

if TYPE_CHECKING:
    from planner.catalog.catalog import Catalog
    from planner.hardware.facts import Hardware

Severity = Literal["note", "warning", "error"]
FileKind = Literal["compose", "unit", "script", "quadlet", "kubernetes", "modelfile", "launchd"]
HIGHEST_PORT = 65_535


class Finding(Record):
    """One fault: rule id, severity, where it stands (file, then key path), what is wrong, and the fix."""

    rule_id: str
    severity: Severity
    place: str
    text: str
    fix: str | None = None


class Port(Record):
    """A port made reachable: on `host_ip` (None: every interface), as written where it is no number."""

    published: str
    target: str = ""
    host_ip: str | None = None

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        return self.host_ip is not None and (self.host_ip.startswith("127.") or self.host_ip in {"::1", "localhost"})


class Served(Record):
    """One program that a file starts. `argv` begins with the server's program (empty when it is none that is known);
    `server` is its id in the catalog. `health`: the words of its health check, None without one; `waits_for`: what it
    depends on and under which condition; `needed_files`: what must lie beside its file; `devices`: which GPUs it
    reserves, as written; `config`: the text of a configuration file; `is_job`: runs once and ends; `memory_limit_bytes`
    and `lock_limit_bytes`: None where the file states none that can be read."""

    kind: FileKind
    place: str
    name: str
    server: str | None = None
    image: str | None = None
    argv: tuple[str, ...] = ()
    environment: dict[str, str] = {}
    ports: tuple[Port, ...] = ()
    health: tuple[str, ...] | None = None
    waits_for: dict[str, str] = {}
    restart: str | None = None
    memory_limited: bool = True
    memory_limit_bytes: int | None = None
    lock_limit_bytes: int | None = None
    numa_bound: bool = False
    privileged: bool = False
    host_network: bool = False
    legacy_runtime: str | None = None
    devices: tuple[str, ...] = ()
    needed_files: tuple[str, ...] = ()
    is_job: bool = False
    config: str | None = None


class Document(Record):
    """One file: its programs, and faults of the file itself."""

    path: str
    kind: FileKind
    served: tuple[Served, ...] = ()
    findings: tuple[Finding, ...] = ()


class Patient(NamedTuple):
    """One program with what surrounds it: the other programs of its file, the catalog, and the machine if known."""

    served: Served
    document: Document
    catalog: Catalog
    hardware: Hardware | None

    def finding(self, rule_id: str, severity: Severity, text: str, fix: str | None = None, key: str = "") -> Finding:
        """A finding at this program, or at a key of it."""
        place = f"{self.served.place}.{key}" if key else self.served.place
        return Finding(rule_id=rule_id, severity=severity, place=place, text=text, fix=fix)


Rule = Callable[[Patient], Iterator[Finding]]
