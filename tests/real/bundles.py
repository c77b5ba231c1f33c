"""Rendered bundles made ready to start here: the key, a tiny model under the planned name, a free port."""

from __future__ import annotations

from pathlib import Path

from planner.rendering import Bundle
from planner.rendering.write import write_bundle
from planner.servers.records import Service
from tools.random_model import TINY, write_random_model

KEY = "correct horse battery staple"


def put_files(bundle: Bundle, folder: Path) -> Path:
    """The bundle and its key, in a folder that is returned."""
    write_bundle(bundle, folder)
    (folder / "secrets").mkdir()
    (folder / "secrets" / "api_key").write_text(KEY + "\n")
    return folder


def put_model(service: Service, folder: Path) -> Path:
    """A tiny model under the name of the planned file, in a folder that is returned."""
    folder.mkdir(exist_ok=True)
    write_random_model(folder / service.source.file_names[0], TINY)
    return folder


def with_port(file: Path, planned: int, port: int) -> str:
    """The same file with a free port, so that tests may run beside anything; its new text."""
    text = file.read_text()
    assert f"--port {planned}" in text
    file.write_text(text.replace(f"--port {planned}", f"--port {port}"))
    return file.read_text()
