"""Marketing names by PCI id, for cards that no driver library names.

The tables hold what language models run on; for the rest the machine's own lists are asked (libdrm's amdgpu.ids,
pci.ids). AMD: libdrm `data/amdgpu.ids` (MIT), which tells products apart by revision. NVIDIA: pci.ids of
2023-04-11. Intel: Mesa `iris_pci_ids.h` (MIT).
"""

from __future__ import annotations

import re

from planner.hardware.pci import AMD, INTEL, NVIDIA
from planner.hardware.tree import Tree

_AMD = {
    (0x66A1, 0x02): "Radeon Instinct MI50", (0x66A1, 0x06): "Radeon Pro VII", (0x66AF, 0xC1): "Radeon VII",
    (0x6860, 0x00): "Radeon Instinct MI25", (0x687F, 0xC1): "Radeon RX Vega 64", (0x67DF, 0xE7): "Radeon RX 580",
    (0x67DF, 0xEF): "Radeon RX 570", (0x731F, 0xC1): "Radeon RX 5700 XT", (0x738C, 0x01): "Radeon Instinct MI100",
    (0x73BF, 0xC0): "Radeon RX 6900 XT", (0x73BF, 0xC1): "Radeon RX 6800 XT", (0x73BF, 0xC3): "Radeon RX 6800",
    (0x73DF, 0xC0): "Radeon RX 6750 XT", (0x73DF, 0xC1): "Radeon RX 6700 XT", (0x73DF, 0xDF): "Radeon RX 6700",
    (0x73EF, 0xC1): "Radeon RX 6650 XT", (0x73FF, 0xC1): "Radeon RX 6600 XT", (0x73FF, 0xC7): "Radeon RX 6600",
    (0x7408, 0x00): "Radeon Instinct MI250X", (0x740C, 0x01): "Radeon Instinct MI250X",
    (0x740F, 0x02): "Radeon Instinct MI210", (0x743F, 0xC1): "Radeon RX 6500 XT", (0x743F, 0xC7): "Radeon RX 6400",
    (0x7448, 0x00): "Radeon PRO W7900", (0x7449, 0x00): "Radeon PRO W7800 48 GB", (0x744A, 0x00): "Radeon PRO W7900",
    (0x744C, 0xC8): "Radeon RX 7900 XTX", (0x744C, 0xCC): "Radeon RX 7900 XT", (0x744C, 0xCE): "Radeon RX 7900 GRE",
    (0x745E, 0xCC): "Radeon PRO W7800", (0x7470, 0x00): "Radeon PRO W7700", (0x747E, 0xC8): "Radeon RX 7800 XT",
    (0x747E, 0xFF): "Radeon RX 7700 XT", (0x7480, 0x00): "Radeon PRO W7600", (0x7480, 0xC0): "Radeon RX 7600 XT",
    (0x7480, 0xC2): "Radeon RX 7650 GRE", (0x7480, 0xCF): "Radeon RX 7600", (0x7489, 0x00): "Radeon PRO W7500",
    (0x7550, 0xC0): "Radeon RX 9070 XT", (0x7550, 0xC3): "Radeon RX 9070",
    (0x74A0, 0x00): "Radeon Instinct MI300A", (0x74A1, 0x00): "Radeon Instinct MI300X",
    (0x74A5, 0x00): "Radeon Instinct MI325X", (0x74B5, 0x00): "Radeon Instinct MI300X",
}  # fmt: skip
# Integrated graphics: name by id; memory is system memory.
_AMD_INTEGRATED = {
    0x1586: "Radeon 8060S", 0x150E: "Radeon 890M", 0x1114: "Radeon 860M", 0x15BF: "Radeon 780M", 0x1900: "Radeon 780M",
    0x15C8: "Radeon 740M", 0x1901: "Radeon 740M", 0x1681: "Radeon 680M", 0x164E: "Radeon 610M", 0x13C0: "Radeon 610M",
    0x1506: "Radeon 610M", 0x1638: "Radeon Vega (Cezanne)", 0x1636: "Radeon Vega (Renoir)",
    0x164C: "Radeon Vega (Lucienne)", 0x15E7: "Radeon Vega (Barcelo)", 0x163F: "Custom GPU 0405 (Steam Deck)",
    0x1435: "Custom GPU 0932 (Steam Deck)", 0x15D8: "Radeon Vega (Picasso)", 0x15DD: "Radeon Vega (Raven Ridge)",
}  # fmt: skip
_AMD_INTEGRATED_REVISION = {
    (0x1586, 0xC2): "Radeon 8050S", (0x1586, 0xC4): "Radeon 8050S", (0x1586, 0xD2): "Radeon 8050S",
    (0x1586, 0xD4): "Radeon 8050S", (0x1586, 0xD5): "Radeon 8040S",
}  # fmt: skip
_NVIDIA = {
    0x15F8: "Tesla P100 PCIe 16 GB", 0x15F9: "Tesla P100 SXM2", 0x1B38: "Tesla P40", 0x1BB3: "Tesla P4",
    0x1DB1: "Tesla V100 SXM2 16 GB", 0x1DB4: "Tesla V100 PCIe 16 GB", 0x1DB5: "Tesla V100 SXM2 32 GB",
    0x1DB6: "Tesla V100 PCIe 32 GB", 0x1EB8: "Tesla T4", 0x1E04: "GeForce RTX 2080 Ti", 0x1E07: "GeForce RTX 2080 Ti",
    0x20B0: "A100 SXM4 40 GB", 0x20B1: "A100 PCIe 40 GB", 0x20F1: "A100 PCIe 40 GB", 0x20B2: "A100 SXM4 80 GB",
    0x20B5: "A100 PCIe 80 GB", 0x20B7: "A30 PCIe", 0x2203: "GeForce RTX 3090 Ti", 0x2204: "GeForce RTX 3090",
    0x2206: "GeForce RTX 3080", 0x2208: "GeForce RTX 3080 Ti", 0x2216: "GeForce RTX 3080", 0x2230: "RTX A6000",
    0x2231: "RTX A5000", 0x2235: "A40 PCIe", 0x2236: "A10 PCIe", 0x2330: "H100 SXM5 80 GB", 0x2331: "H100 PCIe 80 GB",
    0x2482: "GeForce RTX 3070 Ti", 0x2484: "GeForce RTX 3070", 0x2488: "GeForce RTX 3070", 0x2684: "GeForce RTX 4090",
    0x2704: "GeForce RTX 4080", 0x2782: "GeForce RTX 4070 Ti", 0x26B1: "RTX 6000 Ada Generation", 0x26B5: "L40",
    0x27B8: "L4",
}  # fmt: skip
_INTEL = {
    0x56A0: "Arc A770", 0x56A1: "Arc A750", 0x56A2: "Arc A580", 0x56A5: "Arc A380", 0x56A6: "Arc A310",
    0x5690: "Arc A770M", 0x5691: "Arc A730M", 0x5692: "Arc A550M", 0x5693: "Arc A370M", 0x5694: "Arc A350M",
    0x56C0: "Data Center GPU Flex 170", 0x56C1: "Data Center GPU Flex 140", 0x0BD5: "Data Center GPU Max 1550",
    0x0BD6: "Data Center GPU Max 1550", 0x0BD9: "Data Center GPU Max 1100", 0x0BDA: "Data Center GPU Max 1100",
    0xE20B: "Arc B580", 0xE20C: "Arc B570", 0xE211: "Arc Pro B60", 0xE212: "Arc Pro B50",
}  # fmt: skip
_VENDOR_NAMES = {NVIDIA: "NVIDIA", AMD: "AMD", INTEL: "Intel"}


def is_integrated_amd(device: int | None) -> bool:
    """True for the graphics of a known APU."""
    return device in _AMD_INTEGRATED


def is_discrete_intel(device: int | None) -> bool:
    """True for a known Intel card with memory of its own; other Intel graphics compute in system memory."""
    return device in _INTEL


def display_name(tree: Tree, vendor: int | None, device: int | None, revision: int | None) -> str:
    """Marketing name without the vendor's, as far as it is known; else `AMD 1002:744c`."""
    name = builtin_name(vendor, device, revision)
    if name is None and vendor == AMD and device is not None:
        name = _libdrm_name(tree, device, revision)
    if name is None and vendor is not None and device is not None:
        name = _listed_name(tree, vendor, device)
    ids = "unknown" if vendor is None or device is None else f"{vendor:04x}:{device:04x}"
    return name or f"{_VENDOR_NAMES.get(vendor or 0, 'GPU')} {ids}"


def builtin_name(vendor: int | None, device: int | None, revision: int | None) -> str | None:
    """The product in the tables above, None when they lack it."""
    if device is None:
        return None
    if vendor == AMD:
        exact = (device, revision or 0)
        return _AMD.get(exact) or _AMD_INTEGRATED_REVISION.get(exact) or _AMD_INTEGRATED.get(device)
    return {NVIDIA: _NVIDIA, INTEL: _INTEL}.get(vendor or 0, {}).get(device)


def _libdrm_name(tree: Tree, device: int, revision: int | None) -> str | None:
    text = tree.text("usr/share/libdrm/amdgpu.ids")
    match = re.search(rf"^{device:04X},\s*{revision or 0:02X},\s*(?:AMD )?(.+)$", text or "", re.MULTILINE)
    return match[1].strip() if match else None


def _listed_name(tree: Tree, vendor: int, device: int) -> str | None:
    """The bracketed product of pci.ids: `AD102 [GeForce RTX 4090]`."""
    for path in ("usr/share/hwdata/pci.ids", "usr/share/misc/pci.ids"):
        text = tree.text(path)
        start = (text or "").find(f"\n{vendor:04x}  ")
        if text is None or start < 0:
            continue
        end = re.compile(r"\n[0-9a-f]{4}  ").search(text, start + 1)
        match = re.search(rf"\n\t{device:04x}  (.+)", text[start : end.start() if end else len(text)])
        if match:
            product = re.search(r"\[(.+)\]", match[1])
            return (product[1] if product else match[1]).strip()
    return None
