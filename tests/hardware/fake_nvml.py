"""A stand-in for pynvml, fed from nvidia-smi captures."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

MIB = 1024**2


class NVMLError(Exception):
    def __init__(self, value: int) -> None:
        super().__init__(f"NVML error {value}")
        self.value = value


class FakeNvml:
    """Boards as dicts; a call whose key is missing answers NOT_SUPPORTED, an int value under `errors` that code."""

    NVMLError = NVMLError
    NVML_ERROR_NOT_SUPPORTED = 3
    NVML_ERROR_NO_PERMISSION = 4
    NVML_ERROR_NOT_FOUND = 6
    NVML_ERROR_DRIVER_NOT_LOADED = 9
    NVML_ERROR_LIBRARY_NOT_FOUND = 12
    NVML_ERROR_LIB_RM_VERSION_MISMATCH = 18
    NVML_CLOCK_MEM = 2
    NVML_P2P_CAPS_INDEX_NVLINK = 2
    NVML_P2P_STATUS_OK = 0
    nvmlMemory_v2 = 2  # noqa: N815 - the library's name

    def __init__(
        self, boards: list[dict[str, Any]], *, init_error: int | None = None, old_driver: bool = False
    ) -> None:
        self.boards = boards
        self.init_error = init_error
        self.old_driver = old_driver

    def nvmlInit(self) -> None:  # noqa: N802
        if self.init_error is not None:
            raise NVMLError(self.init_error)

    def nvmlShutdown(self) -> None:  # noqa: N802
        pass

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802
        return "570.124.06"

    def nvmlSystemGetCudaDriverVersion_v2(self) -> int:  # noqa: N802
        return 12080

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.boards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> dict[str, Any]:  # noqa: N802
        return self.boards[index]

    def nvmlDeviceGetMemoryInfo(self, board: dict[str, Any], version: int | None = None) -> Any:  # noqa: N802
        if "memory_error" in board:
            raise NVMLError(board["memory_error"])
        total, reserved, used, free = board["memory_mib"]
        if version is not None:
            if self.old_driver:
                raise NVMLError(3)
            return SimpleNamespace(total=total * MIB, reserved=reserved * MIB, used=used * MIB, free=free * MIB)
        return SimpleNamespace(total=total * MIB, used=(used + reserved) * MIB, free=free * MIB)

    def nvmlDeviceGetMigDeviceHandleByIndex(self, board: dict[str, Any], index: int) -> dict[str, Any]:  # noqa: N802
        part = board["slices"].get(index)
        if part is None:
            raise NVMLError(6)
        return part

    def nvmlDeviceGetP2PStatus(self, one: dict[str, Any], other: dict[str, Any], _cap: int) -> int:  # noqa: N802
        return 0 if other["uuid"] in one.get("nvlink", ()) else 3

    def __getattr__(self, name: str) -> Any:
        key = KEYS.get(name)
        if key is None:
            raise AttributeError(name)

        def call(board: dict[str, Any], *_args: Any) -> Any:
            if key not in board:
                raise NVMLError(3)
            return board[key]

        return call


KEYS = {
    "nvmlDeviceGetName": "name",
    "nvmlDeviceGetUUID": "uuid",
    "nvmlDeviceGetPciInfo": "pci",
    "nvmlDeviceGetCudaComputeCapability": "capability",
    "nvmlDeviceGetMigMode": "mig",
    "nvmlDeviceGetMaxMigDeviceCount": "mig_count",
    "nvmlDeviceGetAttributes": "attributes",
    "nvmlDeviceGetMaxPcieLinkGeneration": "generation",
    "nvmlDeviceGetMaxPcieLinkWidth": "width",
    "nvmlDeviceGetCurrPcieLinkGeneration": "current_generation",
    "nvmlDeviceGetCurrPcieLinkWidth": "current_width",
    "nvmlDeviceGetMaxClockInfo": "clock",
    "nvmlDeviceGetMemoryBusWidth": "bus_bits",
    "nvmlDeviceGetMemoryAffinity": "affinity",
    "nvmlDeviceGetVirtualizationMode": "virtualization",
    "nvmlDeviceGetEnforcedPowerLimit": "power_mw",
}


def board_of_capture(gpu: dict[str, Any], number: int = 0) -> dict[str, Any]:
    """A board from one entry of nvidia_smi/expected.json."""
    fb = gpu["fb_mib"]
    board = {
        "name": gpu["name"],
        "uuid": f"GPU-0000000{number}",
        "pci": SimpleNamespace(busId=gpu["bus_id"]),
        "memory_mib": (fb["total"], fb.get("reserved") or 0, fb["used"], fb["free"]),
        "mig": (0, 0),
        "virtualization": {"Pass-Through": 1}.get(gpu["virtualization"] or "", 0),
    }
    for ours, theirs in (
        ("generation", "pcie_gen_max"),
        ("current_generation", "pcie_gen_current"),
        ("width", "pcie_width_max"),
        ("current_width", "pcie_width_current"),
    ):
        if gpu.get(theirs):
            board[ours] = int(gpu[theirs].rstrip("x"))
    return board
