"""One room per server: what it reads, its memory and speed rules, how it starts.

`SERVERS` maps a server's id to its room, in the order in which they are offered."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from planner.servers.base import ServerRoom

    SERVERS: dict[str, ServerRoom]

__all__ = ["SERVERS"]


def __getattr__(name: str) -> dict[str, ServerRoom]:
    # Late: the records of this floor are read by rooms that never start a server.
    if name != "SERVERS":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from planner.servers import llama_server, localai, mlx_lm, ollama, vllm

    rooms: dict[str, ServerRoom] = {room.id: room for room in (ollama, vllm, mlx_lm, localai, llama_server)}
    globals()["SERVERS"] = rooms
    return rooms
