"""What vLLM 0.33 runs on, and which quants its kernels take there."""

from __future__ import annotations

from planner.hardware.facts import Gpu, Hardware
from planner.servers.devices import compute_capability, instruction_sets, is_apple_silicon, used_gpus
from planner.servers.records import Objection
from planner.sizing.records import Placement

# The default (CUDA 13) build starts at Turing (CMakeLists.txt).
LOWEST_CAPABILITY = (7, 5)

# get_min_capability of the quantization methods, vLLM 0.33: below 8.9 FP8 and below 10.0 NVFP4 are weight-only
# through Marlin; MXFP4 (gpt-oss) needs Ampere. FP8 on load wants the tensor cores that make it worth it.
MINIMUM: dict[str, tuple[int, int]] = {
    "AWQ": (7, 5),
    "GPTQ-INT4": (7, 5),
    "GPTQ-INT8": (7, 5),
    "W4A16": (7, 5),
    "W8A8": (7, 5),
    "FP8": (7, 5),
    "FP8-block": (7, 5),
    "NVFP4": (7, 5),
    "MXFP4": (8, 0),
}
NATIVE_FP8, NATIVE_FP4 = (8, 9), (10, 0)

# Methods listed for ROCm and for the CPU backend (platforms/rocm.py, docs for CPU).
ROCM = frozenset({"BF16", "FP16", "AWQ", "GPTQ-INT4", "GPTQ-INT8", "FP8", "FP8-block", "MXFP4", "W4A16"})
CPU = frozenset({"BF16", "FP16", "AWQ", "GPTQ-INT4", "W8A8"})

# AMD targets of the ROCm image; FP8 arithmetic exists from CDNA 3 and RDNA 4 on. [K]
ROCM_TARGETS = ("gfx90a", "gfx942", "gfx950", "gfx1100", "gfx1101", "gfx1150", "gfx1151", "gfx1200", "gfx1201")
ROCM_FP8_TARGETS = ("gfx942", "gfx950", "gfx1200", "gfx1201")


def platform_objections(hardware: Hardware, placement: Placement | None) -> list[Objection]:
    """Why vLLM does not run on these devices."""
    if hardware.os.name in ("macos", "windows") or is_apple_silicon(hardware):
        return [_no("platform", "runs on Linux: on a Mac take mlx-lm or llama-server, on Windows WSL")]
    gpus = used_gpus(hardware, placement)
    if not gpus:
        return _cpu_objections(hardware)
    backends = {gpu.backend for gpu in gpus}
    if len(backends) > 1 or not backends <= {"cuda", "rocm"}:
        return [_no("platform", f"needs NVIDIA or AMD GPUs of one kind, not {', '.join(sorted(backends))}")]
    return _cuda_objections(gpus) if "cuda" in backends else _rocm_objections(gpus)


def _cuda_objections(gpus: tuple[Gpu, ...]) -> list[Objection]:
    capability = compute_capability(gpus)
    if capability is None:
        return []
    if capability < LOWEST_CAPABILITY:
        text = f"needs compute capability 7.5, {gpus[0].name} has {capability[0]}.{capability[1]}"
        return [_no("compute-capability", text)]
    return []


def _rocm_objections(gpus: tuple[Gpu, ...]) -> list[Objection]:
    wrong = [gpu for gpu in gpus if (target := rocm_target(gpu)) and target not in ROCM_TARGETS]
    return [_no("compute-capability", f"the ROCm build has no kernels for {wrong[0].name}")] if wrong else []


def _cpu_objections(hardware: Hardware) -> list[Objection]:
    architecture = (hardware.cpu.architecture or "").casefold()
    if architecture in ("aarch64", "arm64"):
        return []
    if any(name.startswith("avx512") for name in instruction_sets(hardware)):
        return []
    known = "has none" if hardware.cpu.isa else "is not known to have it"
    return [_no("platform", f"wants AVX-512 to compute on a CPU, and this one {known}")]


def quant_objection(quant_id: str, hardware: Hardware, placement: Placement | None, *, online: bool) -> str | None:
    """Why a quant has no kernel on these devices, as a sentence; None when it has."""
    gpus = used_gpus(hardware, placement)
    if not gpus:
        return None if quant_id in CPU else f"{quant_id} has no CPU kernel: {', '.join(sorted(CPU))}"
    if gpus[0].backend == "rocm":
        return _rocm_quant(quant_id, gpus)
    capability = compute_capability(gpus)
    if capability is None:
        return None
    needed = NATIVE_FP8 if online else MINIMUM.get(quant_id, LOWEST_CAPABILITY)
    if capability < needed:
        what = f"{quant_id} made while loading" if online else quant_id
        has = f"{gpus[0].name} has {capability[0]}.{capability[1]}"
        return f"{what} needs compute capability {needed[0]}.{needed[1]}, {has}"
    return None


def _rocm_quant(quant_id: str, gpus: tuple[Gpu, ...]) -> str | None:
    if quant_id not in ROCM:
        return f"{quant_id} has no ROCm kernel: {', '.join(sorted(ROCM))}"
    targets = [rocm_target(gpu) for gpu in gpus]
    if quant_id.startswith("FP8") and any(target and target not in ROCM_FP8_TARGETS for target in targets):
        return f"{quant_id} needs CDNA 3 or RDNA 4, not {gpus[0].name}"
    return None


def rocm_target(gpu: Gpu) -> str | None:
    """`gfx1100` from the architecture or compute capability field, None when neither says."""
    for text in (gpu.architecture, gpu.compute_capability):
        if text and text.startswith("gfx"):
            return text.partition(":")[0]
    return None


def preference(hardware: Hardware, placement: Placement | None = None) -> tuple[str, ...]:
    """Quants from best to worst on these devices: what its tensor cores compute in first, 4 bits, then 16."""
    gpus = used_gpus(hardware, placement)
    capability = compute_capability(gpus) or (0, 0)
    native = (
        *(("NVFP4",) if capability >= NATIVE_FP4 else ()),
        *(("FP8", "FP8-block") if capability >= NATIVE_FP8 else ()),
    )
    rest = ("MXFP4", "AWQ", "GPTQ-INT4", "W4A16", "FP8", "FP8-block", "NVFP4", "BF16")
    return tuple(dict.fromkeys((*native, *rest)))


def _no(reason_id: str, text: str) -> Objection:
    return Objection(reason_id=reason_id, text=text)
