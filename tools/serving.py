"""Servers started for a measurement or a test: on a free port of loopback, waited for, stopped at the end."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from planner.bench.connection import Client
from planner.bench.endpoint import parse_endpoint
from planner.errors import PlannerError

READY_S = 120.0
STOP_S = 30.0
LOG_TAIL = 2000  # characters of the log that a failure quotes


@dataclass(frozen=True)
class Server:
    """A process that answers on a port of loopback; `log` holds what it printed."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def url(self) -> str:
        """The root of its API."""
        return f"http://127.0.0.1:{self.port}"

    def open_files(self) -> int:
        """File descriptors, sockets among them, that the process holds."""
        return sum(1 for _ in Path(f"/proc/{self.process.pid}/fd").iterdir())

    def stop(self) -> int:
        """Ask it to end, wait, and return its exit status; a server that stays is killed."""
        self.process.terminate()
        try:
            return self.process.wait(timeout=STOP_S)
        finally:
            self.kill()

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self.process.kill()
        self.process.wait()


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextlib.contextmanager
def serving(
    command: Sequence[str], port: int, *, environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> Iterator[Server]:
    """Start a command that serves `port`, wait until its /health answers 200, stop it at the end.

    Raises RuntimeError with the end of its log when it exits first or is not ready within READY_S."""
    with tempfile.TemporaryDirectory() as own:
        log = Path(own) / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output, env=environment, cwd=folder)
        server = Server(process, port, log)
        try:
            _wait_until_ready(server)
            yield server
        finally:
            if process.poll() is None:
                server.stop()


def llama_server(model: Path, *words: str) -> contextlib.AbstractContextManager[Server]:
    """The llama-server on PATH with a model file, on the CPU; `words` are further arguments."""
    port = free_port()
    return serving(["llama-server", "-m", str(model), "--port", str(port), "-ngl", "0", *words], port)


def _wait_until_ready(server: Server) -> None:
    client, deadline = Client(parse_endpoint(server.url)), time.monotonic() + READY_S
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            raise RuntimeError(f"the server exited with {server.process.returncode}:\n{_tail(server.log)}")
        with contextlib.suppress(PlannerError):
            if client.get("/health").status == 200:
                return
        time.sleep(0.1)
    raise RuntimeError(f"the server was not ready in {READY_S:g} s:\n{_tail(server.log)}")


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-LOG_TAIL:]
