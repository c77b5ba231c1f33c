"""nvidia-smi output: `-q -x` (XML), `-q` (text) and the plain table, all into the driver's answers.

Values are addressed by their path: with MIG on, the first memory section in a board's text belongs to its first slice.
"""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import msgspec

from planner.catalog.records.device import DeviceTable
from planner.errors import ProbeError
from planner.hardware.facts import Hardware
from planner.hardware.findings import Findings
from planner.hardware.nvidia import Board, Driver, MemoryState, Slice, gpus_from_driver
from planner.hardware.published import with_published
from planner.units import MIB

_A100_SMS_PER_SLICE = 14  # A100 and H100: 98 to 132 multiprocessors over seven slices; a 1g slice has 14 or 16


def add(hardware: Hardware, text: str, name: str, devices: DeviceTable | None, findings: Findings) -> Hardware:
    """The machine with the boards of the text as further GPUs. Raises ProbeError when none can be read."""
    driver = msgspec.structs.replace(parse(text, name), source=f"nvidia-smi in {name}")
    gpus = gpus_from_driver(driver, hardware.memory, hardware.numa_nodes, findings, len(hardware.gpus))
    every = with_published(hardware.gpus + gpus, devices, findings)
    return msgspec.structs.replace(hardware, gpus=every)


def parse(text: str, name: str = "nvidia-smi") -> Driver:
    """The boards of any of the three forms. Raises ProbeError naming the file when the text is broken or empty."""
    if "<nvidia_smi_log>" in text:
        driver = _parse_xml(text, name)
    elif "NVSMI LOG" in text:
        driver = _parse_query(text)
    else:
        driver = _parse_table(text)
    if not driver.boards:
        raise ProbeError(f"{name} names no NVIDIA GPU", hint="paste the whole output of: nvidia-smi -q -x")
    return driver


def _parse_xml(text: str, name: str) -> Driver:
    if "<!ENTITY" in text:
        raise ProbeError(f"{name}: an nvidia-smi XML file defines no entities")
    try:
        root = ElementTree.fromstring(text[text.index("<nvidia_smi_log>") :])  # noqa: S314 - entities are refused above
    except ElementTree.ParseError as error:
        raise ProbeError(f"{name}: broken XML: {error}", hint="paste the whole output of: nvidia-smi -q -x") from error
    boards = tuple(_xml_board(gpu) for gpu in root.findall("gpu"))
    return Driver(
        boards=boards,
        driver_version=_word(root.findtext("driver_version")),
        cuda_version=_word(root.findtext("cuda_version")),
    )


def _xml_board(gpu: ElementTree.Element) -> Board:
    def find(path: str) -> str | None:
        return gpu.findtext(path)

    link = "pci/pci_gpu_link_info"
    power = find("gpu_power_readings/default_power_limit") or find("power_readings/default_power_limit")
    return _board(
        name=find("product_name"),
        uuid=find("uuid"),
        bus_id=find("pci/pci_bus_id") or gpu.get("id"),
        memory=[find(f"fb_memory_usage/{part}") for part in ("total", "reserved", "free")],
        generations=[find(f"{link}/pcie_gen/{part}") for part in ("max_link_gen", "current_link_gen")],
        widths=[find(f"{link}/link_widths/{part}") for part in ("max_link_width", "current_link_width")],
        addressing=find("addressing_mode"),
        mig=find("mig_mode/current_mig"),
        slices=[_xml_slice(part, find("product_name") or "") for part in gpu.findall("mig_devices/mig_device")],
        virtualization=find("gpu_virtualization_mode/virtualization_mode"),
        power=power,
        display=find("display_active"),
        architecture=find("product_architecture"),
        ecc=find("ecc_mode/current_ecc"),
    )


def _xml_slice(part: ElementTree.Element, board: str) -> Slice:
    multiprocessors = _number(part.findtext("device_attributes/shared/multiprocessor_count"))
    memory = [_bytes(part.findtext(f"fb_memory_usage/{name}")) for name in ("total", "reserved", "free")]
    return _slice(board, part.findtext("index"), memory, multiprocessors)


_SWITCHES = {"Enabled": True, "Yes": True, "Disabled": False, "No": False}


def _board(
    *,
    name: str | None,
    uuid: str | None,
    bus_id: str | None,
    memory: list[str | None],
    generations: list[str | None],
    widths: list[str | None],
    addressing: str | None,
    mig: str | None,
    slices: list[Slice],
    virtualization: str | None,
    power: str | None,
    display: str | None,
    architecture: str | None,
    ecc: str | None,
) -> Board:
    total, reserved, free = (_bytes(text) for text in memory)
    state: MemoryState = "known" if total else "not_supported"
    watts = re.match(r"[\d.]+", power or "")
    return Board(
        name=_word(name) or "NVIDIA GPU",
        uuid=_word(uuid),
        bus_id=_word(bus_id),
        memory_state=state,
        total_bytes=total or None,
        reserved_bytes=reserved,
        free_bytes=free,
        generation=_number(generations[0]),
        current_generation=_number(generations[1]),
        width=_number(widths[0]),
        current_width=_number(widths[1]),
        addressing=_word(addressing),
        mig=mig == "Enabled",
        slices=tuple(slices),
        virtualization=_word(virtualization),
        power_watts=float(watts[0]) if watts else None,
        display=_SWITCHES.get(display or ""),
        ecc=_SWITCHES.get(ecc or ""),
        architecture=_word(architecture),
    )


def _parse_query(text: str) -> Driver:
    parts = re.split(r"^GPU ([0-9A-Fa-f]{8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-7])\s*$", text, flags=re.MULTILINE)
    head = _nested(parts[0])
    boards = []
    for bus_id, text_of_board in zip(parts[1::2], parts[2::2], strict=True):
        # each slice is a section of the same name, up to the next line of the board's own depth
        slices = re.findall(r"^    MIG Device\s*\n((?:(?: {5,}.*)?\n)*)", text_of_board, re.MULTILINE)
        boards.append(_query_board(bus_id, _nested(text_of_board), [_nested(part) for part in slices]))
    return Driver(
        boards=tuple(boards), driver_version=_at(head, "Driver Version"), cuda_version=_at(head, "CUDA Version")
    )


def _nested(text: str) -> dict[str, Any]:
    """Sections by indentation: `{"FB Memory Usage": {"Total": "24576 MiB"}}`; the first of equal keys counts."""
    root: dict[str, Any] = {}
    stack: list[tuple[int, dict[str, Any]]] = [(-1, root)]
    for line in text.splitlines():
        if not line.strip():
            continue
        indent = len(line) - len(line.lstrip())
        key, colon, value = line.strip().partition(" : ")
        key = key.strip()
        while indent <= stack[-1][0]:
            stack.pop()
        if colon or key.endswith(" :"):
            stack[-1][1].setdefault(key.removesuffix(" :"), value.strip())
        else:
            section: dict[str, Any] = {}
            stack[-1][1].setdefault(key, section)
            stack.append((indent, section))
    return root


def _at(section: dict[str, Any], *path: str) -> str | None:
    value: Any = section
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return _word(value) if isinstance(value, str) else None


def _query_board(bus_id: str, facts: dict[str, Any], slices: list[dict[str, Any]]) -> Board:
    link = ("PCI", "GPU Link Info")
    power = _at(facts, "GPU Power Readings", "Default Power Limit") or _at(
        facts, "Power Readings", "Default Power Limit"
    )
    return _board(
        name=_at(facts, "Product Name"),
        uuid=_at(facts, "GPU UUID"),
        bus_id=bus_id,
        memory=[_at(facts, "FB Memory Usage", part) for part in ("Total", "Reserved", "Free")],
        generations=[_at(facts, *link, "PCIe Generation", part) for part in ("Max", "Current")],
        widths=[_at(facts, *link, "Link Width", part) for part in ("Max", "Current")],
        addressing=_at(facts, "Addressing Mode"),
        mig=_at(facts, "MIG Mode", "Current"),
        slices=[_query_slice(part, _at(facts, "Product Name") or "") for part in slices],
        virtualization=_at(facts, "GPU Virtualization Mode", "Virtualization Mode"),
        power=power,
        display=_at(facts, "Display Active"),
        architecture=_at(facts, "Product Architecture"),
        ecc=_at(facts, "ECC Mode", "Current"),
    )


def _query_slice(facts: dict[str, Any], board: str) -> Slice:
    multiprocessors = _number(_at(facts, "Device Attributes", "Shared", "Multiprocessor count"))
    memory = [_bytes(_at(facts, "FB Memory Usage", part)) for part in ("Total", "Reserved", "Free")]
    return _slice(board, _at(facts, "Index"), memory, multiprocessors)


def _slice(board: str, index: str | None, memory: list[int | None], multiprocessors: int | None) -> Slice:
    sevenths = max(1, multiprocessors // _A100_SMS_PER_SLICE) if multiprocessors else None
    return Slice(
        name=f"{board} MIG {index or '?'}" + (f" ({sevenths}g)" if sevenths else ""),
        total_bytes=memory[0],
        reserved_bytes=memory[1],
        free_bytes=memory[2],
        compute_slices=sevenths,
    )


_ROW = re.compile(
    r"^\|\s+(?P<number>\d+)\s+(?P<name>\S.*?)\s+(?:On|Off|N/A|WDDM|TCC|MCDM)\s+\|\s+(?P<bus>[0-9A-Fa-f:.]+|N/A)\s",
    re.MULTILINE,
)
_SLICE = re.compile(  # GPU, instance ids, slice; used and total memory; multiprocessors
    r"^\|\s+(?P<gpu>\d+)\s+\d+\s+\d+\s+(?P<index>\d+)\s+\|\s+(?P<used>\d+)MiB\s+/\s+(?P<total>\d+)MiB\s+\|\s+(?P<sms>\d+)\s",
    re.MULTILINE,
)
_USAGE = re.compile(r"\|\s+(?P<used>\d+)MiB\s+/\s+(?P<total>\d+)MiB\s+\|")


def _parse_table(text: str) -> Driver:
    """The plain table: names (cut at the column's width), bus, used and total memory."""
    text, _, below = text.partition("MIG devices:")
    rows = list(_ROW.finditer(text))
    version = re.search(r"Driver Version: (\S+)", text)
    cuda = re.search(r"CUDA Version: (\S+)", text)
    boards = []
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        usage = _USAGE.search(text, row.end(), following.start() if following else len(text))
        total, used = (int(usage["total"]) * MIB, int(usage["used"]) * MIB) if usage else (None, None)
        mig = re.search(r"\|\s+Enabled \|", text[row.end() : following.start() if following else len(text)])
        slices = [_table_slice(part, row["name"]) for part in _SLICE.finditer(below) if part["gpu"] == row["number"]]
        boards.append(
            Board(
                name=row["name"],
                bus_id=_word(row["bus"]),
                memory_state="known" if usage else "not_supported",
                total_bytes=total,
                free_bytes=total - used if total is not None and used is not None else None,
                mig=mig is not None,
                slices=tuple(slices),
            )
        )
    return Driver(
        boards=tuple(boards),
        driver_version=_word(version[1]) if version else None,
        cuda_version=_word(cuda[1]) if cuda else None,
    )


def _table_slice(part: re.Match[str], board: str) -> Slice:
    total, used = int(part["total"]) * MIB, int(part["used"]) * MIB
    return _slice(board, part["index"], [total, None, total - used], int(part["sms"]))


def _word(text: str | None) -> str | None:
    cleaned = (text or "").strip()
    return None if cleaned in {"", "N/A", "[N/A]", "Not Supported", "Unknown Error"} else cleaned


def _number(text: str | None) -> int | None:
    match = re.match(r"\d{1,9}", (text or "").strip())
    return int(match[0]) if match else None


def _bytes(text: str | None) -> int | None:
    match = re.fullmatch(r"(\d{1,9}) MiB", (text or "").strip())
    return int(match[1]) * MIB if match else None
