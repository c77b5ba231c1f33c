"""What a machine is: frozen records, `None` for not known, never 0 or a guess.

Where each value came from stands beside it in `Hardware.sources`, keyed by its path
(`numa_nodes.0.bandwidth_bytes_per_s`).
"""

from typing import Literal, dataclass_transform

import msgspec

FORMAT_VERSION = "1.0"

SourceKind = Literal["measured", "read", "catalog", "derived", "calibrated", "assumed", "given"]
FactState = Literal["known", "unknown", "denied", "suspect"]
NodeKind = Literal["dram", "hbm", "pmem", "cxl", "gpu", "unknown"]
GpuVendor = Literal["nvidia", "amd", "intel", "apple", "other"]
Backend = Literal["cuda", "rocm", "vulkan", "metal", "sycl", "cpu"]


# Annotations of records that are decoded stay values: as text, msgspec would compile each anew at every start.
@dataclass_transform(frozen_default=True, kw_only_default=True)
class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=False):
    """Base of every fact record."""


class FactSource(Record):
    """Where one value came from: kind, the file or call, and a remark for the person."""

    source: SourceKind
    state: FactState = "known"
    note: str | None = None


class CoreType(Record):
    """One kind of core of a hybrid chip: name (`P`, `E`, MIDR), physical cores, threads."""

    name: str
    cores: int
    threads: int


class Cache(Record):
    """One cache level of the whole machine: `size_bytes` of one instance, how many instances."""

    level: int
    size_bytes: int
    instances: int


class Cpu(Record):
    """The processors. `cores` are physical, `threads` online logical CPUs, `usable_cpus` what affinity
    and cpuset leave (`allowed_cpus` names them), `quota_cpus` the CPU-time limit of the container in CPUs.
    `governors` and `energy_preferences`: each that some CPU is set to; `frequency_driver`: who reads them."""

    model: str | None = None
    vendor: str | None = None
    architecture: str | None = None
    sockets: int | None = None
    cores: int | None = None
    threads: int | None = None
    usable_cpus: int | None = None
    allowed_cpus: tuple[int, ...] = ()
    offline_cpus: tuple[int, ...] = ()
    quota_cpus: float | None = None
    isa: tuple[str, ...] = ()
    core_types: tuple[CoreType, ...] = ()
    caches: tuple[Cache, ...] = ()
    governors: tuple[str, ...] = ()
    energy_preferences: tuple[str, ...] = ()
    frequency_driver: str | None = None

    @property
    def threads_per_core(self) -> float:
        """Online logical CPUs per physical core, in the mean over kinds of cores; 1 when either is unknown."""
        return self.threads / self.cores if self.threads and self.cores else 1.0


class NumaNode(Record):
    """A memory region and its online CPUs. `distances` by node id (10 = local).
    `bandwidth_bytes_per_s`: read bandwidth of the node's own cores over its own memory; `package`: the socket,
    counted from 0 in CPU order; `allowed`: the cpuset lets this process allocate here;
    `side_cache_bytes`: DRAM that only caches this (slower) memory."""

    id: int
    cpus: tuple[int, ...] = ()
    memory_bytes: int | None = None
    distances: dict[int, int] = {}
    bandwidth_bytes_per_s: float | None = None
    memory_only: bool = False
    kind: NodeKind = "dram"
    package: int | None = None
    allowed: bool = True
    side_cache_bytes: int | None = None
    remote_bandwidth_bytes_per_s: dict[int, float] = {}


class Memory(Record):
    """System memory. `limit_bytes`: the container's limit; `bandwidth_single_bytes_per_s`: one thread's read rate;
    `theoretical_bytes_per_s`: channels x width x MT/s; `bandwidth_upper_bytes_per_s`: the sum of every core's best
    chunk, which the measured total cannot exceed; `lock_limit_bytes`: what a process of this session may lock, all
    memory where it is unlimited."""

    total_bytes: int | None = None
    available_bytes: int | None = None
    limit_bytes: int | None = None
    hugepages_bytes: int | None = None
    swap_total_bytes: int | None = None
    swap_used_bytes: int | None = None
    lock_limit_bytes: int | None = None
    type: str | None = None
    channels: int | None = None
    mt_per_s: int | None = None
    theoretical_bytes_per_s: float | None = None
    bandwidth_single_bytes_per_s: float | None = None
    bandwidth_upper_bytes_per_s: float | None = None


class Link(Record):
    """How a GPU hangs on the host: PCIe generation and width (the capability; `current_*` is the state now,
    which drops when idle); `bytes_per_s` before protocol overhead, one direction."""

    kind: Literal["pcie", "nvlink-c2c", "on-die"] = "pcie"
    generation: int | None = None
    width: int | None = None
    bytes_per_s: float | None = None
    current_generation: int | None = None
    current_width: int | None = None


class Gpu(Record):
    """One accelerator, or one MIG slice. `memory_bytes` is the capacity, `reserved_bytes` what driver or
    system keep of it on an idle card, `free_bytes` what is free now. On unified memory (`unified`) the
    capacity is the machine's RAM and `working_set_bytes` the most that the GPU may use of it.
    `device` is the id in the device catalog; FLOP rates are dense FP16 tensor and FP32 shader peaks.
    `carveout_bytes`: of an APU, the part of its memory that firmware took away from the system's RAM;
    `slice_of`: of a MIG slice, the name of its board; `cuda_version`: the newest that the driver supports;
    `nvlink_peers`: places of the GPUs that NVLink reaches, `p2p_peers` of those that it can read directly, over any
    link; `ecc`: whether memory is checked (on GDDR it takes 6 % of the capacity, already missing from it)."""

    vendor: GpuVendor
    name: str
    backend: Backend
    uuid: str | None = None
    device: str | None = None
    architecture: str | None = None
    memory_bytes: int | None = None
    reserved_bytes: int | None = None
    free_bytes: int | None = None
    working_set_bytes: int | None = None
    bandwidth_bytes_per_s: float | None = None
    fp16_flops_per_s: float | None = None
    fp32_flops_per_s: float | None = None
    compute_capability: str | None = None
    cores: int | None = None
    power_watts: float | None = None
    numa_node: int | None = None
    link: Link | None = None
    nvlink_peers: tuple[int, ...] = ()
    p2p_peers: tuple[int, ...] = ()
    ecc: bool | None = None
    unified: bool = False
    display: bool | None = None
    bus_id: str | None = None
    carveout_bytes: int | None = None
    slice_of: str | None = None
    driver_version: str | None = None
    cuda_version: str | None = None


class Disk(Record):
    """The file system that holds the models."""

    free_bytes: int | None = None
    total_bytes: int | None = None
    filesystem: str | None = None
    rotational: bool | None = None


class Os(Record):
    """Operating system: `linux`, `macos`, `windows`; `release` is the kernel's, `wsl` 1 or 2. `listening_ports`: TCP
    ports that some program listens on; None where nobody could look."""

    name: str | None = None
    release: str | None = None
    wsl: int | None = None
    page_bytes: int | None = None
    numa_balancing: bool | None = None
    transparent_hugepages: str | None = None
    listening_ports: tuple[int, ...] | None = None


class Calibration(Record, kw_only=True):
    """One stored measurement of this machine: measured over predicted decode rate, per engine and class."""

    engine: str
    placement_class: str
    build: str | None = None
    model: str | None = None
    quant: str | None = None
    measured_over_predicted: float
    rows: int = 1


class Hardware(Record):
    """A machine, probed, replayed or imagined; the rest of the planner cannot tell which."""

    format_version: str = FORMAT_VERSION
    cpu: Cpu = Cpu()
    numa_nodes: tuple[NumaNode, ...] = ()
    firmware_nodes: tuple[NumaNode, ...] = ()
    memory: Memory = Memory()
    gpus: tuple[Gpu, ...] = ()
    os: Os = Os()
    product: str | None = None
    virtualization: str | None = None
    container: str | None = None
    disk: Disk | None = None
    calibration: tuple[Calibration, ...] = ()
    sources: dict[str, FactSource] = {}
    notes: tuple[str, ...] = ()

    @property
    def ram_bytes(self) -> int | None:
        """Memory a plan may count on: the container's limit if it has one, else total less reserved huge pages,
        less the GPU memory that the kernel counts as RAM (POWER9 and Grace list it as NUMA nodes), and no more
        than the nodes that the cpuset allows."""
        total = self.memory.total_bytes
        if total is not None:
            total -= self.memory.hugepages_bytes or 0
            total -= sum(node.memory_bytes or 0 for node in self.numa_nodes if node.kind == "gpu")
            if not all(node.allowed for node in self.numa_nodes):
                here = (node for node in self.numa_nodes if node.allowed and node.kind != "gpu")
                total = min(total, sum(node.memory_bytes or 0 for node in here))
        limit = self.memory.limit_bytes
        known = [value for value in (total, limit) if value is not None]
        return min(known) if known else None

    @property
    def plan_nodes(self) -> tuple[NumaNode, ...]:
        """The nodes that a plan may use: those whose memory the cpuset allows, with the CPUs that it leaves. A node
        whose CPUs are all taken away is memory only. All nodes where nothing would be left."""
        allowed = set(self.cpu.allowed_cpus)
        if all(node.allowed and (not allowed or allowed.issuperset(node.cpus)) for node in self.numa_nodes):
            return self.numa_nodes
        return tuple(_within(node, allowed) for node in self.numa_nodes if node.allowed) or self.numa_nodes

    @property
    def compute_nodes(self) -> tuple[NumaNode, ...]:
        """The nodes of `plan_nodes` that have CPUs."""
        return tuple(node for node in self.plan_nodes if not node.memory_only)

    @property
    def ram_bandwidth_bytes_per_s(self) -> float | None:
        """Sum of the read bandwidths of the nodes in use, None when one of a CPU-bearing node is unknown."""
        rates = [node.bandwidth_bytes_per_s for node in self.compute_nodes]
        known = [rate for rate in rates if rate is not None]
        return sum(known) if known and len(known) == len(rates) else None

    @property
    def unified(self) -> bool:
        """True when the GPU computes in system memory (Apple Silicon, GB10, APUs)."""
        return any(gpu.unified for gpu in self.gpus)


def _within(node: NumaNode, allowed: set[int]) -> NumaNode:
    left = tuple(cpu for cpu in node.cpus if not allowed or cpu in allowed)
    return msgspec.structs.replace(node, cpus=left, memory_only=not left)
