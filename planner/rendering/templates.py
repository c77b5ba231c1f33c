"""The templates: found beside or inside the package, overridden file by file, filled strictly."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from planner.errors import RenderError
from planner.rendering import quoting

if TYPE_CHECKING:
    from jinja2 import Environment

# Folders that every target draws on beside its own.
SHARED_FOLDERS = ("readme", "router", "jobs", "observability", "exports")


def template_folder() -> Path:
    """The shipped templates: in the installed package, else in the checkout beside it."""
    package = Path(__file__).parents[1]
    inside = package / "_data" / "templates"
    return inside if inside.is_dir() else package.parent / "templates"


class TemplateSet:
    """The templates of one target, with a digest over everything that may shape its files. `shared`: what each of
    them may use beside its own values."""

    def __init__(
        self, target: str, override: Path | str | None = None, shared: Mapping[str, object] | None = None
    ) -> None:
        folders = [template_folder()] if override is None else [Path(override), template_folder()]
        if override is not None and not Path(override).is_dir():
            raise RenderError(f"templates folder {override} does not exist", hint="--templates names a folder")
        self.texts: dict[str, str] = {}
        for folder in reversed(folders):
            self.texts.update(_texts(folder, (target, *SHARED_FOLDERS)))
        self.digest = template_digest(self.texts)
        self._shared = shared or {}

    def text(self, name: str) -> str:
        """A template as it stands, unfilled."""
        if name not in self.texts:
            raise RenderError(f"template {name} is missing", hint="reinstall planner, or add it to --templates")
        return self.texts[name]

    def fill(self, name: str, values: Mapping[str, object]) -> str:
        """The filled template. Raises RenderError naming the template and line of the fault."""
        import jinja2

        self.text(name)
        environment = _environment(tuple(sorted(self.texts.items())))
        try:
            return environment.get_template(name).render({**self._shared, **values})
        except jinja2.TemplateSyntaxError as error:
            raise RenderError(f"template {error.name}, line {error.lineno}: {error.message}") from error
        except jinja2.TemplateError as error:
            raise RenderError(f"template {name}: {error}", hint="templates may use only what the plan gives") from error


def template_digest(texts: Mapping[str, str]) -> str:
    """First 12 hex digits of the sha256 over names and texts of some templates."""
    joined = "".join(f"{name}\n{len(text)}\n{text}" for name, text in sorted(texts.items()))
    return hashlib.sha256(joined.encode()).hexdigest()[:12]


def _texts(folder: Path, parts: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for part in parts:
        for path in sorted((folder / part).glob("*")):
            if path.is_file():
                found[f"{part}/{path.name}"] = path.read_text(encoding="utf-8")
    return found


@lru_cache(maxsize=8)
def _environment(texts: tuple[tuple[str, str], ...]) -> Environment:
    """Compiled templates, kept for the next bundle: compiling costs more than filling."""
    import jinja2

    environment = jinja2.Environment(  # noqa: S701 - no HTML here: each format has its own quoting filter
        loader=jinja2.DictLoader(dict(texts)),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        compose=quoting.compose_scalar,
        kubernetes=quoting.kubernetes_scalar,
        yaml=quoting.yaml_scalar,
        yaml_text=quoting.yaml_text,
        shell=quoting.shell_word,
        unit=quoting.systemd_assignment,
        xml=quoting.xml_text,
        xml_comment=quoting.xml_comment,
        line=quoting.one_line,
        cell=quoting.table_cell,
    )
    environment.tests["match"] = lambda text, pattern: re.match(pattern, text) is not None
    return environment
