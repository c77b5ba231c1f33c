"""Strict reading of YAML: no repeated keys, no value that means something else than it looks like.

PyYAML reads YAML 1.1. Here `no`, `on`, `4:16`, `0123` as plain values are errors that ask for quotes, dates stay text,
and a repeated key is refused.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from planner.errors import CatalogError

if TYPE_CHECKING:
    from yaml import MappingNode, Node, SafeLoader, ScalarNode

_BOOLEANS = {"true": True, "True": True, "false": False, "False": False}
_DEEPEST = 500
_BRACKETS = re.compile(rb"[\[\]{}]")
_DEEP_INDENT = re.compile(rb"^[ ?:-]{%d}" % _DEEPEST, re.MULTILINE)
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9_]*|0x[0-9a-fA-F_]+)")


def parse_yaml(text: str | bytes, name: str) -> object:
    """The plain value of one YAML document. `name` stands in messages.

    Raises CatalogError with line and column for broken YAML, repeated keys and ambiguous plain values."""
    import yaml

    _refuse_depth(text, name)
    loader = _loader_class()(text)
    try:
        return loader.get_single_data()
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise _refusal(error, name) from None
    finally:
        loader.dispose()


def parse_foreign_yaml(text: str, name: str) -> list[Any]:
    """The plain values of all documents of somebody else's file, read as YAML 1.1, repeated keys and all.

    Raises CatalogError with line and column for broken YAML."""
    import yaml

    _refuse_depth(text, name)
    try:
        return list(yaml.load_all(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)))  # both are safe
    except (yaml.YAMLError, ValueError) as error:
        raise _refusal(error, name) from None


def _refusal(error: Exception, name: str) -> CatalogError:
    """What is wrong with a text that is no YAML, and where."""
    import yaml

    if not isinstance(error, yaml.MarkedYAMLError):
        return CatalogError(f"{name}: not readable as YAML: {error}")
    mark = error.problem_mark or error.context_mark
    where = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
    return CatalogError(f"{where}: {error.problem or error.context}", hint=getattr(error, "hint", None))


def _refuse_depth(text: str | bytes, name: str) -> None:
    """The C library composes by recursion: nesting of some ten thousand levels would end the process. A block level
    takes at least a column of indentation, a flow level a bracket."""
    content = text.encode() if isinstance(text, str) else text
    depth = 0
    for bracket in _BRACKETS.finditer(content):
        depth += 1 if bracket[0] in b"[{" else -1
        if depth > _DEEPEST:
            raise CatalogError(f"{name}: nested too deeply")
    if _DEEP_INDENT.search(content):
        raise CatalogError(f"{name}: nested too deeply")


@cache
def _loader_class() -> type[SafeLoader]:
    """The safe loader in C where it was built (8 times faster), with our stricter rules on top."""
    import yaml

    base = cast("type[SafeLoader]", getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    strict = cast("type[SafeLoader]", type("StrictLoader", (base,), {}))
    strict.yaml_implicit_resolvers = {
        first: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:timestamp"]
        for first, pairs in base.yaml_implicit_resolvers.items()
    }
    strict.add_constructor("tag:yaml.org,2002:map", _construct_map)
    strict.add_constructor("tag:yaml.org,2002:bool", _construct_bool)
    strict.add_constructor("tag:yaml.org,2002:int", _construct_int)
    strict.add_constructor("tag:yaml.org,2002:float", _construct_float)
    return strict


def _refuse(node: Node, problem: str, hint: str | None = None) -> Exception:
    from yaml.constructor import ConstructorError

    error = ConstructorError(None, None, problem, node.start_mark)
    error.hint = hint  # type: ignore[attr-defined]
    return error


def _construct_map(loader: SafeLoader, node: MappingNode) -> Any:
    result: dict[Any, Any] = {}
    yield result
    loader.flatten_mapping(node)
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, (str, int, float)):
            raise _refuse(key_node, "a key must be text or a number")
        if key in result:
            raise _refuse(key_node, f"the key {key!r} stands here twice", "keep one of the two")
        result[key] = loader.construct_object(value_node, deep=True)


def _construct_bool(_loader: SafeLoader, node: ScalarNode) -> bool:
    if node.value not in _BOOLEANS:
        raise _refuse(
            node, f"{node.value!r} is a boolean in YAML 1.1", f"write true or false, or quote it: '{node.value}'"
        )
    return _BOOLEANS[node.value]


def _construct_int(_loader: SafeLoader, node: ScalarNode) -> int:
    text = node.value
    if not _INTEGER.fullmatch(text):
        raise _refuse(node, f"{text!r} is read as another number in YAML 1.1", f"quote it: '{text}'")
    return int(text.replace("_", ""), 0)


def _construct_float(loader: SafeLoader, node: ScalarNode) -> float:
    if ":" in node.value:
        raise _refuse(node, f"{node.value!r} is a base-60 number in YAML 1.1", f"quote it: '{node.value}'")
    return float(loader.construct_yaml_float(node))
