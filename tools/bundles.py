"""Rendered bundles made ready to start here, and started: the key, tiny models under the planned names, free ports."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import planner
from planner.planning.plan import Plan
from planner.rendering import Bundle
from planner.rendering.write import write_bundle
from planner.servers.records import Service
from tools.random_mlx import write_random_mlx
from tools.random_model import TINY, write_random_model
from tools.serving import Server, free_port, serving

KEY = "correct horse battery staple"


def put_files(bundle: Bundle, folder: Path) -> Path:
    """The bundle and its key, in a folder that is returned."""
    write_bundle(bundle, folder)
    (folder / "secrets").mkdir()
    (folder / "secrets" / "api_key").write_text(KEY + "\n")
    return folder


def put_model(service: Service, folder: Path) -> Path:
    """A tiny model under the name of the planned file or folder, in a folder that is returned."""
    folder.mkdir(exist_ok=True)
    path = folder / service.source.file_names[0]
    if service.server == "mlx-lm":
        write_random_mlx(path)
    else:
        write_random_model(path, TINY)
    return folder


def with_port(file: Path, planned: int, port: int) -> str:
    """The same file with a free port, so that it may run beside anything; its new text."""
    text = file.read_text()
    assert f"--port {planned}" in text
    file.write_text(text.replace(f"--port {planned}", f"--port {port}"))
    return file.read_text()


def two_role_plan(users: int, context: int) -> Plan:
    """Interactive and batch on one CPU, a llama-server each, `users` slots of `context` tokens in both."""
    # One thread each: llama.cpp's threads wait for each other by spinning, and two servers share the cores here.
    machine = planner.what_if(cores=1, ram="64GiB", ram_bandwidth="40GB/s")
    wishes = {"model": "qwen3-0.6b", "quant": "Q8_0", "server": "llama-server", "roles": "interactive,batch"}
    return planner.recommend(machine, "chat", users=users, context=context, **wishes).plan


class Stack:
    """The launch bundle of a plan, its scripts started on free ports. `options`: what else is rendered."""

    def __init__(self, plan: Plan, folder: Path, **options: object) -> None:
        self.bundle = planner.render(plan, "launch", **options)
        self.folder = put_files(self.bundle, folder / "bundle")
        self.ports = {"router": free_port()} | {service.name: free_port() for service in plan.services}
        assert plan.router is not None
        with_port(self.folder / "router.sh", plan.router.port, self.ports["router"])
        for service in plan.services:
            models = put_model(service, folder / "models")
            with_port(self.folder / f"{service.name}.sh", service.port, self.ports[service.name])
        planned = {"router": plan.router.port} | {service.name: service.port for service in plan.services}
        self._move({planned[name]: port for name, port in self.ports.items()})
        # The router's packages are the ones of this interpreter.
        self._environment = os.environ | {"PLANNER_MODELS_DIR": str(models), "PLANNER_ROUTER_PYTHON": sys.executable}

    def _move(self, ports: dict[int, int]) -> None:
        """Addresses in configurations: planned ports -> those that are used."""
        for path in self.bundle:
            if path.startswith(("config/", "exports/", "observability/prometheus/")):
                text = (self.folder / path).read_text()
                moved = re.sub(r"(?<=127\.0\.0\.1:)(\d+)", lambda m: str(ports.get(int(m[1]), m[1])), text)
                (self.folder / path).write_text(moved)

    def start(self, name: str) -> contextlib.AbstractContextManager[Server]:
        """One script: the router's or a service's, by name."""
        port = self.ports[name]
        return serving(["bash", f"{name}.sh"], port, environment=self._environment, folder=self.folder)


@contextlib.contextmanager
def started_stack(plan: Plan, folder: Path, **options: object) -> Iterator[tuple[Stack, dict[str, Server]]]:
    """Every service of the plan, then its router, until the end of the block."""
    stack = Stack(plan, folder, **options)
    with contextlib.ExitStack() as running:
        names = (*(service.name for service in plan.services), "router")
        yield stack, {name: running.enter_context(stack.start(name)) for name in names}
