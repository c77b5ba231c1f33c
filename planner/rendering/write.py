"""A bundle on disk: written whole or not at all, compared, and rid of what an older plan left."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Literal

import msgspec

from planner.errors import RenderError
from planner.rendering.bundle import Bundle

_MANIFEST_PREFIX = "planner-manifest."


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One file that is not as rendered: not there, other text, other mode, or left by an older plan."""

    path: str
    kind: Literal["missing", "different", "mode", "stale"]

    def __str__(self) -> str:
        return f"{self.kind}: {self.path}"


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """What writing did, by path. `kept`: stale files that somebody has edited since; they stay."""

    changed: tuple[str, ...]
    unchanged: tuple[str, ...]
    removed: tuple[str, ...]
    kept: tuple[str, ...] = ()


def check_bundle(bundle: Bundle, folder: str | Path) -> tuple[Difference, ...]:
    """Differences between the folder and the bundle, by path; empty when they agree. Writes nothing."""
    root = Path(folder)
    found = []
    for path in bundle:
        target = _inside(root, path)
        current = _read(target)
        if current is None:
            found.append(Difference(path=path, kind="missing"))
        elif not _same(path, current, bundle[path]):
            found.append(Difference(path=path, kind="different"))
        elif _mode_differs(target, bundle.modes[path]):
            found.append(Difference(path=path, kind="mode"))
    found += [Difference(path=path, kind="stale") for path, _ in _stale(bundle, root)]
    return tuple(sorted(found, key=lambda difference: difference.path))


def diff_bundle(bundle: Bundle, folder: str | Path) -> str:
    """The unified diff from the folder to the bundle."""
    root = Path(folder)
    lines: list[str] = []
    texts: dict[str, str | None] = dict(bundle)
    texts |= {path: None for path, _ in _stale(bundle, root)}
    for path, text in sorted(texts.items()):
        current = _read(_inside(root, path))
        if text is not None and current is not None and _same(path, current, text):
            continue
        old = (current or b"").decode(errors="replace").splitlines(keepends=True)
        new = (text or "").splitlines(keepends=True)
        names = (path if current is not None else "/dev/null", path if text is not None else "/dev/null")
        changes = difflib.unified_diff(old, new, *names)
        lines += [line if line.endswith("\n") else line + "\n\\ No newline at end of file\n" for line in changes]
    return "".join(lines)


def write_bundle(bundle: Bundle, folder: str | Path) -> Written:
    """Write what differs, leave what is the same untouched, remove what an older manifest of the same target names.

    Every text lies on the disk before the first file is replaced. Raises RenderError when the folder cannot take it,
    with nothing half-written, and for a path that would lead outside the folder.
    """
    root = Path(folder)
    stale = _stale(bundle, root)
    wanted = {path: _inside(root, path) for path in bundle}
    differing = [
        path
        for path, target in wanted.items()
        if (current := _read(target)) is None
        or not _same(path, current, bundle[path])
        or _mode_differs(target, bundle.modes[path])
    ]
    with _failing_as_one(root) as undo:
        temporary = {path: _temporary(wanted[path], bundle[path], bundle.modes[path], undo) for path in differing}
        undo.clear_folders_on_success()
        for path, source in temporary.items():
            source.replace(wanted[path])
        removed = [path for path, edited in stale if not edited]
        for path in removed:
            _remove(root, path)
    return Written(
        changed=tuple(differing),
        unchanged=tuple(path for path in bundle if path not in temporary),
        removed=tuple(removed),
        kept=tuple(path for path, edited in stale if edited),
    )


def _inside(root: Path, path: str) -> Path:
    """The file below the root. Raises RenderError when the path, or a link on its way, leads out of it."""
    pure = PurePosixPath(path)
    if not path or pure.is_absolute() or ".." in pure.parts or "\\" in path:
        raise RenderError(f"{path!r} leads outside the bundle's folder")
    target = root.joinpath(*pure.parts)
    real_root = os.path.realpath(root)
    real = os.path.realpath(target.parent)
    if real != real_root and not real.startswith(real_root.rstrip(os.sep) + os.sep):
        raise RenderError(
            f"{target} leads outside {root} through a link", hint="remove the link, or name another folder"
        )
    return target


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise RenderError(f"{path} cannot be read: {error.strerror}") from error


def _same(path: str, current: bytes, text: str) -> bool:
    """Equal bytes; a manifest may name another planner version, or every release would be a difference."""
    if current == text.encode():
        return True
    if not PurePosixPath(path).name.startswith(_MANIFEST_PREFIX):
        return False
    try:
        version = json.loads(current)["planner_version"]
    except (ValueError, KeyError, TypeError):
        return False
    ours = json.loads(text)["planner_version"]
    return current == text.replace(_version_entry(ours), _version_entry(version)).encode()


def _version_entry(version: object) -> str:
    return f'"planner_version": {json.dumps(version)}'


def _mode_differs(path: Path, mode: int) -> bool:
    """Whether a script lost its execute bit or a plain file has one; other bits are the folder owner's affair."""
    return os.name == "posix" and bool(path.stat().st_mode & 0o100) != bool(mode & 0o100)


def _stale(bundle: Bundle, root: Path) -> list[tuple[str, bool]]:
    """Files of the manifests on disk that the bundle has no more, and whether somebody edited them."""
    found = []
    for manifest in (path for path in bundle if PurePosixPath(path).name.startswith(_MANIFEST_PREFIX)):
        below = str(PurePosixPath(manifest).parent)
        for name, digest in _manifest_files(_inside(root, manifest)):
            path = name if below == "." else f"{below}/{name}"
            current = None if path in bundle else _read(_inside(root, path))
            if current is not None:
                found.append((path, hashlib.sha256(current).hexdigest() != digest))
    return sorted(found)


def _manifest_files(path: Path) -> list[tuple[str, str]]:
    content = _read(path)
    if content is None:
        return []
    try:
        return [(str(entry["path"]), str(entry["sha256"])) for entry in json.loads(content)["files"]]
    except (ValueError, KeyError, TypeError) as error:
        raise RenderError(f"{path} is no manifest of planner", hint="delete it, then render again") from error


def _remove(root: Path, path: str) -> None:
    target = _inside(root, path)
    target.unlink()
    for parent in target.parents:
        if parent == root:
            break
        try:
            parent.rmdir()  # only when it is empty now
        except OSError:
            break


class _Undo:
    """What a failed write leaves behind, to be taken away again."""

    def __init__(self) -> None:
        self.files: list[Path] = []
        self.folders: list[Path] = []

    def clear_folders_on_success(self) -> None:
        """From here on files move into place: the folders stay."""
        self.folders.clear()

    def run(self) -> None:
        """Remove the temporary files and the folders made for them."""
        for file in self.files:
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True)
        for folder in reversed(self.folders):
            with contextlib.suppress(OSError):
                folder.rmdir()


@contextlib.contextmanager
def _failing_as_one(root: Path) -> Iterator[_Undo]:
    undo = _Undo()
    try:
        yield undo
    except OSError as error:
        raise RenderError(
            f"cannot write to {root}: {error.strerror or error}", hint="make room or name another --out folder"
        ) from error
    finally:
        undo.run()


def _make_folders(folder: Path, undo: _Undo) -> None:
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for path in reversed(missing):
        path.mkdir()
        undo.folders.append(path)


def _temporary(target: Path, text: str, mode: int, undo: _Undo) -> Path:
    """The text beside its place, on the disk, under a name of its own."""
    if target.is_dir():
        raise RenderError(f"{target} is a folder where a file belongs", hint="move it away")
    _make_folders(target.parent, undo)
    descriptor, name = tempfile.mkstemp(prefix=".planner-", dir=target.parent)
    path = Path(name)
    undo.files.append(path)
    with os.fdopen(descriptor, "wb") as file:
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())
    path.chmod(mode)
    return path
