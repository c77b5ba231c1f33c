"""CPU series by the model names that Linux, vendors and people write."""

from __future__ import annotations

import pytest

from planner.catalog.catalog import Catalog
from planner.catalog.cpu_names import best_series
from planner.catalog.records import CpuSeries


# Model names as /proc/cpuinfo and SMBIOS give them; cores and GB/s per socket from the vendors' product pages.
@pytest.mark.parametrize(
    ("name", "cores", "gb_per_s"),
    [
        ("Intel(R) Xeon(R) CPU E5-2680 v3 @ 2.50GHz", 12, 68.256),
        ("Intel(R) Xeon(R) CPU E5-2695 v4 @ 2.10GHz", 18, 76.8),
        ("Intel(R) Xeon(R) Gold 6230 CPU @ 2.10GHz", 20, 140.784),
        ("Intel(R) Xeon(R) Gold 6138 CPU @ 2.00GHz", 20, 127.968),
        ("INTEL(R) XEON(R) PLATINUM 8470N", 52, 307.2),
        ("Intel(R) Xeon(R) Platinum 8480+", 56, 307.2),
        ("Xeon QYFS-class (8ch DDR5-4800)", 56, 307.2),
        ("Intel(R) Xeon(R) 6980P", 128, 614.4),
        ("Intel(R) Xeon(R) w9-3495X", 56, 307.2),
        ("AMD EPYC 7302 16-Core Processor", 16, 204.8),
        ("AMD EPYC 7763 64-Core Processor", 64, 204.8),
        ("AMD EPYC 9654 96-Core Processor", 96, 460.8),
        ("2x EPYC 9175F", 16, 576.0),
        ("AMD Ryzen Threadripper PRO 7985WX 64-Cores", 64, 332.8),
        ("AMD Ryzen Threadripper 7960X 24-Cores", 24, 166.4),
        ("AMD Ryzen Threadripper 3970X 32-Core Processor", 32, 102.4),
        ("AMD Ryzen 9 7950X 16-Core Processor", 16, 83.2),
        ("Ryzen 9 9950X (2ch DDR5-6400)", 16, 89.6),
        ("AMD Ryzen 7 5800X3D 8-Core Processor", 8, 51.2),
        ("AMD RYZEN AI MAX+ 395 w/ Radeon 8060S", 16, 256.0),
        ("Intel(R) Core(TM) i9-14900K", 24, 89.6),
        ("Intel(R) Core(TM) i9-10900X CPU @ 3.70GHz", 10, 93.856),
        ("Intel(R) Core(TM) i9-10900K CPU @ 3.70GHz", 10, 46.928),
        ("Intel(R) Core(TM) Ultra 9 285K", 24, 102.4),
        ("Intel(R) N100", 4, 38.4),
        ("Ampere(R) Altra(R) Processor Q80-30", 80, 204.8),
        ("AWS Graviton4", 96, 537.6),
    ],
)
def test_models(catalog: Catalog, name: str, cores: int, gb_per_s: float) -> None:
    series = catalog.cpu_series(name)
    assert series is not None
    assert series.cores == cores
    assert series.socket_bandwidth_bytes_per_s == pytest.approx(gb_per_s * 1e9)


@pytest.mark.parametrize(
    ("name", "series"),
    [
        ("AMD EPYC 7R32", "epyc-7002"),
        ("AMD EPYC 7R13 Processor", "epyc-7003"),
        ("AMD EPYC 9R14", "epyc-9004"),
        ("AMD EPYC 7702P 64-Core Processor", "epyc-7702"),
        ("Intel(R) Xeon(R) CPU E5-2680 0 @ 2.70GHz", "xeon-e5-v1"),
        ("Neoverse-N1", "neoverse-n1"),
    ],
)
def test_a_model_that_is_not_listed_falls_to_its_series(catalog: Catalog, name: str, series: str) -> None:
    found = catalog.cpu_series(name)
    assert found is not None
    assert found.id == series


@pytest.mark.parametrize(
    "name",
    ["QEMU Virtual CPU version 2.5+", "AMD EPYC", "AMD EPYC-Milan Processor", "Intel Xeon Processor (Skylake)", "",
     "Intel(R) Xeon(R) CPU           E5472  @ 3.00GHz", "AMD Opteron(tm) Processor 6134", "RTX 4090"],
)  # fmt: skip
def test_names_that_do_not_tell_are_unknown(catalog: Catalog, name: str) -> None:
    assert catalog.cpu_series(name) is None


def test_laptops_choose_their_own_memory(catalog: Catalog) -> None:
    """A soldered chip's rate is the machine maker's choice: nothing is claimed."""
    for name in ("13th Gen Intel(R) Core(TM) i7-1370P", "AMD Ryzen 7 7840U w/ Radeon 780M Graphics"):
        series = catalog.cpu_series(name)
        assert series is not None
        assert series.channels == 2
        assert series.socket_bandwidth_bytes_per_s is None


@pytest.mark.parametrize(
    "name",
    ["1 socket of 2x Xeon 6980P", "2x Xeon E5-2697A v4", "2x Xeon Gold 6454S", "Core i5-1135G7", "Core i5-9500",
     "Core i9-10900X (4ch DDR4, ~102 GB/s measured)", "Core i9-13900HK (2ch DDR5, speed not stated)", "Core i9-13900K",
     "Intel N150 (1ch DDR5-4800)", "Ryzen 5 9600", "Ryzen AI 5 340", "Threadripper PRO 7975WX", "Xeon 8480 ES"],
)  # fmt: skip
def test_hosts_of_the_throughput_data_are_known(catalog: Catalog, name: str) -> None:
    assert catalog.cpu_series(name) is not None


def test_fragments_are_whole_words_and_the_longest_wins() -> None:
    def series(name: str, *match: str) -> CpuSeries:
        return CpuSeries(id=name, name=name, match=match, source="test")

    known = [series("family", "Ryzen", "7??0*"), series("model", "Ryzen", "7950X*"), series("other", "Zen 79")]
    assert best_series(known, "AMD Ryzen 9 7950X3D") == known[1]
    assert best_series(known, "AMD Ryzen 7 7700") == known[0]
    assert best_series(known, "AMD Ryzen 7 17700") is None


def test_every_series_finds_itself(catalog: Catalog) -> None:
    """The fragments of an entry, read as a name, lead back to it: no entry hides behind another."""
    lost = []
    for series in catalog.cpus:
        name = " ".join(part.replace("*", "").replace("?", "1") for part in series.match)
        found = catalog.cpu_series(name)
        if found is None or (found is not series and not any("?" in part for part in series.match)):
            lost.append((series.id, found and found.id))
    assert not lost
