"""NVML through nvidia-ml-py: every question may fail alone, and all of them together may hang.

Only the live machine is asked, in a thread that is given up after a few seconds: waking boards without persistence
mode can take long, and a broken driver may never answer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from planner.hardware.nvidia import Board, Driver, MemoryState, Slice

TIME_LIMIT_S = 5.0
_MAX_BOARDS, _MAX_SLICES = 64, 16


def read_driver(time_limit_s: float = TIME_LIMIT_S, load: Callable[[], Any] | None = None) -> Driver:
    """The driver's answers; `problem` says why there are none (no library, no driver, mismatch, no answer).

    `load` imports the module (tests hand in their own)."""
    answer: list[Driver] = []
    worker = threading.Thread(target=lambda: answer.append(_read(load or _load)), daemon=True, name="nvml")
    worker.start()
    worker.join(time_limit_s)
    if answer:
        return answer[0]
    if worker.is_alive():
        return Driver(problem=f"the NVIDIA driver did not answer within {time_limit_s:g} s; NVIDIA GPUs are unknown")
    return Driver(problem="the NVIDIA driver library failed; NVIDIA GPUs are unknown")


def _load() -> Any:
    import pynvml  # 70 ms, and only where a probe asks

    return pynvml


def _read(load: Callable[[], Any]) -> Driver:
    nvml = load()
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return Driver(problem=_init_problem(nvml, error))
    try:
        return Driver(
            boards=_boards(nvml),
            driver_version=_text(_ask(nvml, "nvmlSystemGetDriverVersion")[0]),
            cuda_version=_cuda(_ask(nvml, "nvmlSystemGetCudaDriverVersion_v2")[0]),
        )
    finally:
        _ask(nvml, "nvmlShutdown")


def _init_problem(nvml: Any, error: Any) -> str | None:
    """None when there simply is no NVIDIA driver here; otherwise what is wrong with it."""
    code = getattr(error, "value", None)
    if code in {getattr(nvml, "NVML_ERROR_LIBRARY_NOT_FOUND", 12), getattr(nvml, "NVML_ERROR_DRIVER_NOT_LOADED", 9)}:
        return None
    if code == getattr(nvml, "NVML_ERROR_LIB_RM_VERSION_MISMATCH", 18):
        return "NVIDIA driver and library versions differ (after an update: reboot); NVIDIA GPUs are unknown"
    return f"the NVIDIA driver refuses: {error}; NVIDIA GPUs are unknown"


def _ask(nvml: Any, name: str, *args: Any, **kwargs: Any) -> tuple[Any, MemoryState]:
    """(answer, state) of one NVML call; a call that this version of the module lacks is not supported."""
    call = getattr(nvml, name, None)
    if call is None:
        return None, "not_supported"
    try:
        return call(*args, **kwargs), "known"
    except nvml.NVMLError as error:
        code = getattr(error, "value", None)
        if code == getattr(nvml, "NVML_ERROR_NOT_SUPPORTED", 3):
            return None, "not_supported"
        return None, "denied" if code == getattr(nvml, "NVML_ERROR_NO_PERMISSION", 4) else "unknown"
    except (AttributeError, TypeError, ValueError, OSError):  # an old driver's library lacks the symbol
        return None, "not_supported"


def _text(value: Any) -> str | None:
    """Older modules answer in bytes."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return str(value) if value else None


def _cuda(value: Any) -> str | None:
    return f"{value // 1000}.{value % 1000 // 10}" if isinstance(value, int) and value > 0 else None


def _boards(nvml: Any) -> tuple[Board, ...]:
    count = _ask(nvml, "nvmlDeviceGetCount")[0] or 0
    handles = [_ask(nvml, "nvmlDeviceGetHandleByIndex", i)[0] for i in range(min(count, _MAX_BOARDS))]
    present = [handle for handle in handles if handle is not None]
    return tuple(
        _board(nvml, handle, _peers(nvml, i, present, "NVLINK"), _peers(nvml, i, present, "READ"))
        for i, handle in enumerate(present)
    )


def _peers(nvml: Any, index: int, handles: list[Any], kind: str) -> tuple[int, ...]:
    """Boards that NVLink reaches, through a switch too, or that can be read directly: NVML's own statement of
    peer-to-peer capability."""
    capability = getattr(nvml, f"NVML_P2P_CAPS_INDEX_{kind}", None)
    if capability is None or len(handles) < 2:
        return ()
    ok = getattr(nvml, "NVML_P2P_STATUS_OK", 0)
    found = []
    for other, handle in enumerate(handles):
        if other != index:
            status, state = _ask(nvml, "nvmlDeviceGetP2PStatus", handles[index], handle, capability)
            if state == "known" and status == ok:
                found.append(other)
    return tuple(found)


def _board(nvml: Any, handle: Any, nvlink: tuple[int, ...], readable: tuple[int, ...]) -> Board:
    memory, state = _memory(nvml, handle)
    capability = _ask(nvml, "nvmlDeviceGetCudaComputeCapability", handle)[0]
    mig_mode = _ask(nvml, "nvmlDeviceGetMigMode", handle)[0]
    mig = bool(mig_mode and mig_mode[0] == 1)
    watts = _ask(nvml, "nvmlDeviceGetEnforcedPowerLimit", handle)[0]
    display = _ask(nvml, "nvmlDeviceGetDisplayActive", handle)[0]
    ecc = _ask(nvml, "nvmlDeviceGetEccMode", handle)[0]
    return Board(
        name=_text(_ask(nvml, "nvmlDeviceGetName", handle)[0]) or "NVIDIA GPU",
        uuid=_text(_ask(nvml, "nvmlDeviceGetUUID", handle)[0]),
        bus_id=_bus_id(_ask(nvml, "nvmlDeviceGetPciInfo", handle)[0]),
        memory_state=state,
        total_bytes=memory.get("total"),
        reserved_bytes=memory.get("reserved"),
        free_bytes=memory.get("free"),
        compute_capability=f"{capability[0]}.{capability[1]}" if capability else None,
        generation=_ask(nvml, "nvmlDeviceGetMaxPcieLinkGeneration", handle)[0],
        width=_ask(nvml, "nvmlDeviceGetMaxPcieLinkWidth", handle)[0],
        current_generation=_ask(nvml, "nvmlDeviceGetCurrPcieLinkGeneration", handle)[0],
        current_width=_ask(nvml, "nvmlDeviceGetCurrPcieLinkWidth", handle)[0],
        memory_clock_mhz=_ask(nvml, "nvmlDeviceGetMaxClockInfo", handle, getattr(nvml, "NVML_CLOCK_MEM", 2))[0],
        memory_bus_bits=_ask(nvml, "nvmlDeviceGetMemoryBusWidth", handle)[0],
        numa_node=_affine_node(nvml, handle),
        mig=mig,
        slices=_slices(nvml, handle) if mig else (),
        virtualization=_virtualization(nvml, handle),
        nvlink_peers=nvlink,
        p2p_peers=readable,
        ecc=bool(ecc[0]) if ecc else None,
        power_watts=watts / 1000 if watts else None,
        display=None if display is None else bool(display),
        cores=_ask(nvml, "nvmlDeviceGetNumGpuCores", handle)[0],
    )


def _memory(nvml: Any, handle: Any) -> tuple[dict[str, int], MemoryState]:
    """Version 2 tells what the driver reserves; old drivers know only version 1, whose `used` holds it."""
    state: MemoryState
    version = getattr(nvml, "nvmlMemory_v2", None)
    info, state = _ask(nvml, "nvmlDeviceGetMemoryInfo", handle, version=version) if version else (None, "not_supported")
    if info is None:
        info, old_state = _ask(nvml, "nvmlDeviceGetMemoryInfo", handle)
        state = old_state if state != "denied" or old_state == "known" else state
    if info is None:
        return {}, state
    if not getattr(info, "total", 0):
        return {}, "not_supported"
    names = ("total", "reserved", "free")
    return {name: int(getattr(info, name)) for name in names if getattr(info, name, None) is not None}, state


def _bus_id(info: Any) -> str | None:
    return _text(getattr(info, "busId", None))


def _affine_node(nvml: Any, handle: Any) -> int | None:
    """The one NUMA node whose memory is nearest; None when the mask names several or none."""
    scope = getattr(nvml, "NVML_AFFINITY_SCOPE_NODE", 0)
    words = _ask(nvml, "nvmlDeviceGetMemoryAffinity", handle, 4, scope)[0]
    try:
        nodes = [64 * i + bit for i, word in enumerate(words or ()) for bit in range(64) if int(word) >> bit & 1]
    except (TypeError, ValueError):
        return None
    return nodes[0] if len(nodes) == 1 else None


def _virtualization(nvml: Any, handle: Any) -> str | None:
    mode = _ask(nvml, "nvmlDeviceGetVirtualizationMode", handle)[0]
    return {1: "Pass-Through", 2: "vGPU", 3: "Host vGPU", 4: "Host vSGA"}.get(mode)


def _slices(nvml: Any, handle: Any) -> tuple[Slice, ...]:
    """The MIG slices; gaps in the numbering are normal."""
    count = _ask(nvml, "nvmlDeviceGetMaxMigDeviceCount", handle)[0] or 0
    found = []
    for index in range(min(count, _MAX_SLICES)):
        part = _ask(nvml, "nvmlDeviceGetMigDeviceHandleByIndex", handle, index)[0]
        if part is None:
            continue
        memory, _ = _memory(nvml, part)
        attributes = _ask(nvml, "nvmlDeviceGetAttributes", part)[0]
        found.append(
            Slice(
                name=_text(_ask(nvml, "nvmlDeviceGetName", part)[0]) or f"MIG slice {index}",
                uuid=_text(_ask(nvml, "nvmlDeviceGetUUID", part)[0]),
                total_bytes=memory.get("total"),
                reserved_bytes=memory.get("reserved"),
                free_bytes=memory.get("free"),
                compute_slices=getattr(attributes, "gpuInstanceSliceCount", None),
            )
        )
    return tuple(found)
