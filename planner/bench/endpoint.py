"""Where the server is: the URL that a person names, and the key it wants."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from planner.errors import PlannerError, UsageError

_PORTS = {"http": 80, "https": 443}
_EXAMPLE = "write it like http://127.0.0.1:8080"
_LARGEST_KEY_BYTES = 64 * 1024


@dataclass(frozen=True)
class Endpoint:
    """A server's address. `root` is the path below which `/v1` lies, without a slash at its end."""

    scheme: str
    host: str
    port: int
    root: str = ""

    @property
    def url(self) -> str:
        """As a person writes it; it never holds a secret."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.root}"


def parse_endpoint(url: str) -> Endpoint:
    """`http://host:8080`, with or without `/v1` and scheme. Raises UsageError for anything else."""
    text = url.strip()
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        port = parts.port
    except ValueError as error:
        raise UsageError(f"{url!r} is no URL: {error}", hint=_EXAMPLE) from None
    if parts.scheme not in _PORTS:
        raise UsageError(f"{url!r}: {parts.scheme}:// is not spoken here", hint=_EXAMPLE)
    if parts.username or parts.password:
        raise UsageError("a URL with user or password ends up in logs", hint="put the key in a file: --api-key-file")
    if not parts.hostname or any(character.isspace() or ord(character) < 32 for character in text):
        raise UsageError(f"{url!r} names no host", hint=_EXAMPLE)
    if parts.query or parts.fragment:
        raise UsageError(f"{url!r} has a query, which no API root has", hint=_EXAMPLE)
    root = parts.path.rstrip("/").removesuffix("/v1").rstrip("/")
    return Endpoint(parts.scheme, parts.hostname, port if port is not None else _PORTS[parts.scheme], root)


def read_api_key(file: Path | None) -> str | None:
    """The key in a file, without blanks around it; None without a file. Raises PlannerError when there is none."""
    if file is None:
        return None
    try:
        with file.open("rb") as opened:
            key = opened.read(_LARGEST_KEY_BYTES).decode().strip()
    except OSError as error:
        raise PlannerError(f"{file}: cannot be read: {error.strerror}", hint="name the file with the API key") from None
    except UnicodeDecodeError:
        raise PlannerError(f"{file}: not text", hint="the file holds the key and nothing else") from None
    if not key or any(ord(character) < 32 for character in key):
        raise PlannerError(f"{file}: holds no single key", hint="one line: the key and nothing else")
    if not key.isascii():
        raise PlannerError(f"{file}: an HTTP header holds ASCII only", hint="use a key of letters and digits")
    return key
