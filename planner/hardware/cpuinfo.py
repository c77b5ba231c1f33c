"""/proc/cpuinfo as text: model, vendor, instruction sets. It differs by architecture in almost every line."""

from __future__ import annotations

import msgspec

# Flags that change how fast a language model runs (SIMD width, dot products, bf16, matrix units), by the kernel's name.
_FLAGS = """sse4_2 ssse3 avx avx2 fma f16c avx_vnni avx_vnni_int8 avx_ifma avx512f avx512bw avx512dq avx512vl
    avx512_vnni avx512_bf16 avx512_fp16 avx512vbmi amx_tile amx_int8 amx_bf16 amx_fp16 avx10
    neon asimd asimdhp asimddp fphp i8mm bf16 sve sve2 svei8mm svebf16 sme sme2
    altivec vsx vx vxe lsx lasx v zvfh"""
RELEVANT_FLAGS = frozenset(_FLAGS.split())

# Arm's and its licensees' implementer and part numbers, from the kernel's cputype.h and lscpu's list.
ARM_IMPLEMENTERS = {
    "0x41": "ARM", "0x42": "Broadcom", "0x43": "Cavium", "0x46": "Fujitsu", "0x48": "HiSilicon", "0x4e": "NVIDIA",
    "0x51": "Qualcomm", "0x61": "Apple", "0x6d": "Microsoft", "0xc0": "Ampere",
}  # fmt: skip
ARM_PARTS = {
    ("0x41", "0xc09"): "Cortex-A9", ("0x41", "0xd03"): "Cortex-A53", ("0x41", "0xd05"): "Cortex-A55",
    ("0x41", "0xd07"): "Cortex-A57", ("0x41", "0xd08"): "Cortex-A72", ("0x41", "0xd0b"): "Cortex-A76",
    ("0x41", "0xd0c"): "Neoverse-N1", ("0x41", "0xd40"): "Neoverse-V1", ("0x41", "0xd41"): "Cortex-A78",
    ("0x41", "0xd42"): "Cortex-A78AE", ("0x41", "0xd44"): "Cortex-X1", ("0x41", "0xd49"): "Neoverse-N2",
    ("0x41", "0xd4f"): "Neoverse-V2", ("0x41", "0xd80"): "Cortex-A520", ("0x41", "0xd81"): "Cortex-A720",
    ("0x41", "0xd82"): "Cortex-X4", ("0x41", "0xd83"): "Neoverse-V3AE", ("0x41", "0xd84"): "Neoverse-V3",
    ("0x41", "0xd85"): "Cortex-X925", ("0x41", "0xd87"): "Cortex-A725", ("0x41", "0xd8e"): "Neoverse-N3",
    ("0x48", "0xd01"): "Kunpeng-920", ("0x48", "0xd02"): "Kunpeng-920B", ("0xc0", "0xac3"): "Ampere-1",
    ("0xc0", "0xac4"): "Ampere-1a", ("0x43", "0x0af"): "ThunderX2", ("0x46", "0x001"): "A64FX",
}  # fmt: skip


class CpuInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What /proc/cpuinfo says: `processors` entries, the first one's model and flags, cores by (package, core id)."""

    model: str | None = None
    part_name: str | None = None
    vendor: str | None = None
    architecture: str | None = None
    isa: tuple[str, ...] = ()
    hypervisor: bool = False
    processors: tuple[int, ...] = ()
    core_keys: tuple[tuple[str, str], ...] = ()


def parse_cpuinfo(text: str) -> CpuInfo:
    """Facts of /proc/cpuinfo text. Lines that are not understood are left out; nothing is ever raised."""
    first, processors, core_keys = _blocks(text)
    listed = (
        first.get(name) for name in ("flags", "Features", "features", "isa", "cpu")
    )  # `POWER9, altivec supported`
    flags = next((text for text in listed if text), "").split()
    implementer, part = first.get("CPU implementer", ""), first.get("CPU part", "")
    model = first.get("model name") or first.get("Processor") or first.get("cpu") or first.get("Model Name")
    return CpuInfo(
        model=model or part or first.get("uarch"),
        part_name=ARM_PARTS.get((implementer.lower(), part.lower())),
        vendor=_vendor(first, implementer),
        architecture=_architecture(first, flags),
        isa=tuple(sorted(RELEVANT_FLAGS.intersection(flags))),
        hypervisor="hypervisor" in flags,
        processors=tuple(processors),
        core_keys=tuple(core_keys),
    )


def _blocks(text: str) -> tuple[dict[str, str], list[int], list[tuple[str, str]]]:
    """First value of every key, the processor numbers, and (package, core id) pairs."""
    first: dict[str, str] = {}
    processors: list[int] = []
    package, core_keys = "", []
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        key, value = key.strip(), value.strip()
        if not colon:
            continue
        if key == "processor" or (key.startswith("processor ") and key[10:].isdigit()):  # s390: `processor 0: version`
            number = value if key == "processor" else key[10:]
            if number.isdecimal() and len(number) < 7:
                processors.append(int(number))
            continue
        if key == "physical id":
            package = value
        elif key == "core id":
            core_keys.append((package, value))
        if value:
            first.setdefault(key, value)
    return first, processors, core_keys


def _vendor(first: dict[str, str], implementer: str) -> str | None:
    if first.get("vendor_id"):
        return first["vendor_id"]
    if implementer:
        return ARM_IMPLEMENTERS.get(implementer.lower(), implementer)
    return "IBM" if first.get("cpu", "").startswith("POWER") else None


def _architecture(first: dict[str, str], flags: list[str]) -> str | None:
    if "flags" in first and first.get("vendor_id") != "IBM/S390":
        return "x86_64" if "lm" in flags else "i686"
    if first.get("vendor_id") == "IBM/S390":
        return "s390x"
    if "CPU architecture" in first:
        return "aarch64" if first["CPU architecture"].startswith(("8", "9", "AArch64")) else "armv7l"
    if first.get("cpu", "").startswith("POWER"):
        return "ppc64le"  # every distribution that still ships for POWER8 and later is little-endian
    if "isa" in first and first["isa"].startswith("rv64"):
        return "riscv64"
    return None
