"""Values in units and Quadlets that no verifier looks at: what podman's generator passes on and podman then refuses,
and a NUMA policy without nodes."""

from __future__ import annotations

import re
from collections.abc import Iterator

from planner.doctor.records import Finding

Settings = list[tuple[str, str, str]]

# Keys of [Container] that are yes or no, and what podman's parser reads as such (podman-systemd.unit(5)).
_SWITCHES = frozenset({"RunInit", "ReadOnly", "ReadOnlyTmpfs", "NoNewPrivileges", "SecurityLabelDisable", "HttpProxy"})
_YES_OR_NO = frozenset({"1", "yes", "true", "on", "0", "no", "false", "off"})
# podman runs as itself and gives the container its user (podman-systemd.unit(5)).
_OF_THE_CONTAINER = frozenset({"User", "Group", "DynamicUser"})
_NOTIFY = _YES_OR_NO | {"healthy"}
_ULIMIT = re.compile(r"host|[a-z]+=-?\d+(:-?\d+)?")
# Policies of systemd.exec(5) that place memory on the nodes of NUMAMask=.
PLACING_POLICIES = frozenset({"bind", "interleave", "preferred"})


def container_values(path: str, settings: Settings) -> Iterator[Finding]:
    """Switches that are neither yes nor no, what podman cannot notify of, limits that are none."""
    for section, key, value in settings:
        if section == "Service" and key in _OF_THE_CONTAINER:
            place, text = f"{path}: Service.{key}", f"{key} is podman's own here, not the container's"
            yield Finding(
                rule_id="quadlet-section", severity="error", place=place, text=text, fix="User= in [Container]"
            )
        if section != "Container":
            continue
        fix = None
        if key in _SWITCHES and value.casefold() not in _YES_OR_NO:
            fix = "write true or false"
        elif key == "Notify" and value.casefold() not in _NOTIFY:
            fix = "write true, false or healthy"
        elif key == "Ulimit" and not _ULIMIT.fullmatch(value):
            fix = "write NAME=SOFT:HARD in numbers, like memlock=-1:-1"
        if fix is not None:
            place, text = f"{path}: Container.{key}", f"{value!r} is no value of {key}"
            yield Finding(rule_id="quadlet-value", severity="error", place=place, text=text, fix=fix)


def policy_without_nodes(path: str, settings: Settings) -> Iterator[Finding]:
    """A NUMA policy that names no node binds nothing."""
    values = {key: value for section, key, value in settings if section == "Service"}
    policy = values.get("NUMAPolicy")
    if policy in PLACING_POLICIES and not values.get("NUMAMask"):
        yield Finding(
            rule_id="unit-numa-mask",
            severity="warning",
            place=f"{path}: Service.NUMAPolicy",
            text=f"{policy}, but to no node: NUMAMask is not set here",
            fix="write NUMAMask= with the nodes, or all",
        )
