"""Trees of real machines (unpacked once), trees built by tests, and the catalog's device table."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from planner.catalog.load import load_catalog

MACHINES = Path(__file__).parents[1] / "machines"
Trees = Callable[[str], Path]
Build = Callable[[dict[str, str]], Path]


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Trees:
    """Unpacks `sysfs/NAME.tar.gz` or `kfd/NAME.tar.gz` on first use and gives its root."""
    folder = tmp_path_factory.mktemp("machines")

    def root(name: str) -> Path:
        if not (folder / name).exists():
            archive = next(path for kind in ("sysfs", "kfd") if (path := MACHINES / kind / f"{name}.tar.gz").exists())
            with tarfile.open(archive) as packed:
                packed.extraction_filter = getattr(tarfile, "tar_filter", None)  # Python before 3.11.4 has none
                packed.extractall(folder)
        return folder / name

    return root


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Writes a small tree; a value that starts with `->` is a link."""

    def make(files: dict[str, str]) -> Path:
        for name, content in files.items():
            path = tmp_path / "root" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if content.startswith("->"):
                path.symlink_to(content[2:])
            else:
                path.write_text(content)
        return tmp_path / "root"

    return make


@pytest.fixture(scope="session")
def devices():
    return load_catalog()


SMALL_MACHINE = {
    "proc/cpuinfo": "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Test CPU\nflags\t: lm avx2 fma\n"
    "processor\t: 1\nflags\t: lm avx2 fma\n",
    "proc/meminfo": "MemTotal:       16777216 kB\nMemFree:        8388608 kB\nMemAvailable:   12582912 kB\n"
    "SwapTotal:      0 kB\n",
    "sys/devices/system/cpu/online": "0-3\n",
    "sys/devices/system/cpu/present": "0-3\n",
    **{
        f"sys/devices/system/cpu/cpu{i}/topology/{name}": text
        for i in range(4)
        for name, text in (("core_cpus_list", f"{i % 2},{i % 2 + 2}\n"), ("package_cpus_list", "0-3\n"))
    },
    "sys/devices/system/node/online": "0\n",
    "sys/devices/system/node/node0/cpulist": "0-3\n",
    "sys/devices/system/node/node0/meminfo": "Node 0 MemTotal:       16777216 kB\n",
    "sys/devices/system/node/node0/distance": "10\n",
}
