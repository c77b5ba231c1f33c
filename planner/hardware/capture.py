"""`probe --capture`: every file that the probe read, in an archive that `--root` replays elsewhere.

Serial numbers, addresses and names of the host are not among what is read, or are taken out here.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import msgspec

from planner.errors import ProbeError
from planner.hardware.bandwidth import SAVED_FILE
from planner.hardware.bandwidth_cache import Measurement
from planner.hardware.capture_files import LIVE_FILE, NVML_FILE, Live
from planner.hardware.facts import Hardware
from planner.hardware.nvidia import Driver
from planner.hardware.redaction import LEFT_OUT, cleaned, without_ids
from planner.hardware.tree import Tree

TOP = "machine"
_MOST_PARTS = 4096  # a chain of links that is longer goes in circles


def write_capture(
    path: str | Path, tree: Tree, hardware: Hardware, driver: Driver, measured: Measurement | None
) -> None:
    """Writes a .tar.gz of the files read, with NVML's answers, the bandwidth, and what the running kernel said; without
    calibrations, which stay on their machine. Raises ProbeError when it cannot be written."""
    if hardware.os.name != "linux" and tree.live:
        raise ProbeError(
            "--capture collects the files of a Linux machine",
            hint="elsewhere: planner probe --save FILE; of a Mac also: sysctl -a > mac.txt, for --import",
        )
    files, links = collect(tree)
    folders = _empty_folders(tree, files, links)
    if driver != Driver():
        files[NVML_FILE] = msgspec.json.encode(without_ids(driver))
    if measured is not None:
        files[SAVED_FILE] = msgspec.json.encode(measured)
    if tree.live:
        files[LIVE_FILE] = msgspec.json.encode(_live(tree, hardware))
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in sorted(files.items()):
            member = tarfile.TarInfo(f"{TOP}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for name in folders:
            member = tarfile.TarInfo(f"{TOP}/{name}")
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(member)
        for name, target in sorted(links.items()):
            member = tarfile.TarInfo(f"{TOP}/{name}")
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
    try:
        Path(path).write_bytes(buffer.getvalue())
    except OSError as error:
        raise ProbeError(f"{path}: {error.strerror or 'cannot be written'}") from error


def _live(tree: Tree, hardware: Hardware) -> Live:
    return Live(
        architecture=hardware.cpu.architecture,
        page_bytes=hardware.os.page_bytes,
        allowed_cpus=tuple(sorted(os.sched_getaffinity(0))),
        disk=hardware.disk,
        denied_paths=tuple(sorted(tree.denied_paths)),
    )


def collect(tree: Tree) -> tuple[dict[str, bytes], dict[str, str]]:
    """(content by path, link target by path) of what was read; each file stands where its links lead."""
    files: dict[str, bytes] = {}
    links: dict[str, str] = {}
    places: dict[str, str] = {}  # folders are followed once
    for name in sorted(tree.contents.keys() | tree.seen_paths):
        if LEFT_OUT.fullmatch(name):
            continue
        folder, _, base = name.rpartition("/")
        if folder not in places:
            places[folder] = _follow(tree.root, folder, links)
        place = _follow(tree.root, f"{places[folder]}/{base}", links, places[folder])
        if name in tree.contents or Path(tree.root, place).is_file():
            files[place] = tree.contents.get(name, b"")
    return cleaned(files, tree), {name: target for name, target in links.items() if name not in files}


def _empty_folders(tree: Tree, files: dict[str, bytes], links: dict[str, str]) -> list[str]:
    """Folders whose mere existence was looked at (`cpu7` beside a read `cpu6`) and that hold no file kept here."""
    found = set()
    for listed in tree.listed_paths:
        place = _follow(tree.root, listed, links)
        for name in tree.names(listed):
            child = Path(tree.root, place, name)
            if child.is_dir() and not child.is_symlink() and not name.isdecimal():
                found.add(f"{place}/{name}")
    filled = {str(folder) for file in files for folder in PurePosixPath(file).parents}
    return sorted(found - filled)


def _follow(root: str, name: str, links: dict[str, str], followed: str = "") -> str:
    """The path without links; every link on the way is added to `links`. The beginning of it that was `followed`
    before holds none. `/proc/self` stays as it is: it names a process that exists nowhere else."""
    done = followed.split("/") if followed else []
    parts = name.split("/")[len(done) :]
    for _ in range(_MOST_PARTS):
        if not parts:
            break
        part = parts.pop(0)
        if part in {"", "."}:
            continue
        if part == "..":
            done = done[:-1]
            continue
        here = "/".join([*done, part])
        place = Path(root, here)
        if here == "proc/self" or not place.is_symlink():
            done.append(part)
            continue
        target = str(place.readlink())
        if target.startswith("/"):
            target = os.path.relpath(target, "/" + "/".join(done))
        links[here] = target
        parts = target.split("/") + parts
    return "/".join(done)


def unpack(archive: tarfile.TarFile, folder: Path) -> None:
    """Writes every member below `folder`. Raises TarError for one that lies or points elsewhere, or is no plain file.

    Checked here too, because Python has the filter that does it from 3.11.4 on only.
    """
    archive.extraction_filter = getattr(tarfile, "data_filter", None)
    top = folder.resolve()
    for member in archive:
        place = top / member.name
        reached = [place]
        if member.issym():
            reached.append(place.parent / member.linkname)
        elif member.islnk():
            reached.append(top / member.linkname)
        elif not (member.isreg() or member.isdir()):
            raise tarfile.TarError(f"{member.name!r} is neither a file nor a folder nor a link")
        if not all(Path(os.path.realpath(path)).is_relative_to(top) for path in reached):
            raise tarfile.TarError(f"{member.name!r} leads outside of the archive")
        archive.extract(member, top, set_attrs=False)


@contextlib.contextmanager
def opened(root: str | Path) -> Iterator[str | Path]:
    """The top folder of a capture archive, unpacked for a while. Raises ProbeError when the archive is broken or
    reaches outside of itself."""
    with tempfile.TemporaryDirectory(prefix="planner-capture-") as folder:
        try:
            with tarfile.open(root) as archive:
                unpack(archive, Path(folder))
        except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
            raise ProbeError(f"{root}: not a usable capture: {error}") from error
        inside = [entry for entry in Path(folder).iterdir() if entry.is_dir()]
        yield inside[0] if len(inside) == 1 and inside[0].name not in {"proc", "sys"} else folder
