"""Moving a launch from loopback to another address, in the one place that knows where it is written."""

from __future__ import annotations

from msgspec.structs import replace

from planner.servers.base import LOOPBACK
from planner.servers.records import Argument, Launch


def bound_to(launch: Launch, address: str) -> Launch:
    """The launch listening on `address` (`0.0.0.0` inside a container)."""
    if launch.bind_option == "environment":
        environment = tuple(
            (name, f"{address}:{launch.port}" if name == launch.bind_variable else value)
            for name, value in launch.environment
        )
        return replace(launch, environment=environment)
    argv = list(launch.argv)
    for position, word in enumerate(argv[:-1]):
        if word.text == "--host" and word.kind == "text" and argv[position + 1].text == LOOPBACK:
            argv[position + 1] = Argument(text=address)
    return replace(launch, argv=tuple(argv))


def in_container(launch: Launch) -> Launch:
    """The launch as it stands inside a container: on all of its addresses, and without the variable that picks
    GPUs by index (the container is given its devices, which it counts from 0)."""
    inside = bound_to(launch, "0.0.0.0")  # noqa: S104 - the container's own network
    environment = tuple(pair for pair in inside.environment if pair[0] != launch.device_variable)
    return replace(inside, environment=environment, device_variable=None)
