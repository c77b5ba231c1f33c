"""Imagined machines that the planning tests share."""

from __future__ import annotations

from planner.catalog.catalog import Catalog
from planner.hardware.facts import Hardware
from planner.hardware.what_if import what_if
from planner.planning.constraints import constraints_from
from planner.planning.plan import Answer
from planner.planning.recommend import recommend


def rtx4090(catalog: Catalog, ram: str | None = "64GiB") -> Hardware:
    if ram is None:
        return what_if(catalog, gpus=["RTX 4090"])
    return what_if(catalog, gpus=["RTX 4090"], ram=ram, ram_bandwidth="80GB/s", cores=16)


def two_nodes(catalog: Catalog) -> Hardware:
    return what_if(catalog, cores=64, ram="512GiB", ram_bandwidth="300GB/s", numa_nodes=2)


def mac(catalog: Catalog) -> Hardware:
    return what_if(catalog, apple="M3 Max 40c 128GiB")


def plan(catalog: Catalog, hardware: Hardware, workload: str = "chat", **given: object) -> Answer:
    return recommend(hardware, catalog, catalog.workload(workload), constraints_from(catalog, given))
