"""The servers behind the router: their addresses, keys and slots, and what is counted of them."""

import contextlib
import hmac
import itertools
import os
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from slots import CLASSES, Slots

# From a short prompt on a GPU to a long one on a CPU.
BUCKETS_S = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 7.5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 300, 600, 1800)


class KeyFile:
    """The keys of a file, one a line, read again when the file changes."""

    def __init__(self, path: Path) -> None:
        self.path, self.stamp, self.keys = path, (0, 0), ()
        if not self.read():
            raise RuntimeError(f"{path} holds no key: the README's first command makes one")

    def read(self) -> tuple[bytes, ...]:
        with contextlib.suppress(OSError):  # a file that is being replaced: the last keys hold
            stat = self.path.stat()
            if (stat.st_mtime_ns, stat.st_size) != self.stamp:
                lines = self.path.read_bytes().splitlines()
                self.keys = tuple(line.strip() for line in lines if line.strip())
                self.stamp = (stat.st_mtime_ns, stat.st_size)
        return self.keys

    def admits(self, authorization: str) -> bool:
        scheme, _, given = authorization.partition(" ")
        token = given.strip().encode()
        # Every key is compared, each in constant time, so that timing tells nothing.
        matches = [hmac.compare_digest(token, key) for key in self.read()]
        return scheme.lower() == "bearer" and any(matches)


def key_path(text: str, folder: Path) -> Path:
    """A relative path lies in systemd's credentials folder, if there is one, else beside the configuration."""
    return Path(os.environ.get("CREDENTIALS_DIRECTORY", folder)) / text


class Backend:
    """One server: its address, its names, its slots with a bounded queue in front of them."""

    def __init__(self, config: dict[str, Any], folder: Path) -> None:
        self.name, self.role, self.url = config["name"], config["role"], config["url"].rstrip("/")
        self.models: dict[str, str] = config["models"]
        self.priority_field: bool = config["priority_field"]
        self.profiles: dict[str, dict[str, Any]] = config["profiles"]
        self.key = KeyFile(key_path(config["key_file"], folder)) if config["key_file"] else None
        self.slots = Slots(config["slots"], config["queue"], interactive=self.role == "interactive")


class Metrics:
    """What /metrics tells, each kind of it once."""

    def __init__(self, backends: list[Backend]) -> None:
        self.registry = CollectorRegistry()
        labels = ("backend", "priority")
        self.requests = Counter(
            "planner_router_requests", "Answers by status code; backend is empty where none gave it.",
            (*labels, "code"), registry=self.registry,
        )  # fmt: skip
        self.first_byte = Histogram(
            "planner_router_first_byte_seconds", "From a streamed request's arrival to its first byte, queue included.",
            labels, registry=self.registry, buckets=BUCKETS_S,
        )  # fmt: skip
        self.failures = Counter(
            "planner_router_backend_failures", "Backends passed over (unreachable, unavailable) or broken off.",
            ("backend", "kind"), registry=self.registry,
        )  # fmt: skip
        self.up = self.gauge("backend_up", "1 when the backend answers its health check.")
        waiting = self.gauge("waiting", "Requests in the backend's queue.")
        running = self.gauge("running", "Requests that hold one of the backend's slots.")
        slots = self.gauge("slots", "Requests that the backend serves at a time.")
        # A counter that first appears at 1 has not grown for Prometheus: what is watched is there from the start.
        names = [backend.name for backend in backends]
        for refusal in itertools.product(["", *names], CLASSES, ("429", "503")):
            self.requests.labels(*refusal)
        for failure in itertools.product(names, ("unreachable", "unavailable", "broke_off")):
            self.failures.labels(*failure)
        for backend in backends:
            waiting.labels(backend.name).set_function(lambda b=backend: b.slots.waiting)
            running.labels(backend.name).set_function(lambda b=backend: b.slots.running.total())
            slots.labels(backend.name).set(backend.slots.total)

    def gauge(self, name: str, meaning: str) -> Gauge:
        return Gauge(f"planner_router_{name}", meaning, ("backend",), registry=self.registry)
