"""rocm-smi (JSON and text) and amdgpu_top (JSON): AMD GPUs of another machine."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from planner.catalog.records.device import DeviceTable
from planner.errors import ProbeError
from planner.hardware.facts import Gpu, Hardware, Link
from planner.hardware.findings import Findings
from planner.hardware.pci import AMD, make_link
from planner.hardware.pci_names import builtin_name
from planner.hardware.published import with_published
from planner.hardware.tree import parse_integer


def add(hardware: Hardware, text: str, name: str, devices: DeviceTable | None, findings: Findings) -> Hardware:
    """The machine with the cards of the text as further GPUs. Raises ProbeError when none can be read."""
    gpus = parse(text, hardware, name)
    for i, gpu in enumerate(gpus, start=len(hardware.gpus)):
        findings.cover(f"gpus.{i}", gpu, "read", name)
    every = with_published(hardware.gpus + gpus, devices, findings)
    return msgspec.structs.replace(hardware, gpus=every)


def parse(text: str, hardware: Hardware, name: str = "rocm-smi") -> tuple[Gpu, ...]:
    """The cards of any of the three forms. Raises ProbeError naming the file when none can be read."""
    start = re.search(r"^\s*[\[{]", text, re.MULTILINE)  # rocm-smi prints warnings before its JSON
    document: Any = None
    if start:
        try:
            document, _ = json.JSONDecoder().raw_decode(text[start.end() - 1 :])
        except (ValueError, RecursionError):
            document = None
    if isinstance(document, list) or (isinstance(document, dict) and "devices" in document):
        gpus = _amdgpu_top(document, hardware)
    elif isinstance(document, dict) and document:
        gpus = tuple(
            _rocm_card(card) for key, card in document.items() if key.startswith("card") and isinstance(card, dict)
        )
    else:
        gpus = tuple(_rocm_card(card) for card in _rocm_text(text))
    if not gpus:
        raise ProbeError(f"{name} names no AMD GPU", hint="paste the output of: rocm-smi -a --json")
    return gpus


def _rocm_text(text: str) -> list[dict[str, str]]:
    """`GPU[0] : VRAM Total Memory (B): 205822885888` by GPU number."""
    cards: dict[int, dict[str, str]] = {}
    for match in re.finditer(r"^GPU\[(\d{1,3})\]\s*: ([^:\n]+): (.*)$", text, re.MULTILINE):
        cards.setdefault(int(match[1]), {}).setdefault(match[2].strip(), match[3].strip())
    return [cards[number] for number in sorted(cards)]


def _rocm_card(card: dict[str, Any]) -> Gpu:
    facts = {key.casefold(): str(value) for key, value in card.items()}
    total = parse_integer(facts.get("vram total memory (b)"))
    used = parse_integer(facts.get("vram total used memory (b)"))
    device, revision = parse_integer(facts.get("device id")), parse_integer(facts.get("device rev"))
    series = facts.get("card series") or facts.get("card model") or ""
    watts = re.match(r"[\d.]+", facts.get("max graphics package power (w)", ""))
    return Gpu(
        vendor="amd",
        name=builtin_name(AMD, device or parse_integer(facts.get("gpu id")), revision) or series or "AMD GPU",
        backend="rocm",
        uuid=_uuid(facts.get("unique id")),
        architecture=_known(facts.get("gfx version")),
        memory_bytes=total,
        free_bytes=total - used if total is not None and used is not None and used <= total else None,
        power_watts=float(watts[0]) if watts else None,
        bus_id=(_known(facts.get("pci bus")) or "").lower() or None,
    )


def _known(text: str | None) -> str | None:
    return None if text is None or text.strip() in {"", "N/A"} else text.strip()


def _uuid(text: str | None) -> str | None:
    known = _known(text)
    return f"GPU-{known.removeprefix('0x')}" if known else None


def _amdgpu_top(document: Any, hardware: Hardware) -> tuple[Gpu, ...]:
    """amdgpu_top's dump: a list of devices (in some versions below `devices`)."""
    cards = document if isinstance(document, list) else document.get("devices", [])
    cards = cards if isinstance(cards, list) else []
    return tuple(_top_card(card, hardware) for card in cards if isinstance(card, dict) and "DeviceName" in card)


def _top_card(card: dict[str, Any], hardware: Hardware) -> Gpu:
    vram, used, gtt = (_whole(card.get(key)) for key in ("VRAM Size", "VRAM Usage Size", "GTT Size"))
    unified = card.get("GPU Type") == "APU"
    system = hardware.memory.total_bytes
    total = system + vram if system and vram else None
    usable = vram + gtt if vram and gtt else None
    return Gpu(
        vendor="amd",
        name=str(card["DeviceName"]),
        backend="rocm",
        architecture=_known(str(card.get("gfx_target_version") or "")),
        memory_bytes=total if unified else vram,
        working_set_bytes=min(usable, total or usable) if unified and usable else None,
        carveout_bytes=vram if unified else None,
        free_bytes=vram - used if vram and used is not None and not unified and used <= vram else None,
        bandwidth_bytes_per_s=_scaled(card.get("Peak Memory Bandwidth"), "GB/s", 1e9),
        fp32_flops_per_s=_scaled(card.get("Peak FP32"), "GFLOPS", 1e9),
        cores=_whole(card.get("Total Compute Unit")),
        link=_link(card.get("PCIe Link")) if not unified else Link(kind="on-die"),
        bus_id=str(card.get("PCI") or "").lower() or None,
        unified=unified,
    )


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 62 else None


def _scaled(value: Any, unit: str, factor: float) -> float | None:
    """`{"value": 322, "unit": "GB/s"}`."""
    if not isinstance(value, dict) or value.get("unit") != unit:
        return None
    number = _whole(value.get("value"))
    return number * factor if number else None


def _link(section: Any) -> Link | None:
    """The lesser of what card and system can do."""
    ends = [section.get(key) for key in ("max_gpu_link", "max_system_link")] if isinstance(section, dict) else []
    pairs = [(_whole(end.get("gen")), _whole(end.get("width"))) for end in ends if isinstance(end, dict)]
    generations, widths = [g for g, _ in pairs if g], [w for _, w in pairs if w]
    return make_link(min(generations), min(widths)) if generations and widths else None
