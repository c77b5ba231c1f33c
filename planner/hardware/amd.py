"""AMD GPUs from sysfs (amdgpu) and the KFD topology; no library, no waking of idle cards."""

from __future__ import annotations

import re

import msgspec

from planner.hardware.facts import Gpu, Memory, NumaNode
from planner.hardware.findings import Findings
from planner.hardware.pci import AMD, PciDisplay, read_display, read_displays, read_link
from planner.hardware.pci_names import display_name, is_integrated_amd
from planner.hardware.tree import MOST_MEMORY_BYTES, Tree, parse_integer
from planner.units import format_gib

KFD_DIR = "sys/class/kfd/kfd/topology/nodes"
FIRST_PARTITIONED_GFX = 90402  # gfx942 (MI300) is the first that can be divided into several KFD nodes

# Transfers per memory clock as amdgpu counts it, by the memory: HBM2/2e 2, HBM3 4, GDDR6 16. Checked on published
# figures: Vega 10 2048 bit x 945 MHz = 484 GB/s, MI300X 8192 bit x 1300 MHz = 5.3 TB/s,
# RX 9060 XT 128 bit x 1258 MHz = 322 GB/s.
_HBM2_GFX = {90000, 90004, 90006, 90008, 90010}
_HBM3_GFX = {90402, 90500}


class KfdNode(msgspec.Struct, frozen=True, kw_only=True):
    """One GPU node of the KFD topology."""

    device: int
    location: int
    domain: int = 0
    gfx: int = 0
    simds: int = 0
    cpu_cores: int = 0
    memory_bytes: int | None = None
    width_bits: int | None = None
    clock_mhz: int | None = None
    simds_per_unit: int = 4

    @property
    def address(self) -> str:
        """PCI address without the function: partitions of one card differ only there."""
        return f"{self.domain:04x}:{self.location >> 8 & 0xFF:02x}:{self.location >> 3 & 0x1F:02x}"

    @property
    def gfx_name(self) -> str | None:
        """90402 is `gfx942`: major, minor and stepping (the stepping in hexadecimal)."""
        if not self.gfx:
            return None
        return f"gfx{self.gfx // 10000}{self.gfx // 100 % 100}{self.gfx % 100:x}"

    @property
    def bandwidth_bytes_per_s(self) -> float | None:
        """Peak from width and clock where the transfers per clock are known for sure."""
        factor = 2 if self.gfx in _HBM2_GFX else 4 if self.gfx in _HBM3_GFX else None
        if factor is None and self.gfx >= 100100 and (self.width_bits or 0) <= 512:  # RDNA cards: GDDR6
            factor = 16
        if not factor or not self.width_bits or not self.clock_mhz:
            return None
        return self.width_bits / 8 * self.clock_mhz * 1e6 * factor


def read_amd(
    tree: Tree, memory: Memory, nodes: tuple[NumaNode, ...], findings: Findings, first_index: int
) -> tuple[Gpu, ...]:
    """AMD GPUs in bus order: cards with amdgpu files, then cards that only KFD or only the PCI bus shows."""
    kfd = read_kfd(tree)
    gpus: list[Gpu] = []
    used: set[str] = set()
    for card in _cards(tree):
        parts = [node for node in kfd if card.address.startswith(node.address)]
        used.update(node.address for node in parts)
        path = f"gpus.{first_index + len(gpus)}"
        gpu = _gpu_of_card(tree, card, parts, memory, nodes, findings, path)
        findings.cover(path, gpu, "read", f"/{card.folder}")
        gpus.append(gpu)
    for group in _boards([node for node in kfd if node.address not in used]):
        path = f"gpus.{first_index + len(gpus)}"
        gpu = _gpu_of_kfd(tree, group, findings, path)
        findings.cover(path, gpu, "read", f"/{KFD_DIR}")
        gpus.append(gpu)
    return tuple(gpus)


def read_kfd(tree: Tree) -> tuple[KfdNode, ...]:
    """The GPU nodes (simd_count above 0) of the KFD topology."""
    found = []
    for name in sorted((n for n in tree.names(KFD_DIR) if n.isdecimal()), key=int):
        facts = _properties(tree.text(f"{KFD_DIR}/{name}/properties"))
        if not facts.get("simd_count"):
            continue
        banks = [
            _properties(tree.text(f"{KFD_DIR}/{name}/mem_banks/{bank}/properties"))
            for bank in tree.names(f"{KFD_DIR}/{name}/mem_banks")
        ]
        local = [bank for bank in banks if bank.get("heap_type") in {1, 2}]  # 1 public, 2 private frame buffer
        size = sum(bank.get("size_in_bytes", 0) for bank in local) or facts.get("local_mem_size", 0)
        found.append(
            KfdNode(
                device=facts.get("device_id", 0),
                location=facts.get("location_id", 0),
                domain=facts.get("domain", 0),
                gfx=facts.get("gfx_target_version", 0),
                simds=facts["simd_count"],
                cpu_cores=facts.get("cpu_cores_count", 0),
                memory_bytes=size or None,
                width_bits=local[0].get("width") if local else None,
                clock_mhz=local[0].get("mem_clk_max") if local else None,
                simds_per_unit=facts.get("simd_per_cu") or 4,
            )
        )
    return tuple(found)


def _properties(text: str | None) -> dict[str, int]:
    pairs = (line.split() for line in (text or "").splitlines())
    values = ((pair[0], parse_integer(pair[1])) for pair in pairs if len(pair) == 2)
    return {key: value for key, value in values if value is not None and 0 <= value <= MOST_MEMORY_BYTES}


def _cards(tree: Tree) -> list[PciDisplay]:
    """Cards with a DRM folder, and AMD display controllers on the bus that have none."""
    cards = [card for name in tree.names("sys/class/drm") if (card := _drm_card(tree, name))]
    known = {card.address for card in cards}
    cards += [display for display in read_displays(tree) if display.vendor == AMD and display.address not in known]
    return sorted(cards, key=lambda card: card.address)


def _drm_card(tree: Tree, name: str) -> PciDisplay | None:
    """`card0` but not its connectors (`card0-HDMI-A-1`)."""
    folder = f"sys/class/drm/{name}/device"
    if not re.fullmatch(r"card\d{1,3}", name) or tree.integer(f"{folder}/vendor") != AMD:
        return None
    slot = re.search(r"^PCI_SLOT_NAME=(\S+)$", tree.text(f"{folder}/uevent") or "", re.MULTILINE)
    resolved = (tree.resolve(folder) or "").rpartition("/")[2]
    address = slot[1] if slot else resolved if ":" in resolved else name
    return read_display(tree, folder, address, tree.integer(f"{folder}/class") or 0)


def _boards(kfd: list[KfdNode]) -> list[list[KfdNode]]:
    """KFD nodes by card: the partitions of an MI300 share one; older nodes are a card each."""
    groups: dict[object, list[KfdNode]] = {}
    for i, node in enumerate(kfd):
        key: object = node.address if node.gfx >= FIRST_PARTITIONED_GFX and node.gfx < 100000 else i
        groups.setdefault(key, []).append(node)
    return list(groups.values())


def _gpu_of_card(
    tree: Tree,
    card: PciDisplay,
    parts: list[KfdNode],
    memory: Memory,
    nodes: tuple[NumaNode, ...],
    findings: Findings,
    path: str,
) -> Gpu:
    vram, used = (tree.size_bytes(f"{card.folder}/mem_info_vram_{name}") for name in ("total", "used"))
    node = parts[0] if parts else None
    gpu = Gpu(
        vendor="amd",
        name=_product(tree, card),
        backend="rocm" if node else "vulkan",
        uuid=_unique_id(tree, card.folder),
        architecture=node.gfx_name if node else None,
        memory_bytes=vram,
        free_bytes=vram - used if vram is not None and used is not None and vram >= used else None,
        bandwidth_bytes_per_s=node.bandwidth_bytes_per_s if node else None,
        cores=sum(part.simds for part in parts) // node.simds_per_unit if node else None,
        numa_node=card.numa_node if card.numa_node is not None else nodes[0].id if len(nodes) == 1 else None,
        link=read_link(tree, card.folder),
        bus_id=card.address if ":" in card.address else None,
    )
    if gpu.bandwidth_bytes_per_s:
        findings.fact(f"{path}.bandwidth_bytes_per_s", "derived", "KFD: width / 8 x memory clock x transfers per clock")
    if vram is None:
        findings.unknown(f"{path}.memory_bytes", f"no mem_info_vram_total: driver {card.driver or 'unknown'}")
        findings.note(f"{gpu.name}: its driver does not tell the memory, so no plan can use it")
    if len(parts) > 1:
        findings.note(f"{gpu.name}: divided into {len(parts)} compute partitions, planned as one card")
    if is_integrated_amd(card.device) or any(part.cpu_cores for part in parts):
        return _integrated(tree, gpu, card.folder, memory, findings, path)
    return gpu


def _product(tree: Tree, card: PciDisplay) -> str:
    name = tree.text(f"{card.folder}/product_name") or ""
    return (
        name if name and name.lower() not in {"unknown", "n/a"} else display_name(tree, AMD, card.device, card.revision)
    )


def _unique_id(tree: Tree, folder: str) -> str | None:
    """ROCm names a card `GPU-<unique_id>`; absent on consumer cards before RDNA."""
    text = tree.text(f"{folder}/unique_id")
    return f"GPU-{text}" if text and text.strip("0") else None


def _integrated(tree: Tree, gpu: Gpu, folder: str, memory: Memory, findings: Findings, path: str) -> Gpu:
    """An APU: VRAM is a carve-out already missing from MemTotal; GTT is the part of system RAM that the GPU may map.
    Usable is their sum, but never more than the RAM that exists."""
    if (gpu.architecture or "").startswith("gfx94"):  # MI300A: VRAM and RAM are the same HBM, counted once
        total = memory.total_bytes
        findings.fact(f"{path}.memory_bytes", "derived", "one HBM for CPU and GPU: MemTotal")
        findings.fact(f"{path}.working_set_bytes", "derived", "one HBM for CPU and GPU: MemTotal")
        return msgspec.structs.replace(
            gpu, memory_bytes=total, working_set_bytes=total, free_bytes=memory.available_bytes, unified=True
        )
    vram = gpu.memory_bytes or 0
    gtt = tree.size_bytes(f"{folder}/mem_info_gtt_total")
    gtt_used = tree.size_bytes(f"{folder}/mem_info_gtt_used") or 0
    total = memory.total_bytes + vram if memory.total_bytes else None
    working_set = min(vram + gtt, total) if gtt is not None and total is not None else None
    left = max(0, gtt - gtt_used) if gtt is not None else None
    if left is not None and memory.available_bytes is not None:
        left = min(left, memory.available_bytes)
    for name in ("memory_bytes", "working_set_bytes", "free_bytes"):
        findings.fact(f"{path}.{name}", "derived", "carve-out + GTT, at most MemTotal + carve-out")
    findings.note(
        f"{gpu.name}: computes in system memory, {format_gib(working_set)} of it "
        f"({format_gib(vram)} set aside by firmware; ttm.pages_limit changes the rest)"
    )
    return msgspec.structs.replace(
        gpu,
        memory_bytes=total,
        working_set_bytes=working_set,
        free_bytes=None if left is None or gpu.free_bytes is None else gpu.free_bytes + left,
        carveout_bytes=vram or None,
        unified=True,
    )


def _gpu_of_kfd(tree: Tree, group: list[KfdNode], findings: Findings, path: str) -> Gpu:
    """A card that only KFD shows (a container without /sys/class/drm, or a capture)."""
    node = group[0]
    sizes = [part.memory_bytes for part in group if part.memory_bytes]
    if node.bandwidth_bytes_per_s:
        findings.fact(f"{path}.bandwidth_bytes_per_s", "derived", "KFD: width / 8 x memory clock x transfers per clock")
    if not sizes:
        findings.unknown(f"{path}.memory_bytes", "the KFD topology has no memory bank for it")
    return Gpu(
        vendor="amd",
        name=display_name(tree, AMD, node.device, _any_revision(node.device)),
        backend="rocm",
        architecture=node.gfx_name,
        memory_bytes=max(sizes, default=None),
        bandwidth_bytes_per_s=node.bandwidth_bytes_per_s,
        cores=sum(part.simds for part in group) // node.simds_per_unit,
        bus_id=f"{node.address}.{node.location & 7}",
        unified=node.cpu_cores > 0,
    )


def _any_revision(device: int) -> int:
    """KFD does not tell the revision; the Instinct cards that it mostly shows have one each."""
    return {0x66A1: 0x02, 0x740F: 0x02, 0x738C: 0x01, 0x740C: 0x01}.get(device, 0)
