"""Device names: what people, drivers and measurement tables write finds the right entry."""

from __future__ import annotations

import pytest

from planner.catalog.catalog import Catalog
from planner.catalog.device_names import name_parts
from planner.errors import UnknownName, UsageError

GIB, MIB = 2**30, 2**20

# Names of published throughput measurements, with the bandwidth (GB/s) that their tables give.
MEASURED = [
    ("2x EPYC 9175F", "cpu", 819.2),
    ("2x Xeon E5-2697A v4", "cpu", 153.6),
    ("2x Xeon Gold 6138", "cpu", 256.0),
    ("2x Xeon Gold 6454S", "cpu", 614.4),
    ("A100 PCIe 80GB", "gpu", 1940.0),
    ("A100 SXM 80GB", "gpu", 2040.0),
    ("AI PRO R9700", "gpu", 644.6),
    ("ARL-H Arc iGPU", "gpu", 134.4),
    ("Arc A770", "gpu", 512.0),
    ("Arc B580", "gpu", 456.0),
    ("Arc Pro B50", "gpu", 224.0),
    ("Arc Pro B70", "gpu", 608.0),
    ("Core i5-1135G7", "cpu", 51.2),
    ("Core i5-9500", "cpu", 42.7),
    ("Core i9-13900K", "cpu", 102.4),
    ("GTX 1050 Ti", "gpu", 112.1),
    ("Intel N100", "cpu", 25.6),
    ("Intel N150 (1ch DDR5-4800)", "cpu", 38.4),
    ("L40S", "gpu", 864.0),
    ("M1 Max 32c", "apple", 409.6),
    ("M1 Pro 14c", "apple", 204.8),
    ("M2 8c", "apple", 102.4),
    ("M2 Max 30c", "apple", 409.6),
    ("M2 Max 38c", "apple", 409.6),
    ("M3 10c", "apple", 102.4),
    ("M3 Max 30c", "apple", 307.2),
    ("M3 Pro 18c", "apple", 153.6),
    ("M3 Ultra 80c", "apple", 819.2),
    ("M4 10c", "apple", 120.0),
    ("M4 Max 32c", "apple", 409.6),
    ("M4 Max 40c", "apple", 546.1),
    ("M4 Pro", "apple", 273.0),
    ("M4 Pro 16c", "apple", 273.0),
    ("M4 Pro 20c", "apple", 273.0),
    ("M5 10c", "apple", 153.0),
    ("M5 Max 40c", "apple", 614.0),
    ("Max 1550", "gpu", 3280.0),
    ("Minisforum MS-R1", "cpu", 88.0),
    ("P100 16GB", "gpu", 732.2),
    ("RTX 2070 Max-Q", "gpu", 384.0),
    ("RTX 2080", "gpu", 448.0),
    ("RTX 3080 10GB", "gpu", 760.3),
    ("RTX 3080 Ti", "gpu", 912.4),
    ("RTX 3090", "gpu", 936.2),
    ("RTX 3090 Ti", "gpu", 1008.4),
    ("RTX 4060 Laptop", "gpu", 256.0),
    ("RTX 4070 Ti", "gpu", 504.2),
    ("RTX 4070 Ti SUPER", "gpu", 672.3),
    ("RTX 4080", "gpu", 716.8),
    ("RTX 4080 SUPER", "gpu", 736.3),
    ("RTX 4090", "gpu", 1008.4),
    ("RTX 5060 Ti 16GB", "gpu", 448.0),
    ("RTX 5070", "gpu", 672.0),
    ("RTX 5090", "gpu", 1792.0),
    ("RTX 6000 Ada", "gpu", 960.0),
    ("RTX A2000 12GB", "gpu", 288.0),
    ("RTX A5000", "gpu", 768.0),
    ("RTX PRO 6000 Blackwell", "gpu", 1792.0),
    ("RTX PRO 6000 Max-Q", "gpu", 1792.0),
    ("RX 6700 XT", "gpu", 384.0),
    ("RX 7600", "gpu", 288.0),
    ("RX 7900 XTX", "gpu", 960.0),
    ("Ryzen 9 7950X", "cpu", 89.6),
    ("Ryzen 9 9950X (2ch DDR5-6400)", "cpu", 102.4),
    ("Ryzen AI 5 340", "cpu", 89.6),
    ("Threadripper PRO 7975WX", "cpu", 358.4),
    ("Xeon 6980P (1 socket)", "cpu", 844.8),
    ("Xeon 8480 ES (8ch DDR5-4800)", "cpu", 307.2),
]
# Processors whose memory in those measurements is not the rate that the vendor supports.
OTHER_MEMORY = {
    "2x EPYC 9175F", "Core i5-1135G7", "Core i9-13900K", "Intel N100", "Ryzen 9 7950X", "Ryzen 9 9950X (2ch DDR5-6400)",
    "Ryzen AI 5 340", "Threadripper PRO 7975WX", "Xeon 6980P (1 socket)",
}  # fmt: skip


@pytest.mark.parametrize(("name", "kind", "gb_per_s"), MEASURED)
def test_every_name_of_the_throughput_data_resolves(catalog: Catalog, name: str, kind: str, gb_per_s: float) -> None:
    device = catalog.device(name)
    assert (device.kind if device.kind in {"apple", "cpu"} else "gpu") == kind
    if name not in OTHER_MEMORY:
        assert device.bandwidth_bytes_per_s == pytest.approx(gb_per_s * 1e9, rel=0.005)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("rtx4090", "GeForce RTX 4090"),
        ("NVIDIA GeForce RTX 4090", "GeForce RTX 4090"),
        ("RTX 4090 24GB", "GeForce RTX 4090"),
        ("4090", "GeForce RTX 4090"),
        ("rtx-4090", "GeForce RTX 4090"),
        ("RTX 4070 Ti SUPER", "GeForce RTX 4070 Ti SUPER"),
        ("4070tisuper", "GeForce RTX 4070 Ti SUPER"),
        ("NVIDIA GeForce RTX 3070 Ti Laptop GPU", "GeForce RTX 3070 Ti Mobile"),
        ("4060ti 16gb", "GeForce RTX 4060 Ti 16 GB"),
        ("RTX 3060", "GeForce RTX 3060 12 GB"),
        ("RTX3080 12g", "GeForce RTX 3080 12 GB"),
        ("H100", "H100 SXM5 80 GB"),
        ("NVIDIA H100 80GB HBM3", "H100 SXM5 80 GB"),
        ("NVIDIA H100 PCIe", "H100 PCIe 80 GB"),
        ("NVIDIA H100 NVL", "H100 NVL 94 GB"),
        ("A100", "A100 SXM4 80 GB"),
        ("NVIDIA A100-PCIE-40GB", "A100 PCIe 40 GB"),
        ("NVIDIA A100 80GB PCIe", "A100 PCIe 80 GB"),
        ("Tesla V100-SXM2-32GB", "Tesla V100 SXM2 32 GB"),
        ("L4", "L4"),
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA GH200 480GB", "GH200 SXM"),
        ("DGX Spark", "GB10"),
        ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", "RTX PRO 6000 Blackwell"),
        ("NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition", "RTX PRO 6000 Blackwell Max-Q"),
        ("AMD Radeon RX 7900 XTX", "Radeon RX 7900 XTX"),
        ("7900xt", "Radeon RX 7900 XT"),
        ("AMD Instinct MI300X", "Radeon Instinct MI300X"),
        ("Strix Halo", "Radeon 8060S"),
        ("Intel(R) Arc(TM) B580 Graphics", "Arc B580"),
        ("M4 Max 40c", "Apple M4 Max 40-core GPU"),
        ("Apple M4 Max 40-core GPU", "Apple M4 Max 40-core GPU"),
        ("m2ultra", "Apple M2 Ultra 60-core GPU"),
        ("M3 Max", "Apple M3 Max 30-core GPU"),
        ("M3 Max 128GB", "Apple M3 Max 40-core GPU"),
        ("M1", "Apple M1 7-core GPU"),
    ],
)
def test_spellings(catalog: Catalog, name: str, found: str) -> None:
    """Case, spaces and vendor words tell nothing; memory and cores decide between variants."""
    assert catalog.device(name).name == found


@pytest.mark.parametrize("name", ["RTX 4060 Ti", "RTX 5060 Ti", "RTX 6000", "7900", "V100", "rtx"])
def test_a_name_that_fits_several_lists_them(catalog: Catalog, name: str) -> None:
    with pytest.raises(UsageError, match=r"fits several devices: .+, .+"):
        catalog.device(name)


def test_unknown_names_get_near_misses(catalog: Catalog) -> None:
    with pytest.raises(UnknownName) as raised:
        catalog.device("RTX 4099")
    assert "RTX 4090" in raised.value.matches
    with pytest.raises(UnknownName) as raised:
        catalog.device("RTX 4090 48GB")
    assert raised.value.hint is not None
    assert "GeForce RTX 4090 (24 GiB)" in raised.value.hint


@pytest.mark.parametrize("name", ["", "   ", "GPU", "NVIDIA", "16GB", "\x00", "(R)", "[/]"])
def test_names_that_say_nothing_are_unknown(catalog: Catalog, name: str) -> None:
    with pytest.raises(UnknownName):
        catalog.device(name)
    assert catalog.find_device(name, 16 * GIB) is None


# Driver names and totals: published outputs of nvidia-smi, rocm-smi and lspci.
@pytest.mark.parametrize(
    ("name", "memory_bytes", "found"),
    [
        ("NVIDIA GeForce RTX 3080", 12 * GIB, "GeForce RTX 3080 12 GB"),
        ("NVIDIA GeForce RTX 3080", 10240 * MIB, "GeForce RTX 3080"),
        ("NVIDIA GeForce RTX 4060 Ti", 16380 * MIB, "GeForce RTX 4060 Ti 16 GB"),
        ("NVIDIA GeForce RTX 4060 Ti", 8188 * MIB, "GeForce RTX 4060 Ti 8 GB"),
        ("NVIDIA H100 80GB HBM3", 81559 * MIB, "H100 SXM5 80 GB"),
        ("NVIDIA A100-SXM4-80GB", 81920 * MIB, "A100 SXM4 80 GB"),
        ("NVIDIA A10G", 23028 * MIB, "A10G"),
        ("NVIDIA A40", 46068 * MIB, "A40 PCIe"),
        ("Tesla T4", 15360 * MIB, "Tesla T4"),
        ("NVIDIA RTX 4000 SFF Ada Generation", 20475 * MIB, "RTX 4000 SFF Ada Generation"),
        ("Navi 31 [Radeon RX 7900 XT/7900 XTX/7900 GRE/7900M]", 25753026560, "Radeon RX 7900 XTX"),
        ("Navi 22 [Radeon RX 6700/6700 XT / 6800M]", 12868124672, "Radeon RX 6700 XT"),
        ("Arcturus GL-XL [Instinct MI100]", 34342961152, "Radeon Instinct MI100"),
        ("Radeon Instinct MI50 32GB", 34342961152, "Radeon Instinct MI50"),
        ("AMD Radeon RX 9060 XT", 16 * GIB, "Radeon RX 9060 XT 16 GB"),
        ("NVIDIA GeForce RTX 4060 Ti", None, None),
        ("Navi 31 [Radeon RX 7900 XT/7900 XTX/7900 GRE/7900M]", None, None),
        ("Graphics Device", 5912 * MIB, None),
        ("AMD Radeon Graphics", 512 * MIB, None),
    ],
)
def test_driver_names(catalog: Catalog, name: str, memory_bytes: int | None, found: str | None) -> None:
    """What a driver reports decides by memory, and stays open where that does not tell."""
    device = catalog.find_device(name, memory_bytes)
    assert (device and device.name) == found


def test_driver_memory_is_what_was_read(catalog: Catalog) -> None:
    """nvidia-smi totals of an H100 80GB HBM3, an RTX 5090 and a GH200 480GB."""
    for name, mib in (("H100", 81559), ("RTX 5090", 32607), ("GH200", 97871)):
        assert catalog.device(name).driver_memory_bytes == mib * MIB


def test_every_device_finds_itself_by_name_and_id(catalog: Catalog) -> None:
    for device in catalog.devices.values():
        assert catalog.device(device.name) == device
        assert catalog.device(device.id) == device


def test_every_device_has_a_source_and_no_zeros(catalog: Catalog) -> None:
    assert len(catalog.devices) >= 294
    for device in catalog.devices.values():
        assert device.source
        for field in device.__struct_fields__:
            value = getattr(device, field)
            assert value is False or value != 0, f"{device.id}.{field}"
        if device.kind == "gpu":
            assert device.memory_bytes is not None
            assert device.bandwidth_bytes_per_s is not None


def test_two_sockets_have_the_bandwidth_of_both(catalog: Catalog) -> None:
    one, two = catalog.device("Xeon Gold 6454S"), catalog.device("2x Xeon Gold 6454S")
    assert one.bandwidth_bytes_per_s == 8 * 8 * 4800e6
    assert two.bandwidth_bytes_per_s == 2 * 8 * 8 * 4800e6


def test_name_parts() -> None:
    parts = name_parts("NVIDIA GeForce RTX 4070Ti SUPER 16 GB")
    assert (parts.words, parts.memory_gib, parts.cores) == ({"rtx", "4070", "ti", "super"}, 16, None)
    assert name_parts("Apple M4 Max 40-core GPU") == name_parts("m4 max 40c")
