"""What a colleague pasted, as facts: each file is recognised by its content and added to a machine."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import msgspec

from planner.catalog.records.device import DeviceTable
from planner.errors import ProbeError
from planner.hardware.facts import Hardware
from planner.hardware.findings import Findings
from planner.hardware.imports import apple_text, lscpu, lspci, modules, nvidia_smi, rocm
from planner.units import MIB

KINDS = "nvidia-smi (XML, -q, table), rocm-smi, amdgpu_top, dmidecode, system_profiler, sysctl, lscpu, lspci"
_LARGEST_BYTES = 16 * MIB

# (kind, what only this kind contains), in the order asked
_MARKS = (
    ("nvidia-smi", re.compile(r"<nvidia_smi_log>|NVSMI LOG|\| NVIDIA-SMI ")),
    (
        "rocm",
        re.compile(
            r"ROCm System Management Interface|\"VRAM Total Memory|\"gfx_target_version\"|\"VRAM Usage Size\"|\"VRAM\""
        ),
    ),
    ("dmidecode", re.compile(r"^# dmidecode|^Handle 0x[0-9A-F]{4}, DMI type", re.MULTILINE)),
    ("system_profiler", re.compile(r"\"SP\w+DataType\"")),
    ("sysctl", re.compile(r"^hw\.(memsize|ncpu)\s*[:=]", re.MULTILINE)),
    ("lscpu", re.compile(r"^Architecture:\s", re.MULTILINE)),
    ("lspci", lspci.LINE),
)
WHOLE_MACHINE = frozenset({"sysctl", "system_profiler", "lscpu"})  # these tell which machine it is


def kind_of(text: str, name: str) -> str:
    """The tool that printed the text. Raises ProbeError for anything else."""
    for kind, mark in _MARKS:
        if mark.search(text):
            return kind
    raise ProbeError(f"{name}: not recognised as the output of a tool", hint=f"known are {KINDS}")


def read_imports(paths: Iterable[str | Path]) -> tuple[tuple[str, str, str], ...]:
    """(kind, file name, text) of each file. Raises ProbeError naming the file that cannot be used."""
    found = []
    for path in map(Path, paths):
        try:
            if path.stat().st_size > _LARGEST_BYTES:
                raise ProbeError(f"{path} is too large for pasted text")
            content = path.read_bytes()
        except OSError as error:
            raise ProbeError(f"{path}: {error.strerror or 'it cannot be read'}") from error
        encoding = "utf-16" if content[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8"  # PowerShell redirects as UTF-16
        text = content.decode(encoding, "replace")
        found.append((kind_of(text, str(path)), path.name, text))
    return tuple(found)


def apply_imports(
    hardware: Hardware, imports: Iterable[tuple[str, str, str]], devices: DeviceTable | None, findings: Findings
) -> Hardware:
    """The machine with the pasted facts in place of its own; GPUs of several files are added up."""
    parsed = sorted(imports, key=lambda item: item[0] not in WHOLE_MACHINE)
    if any(kind in {"nvidia-smi", "rocm", "lspci"} for kind, _, _ in parsed):
        hardware = msgspec.structs.replace(hardware, gpus=())
        for path in [path for path in findings.sources if path.startswith("gpus.")]:
            del findings.sources[path]
    for kind, name, text in parsed:
        findings.note(f"{kind} output of {name} is part of this machine")
        if kind == "nvidia-smi":
            hardware = nvidia_smi.add(hardware, text, name, devices, findings)
        elif kind == "rocm":
            hardware = rocm.add(hardware, text, name, devices, findings)
        elif kind == "dmidecode":
            hardware = modules.add(hardware, text, name, findings)
        elif kind in {"system_profiler", "sysctl"}:
            hardware = apple_text.add(hardware, text, name, devices, findings)
        elif kind == "lscpu":
            hardware = lscpu.add(hardware, text, name, findings)
        elif kind == "lspci" and not hardware.gpus:
            hardware = lspci.add(hardware, text, name, devices, findings)
    return hardware
