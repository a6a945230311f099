"""YAML as plain values plus the line of every key. Duplicate keys are errors; ``${VAR}`` is filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from guideway.core.errors import SpecError
from guideway.core.spec.not_yaml import not_yaml

_VARIABLE = re.compile(r"\$(?:\$|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\})")
_EXPONENT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")
"""A number such as ``1e-4``: YAML 1.2 says so, and so do people, but the parser follows 1.1 and takes it for text."""
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Keys = tuple[str | int, ...]


class Marked(msgspec.Struct, frozen=True):
    """A plain value, the file it came from, and the line (from 1) of each key in it."""

    value: Any
    file: str
    lines: dict[Keys, int]

    def has(self, keys: Keys) -> bool:
        """Was anything written at *keys*?"""
        return keys in self.lines

    def where(self, keys: Keys) -> str:
        """``file:line`` of *keys*, or of the nearest thing above it."""
        while keys and keys not in self.lines:
            keys = keys[:-1]
        return f"{self.file}:{self.lines.get(keys, 1)}"


def read_marked(path: Path, variables: Mapping[str, str]) -> Marked:
    """Read the YAML file *path*.

    Raises:
        SpecError: not UTF-8, not YAML, a key twice, or a variable that is not set.
    """
    text = ""
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=_Loader)
    except UnicodeDecodeError as error:
        raise SpecError(f"this file is not UTF-8 text (byte {error.start})", where=path.name) from None
    except yaml.MarkedYAMLError as error:
        raise not_yaml(error, text, path.name) from None
    except yaml.YAMLError as error:
        raise SpecError(f"not YAML: {str(error).splitlines()[0]}", where=path.name) from None
    reader = _Reader(path.name, variables)
    try:
        value = reader.read(node, ()) if node is not None else None
    except RecursionError:
        raise SpecError("an alias stands inside of what it refers to", where=path.name) from None
    return Marked(value=value, file=path.name, lines=reader.lines)


class _Reader:
    def __init__(self, file: str, variables: Mapping[str, str]) -> None:
        self.file, self.variables = file, variables
        self.lines: dict[Keys, int] = {}
        self.constructor = _Loader("")

    def read(self, node: yaml.Node, keys: Keys) -> Any:
        self.lines.setdefault(keys, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, keys)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(child, (*keys, index)) for index, child in enumerate(node.value)]
        assert isinstance(node, yaml.ScalarNode)
        return self._scalar(node)

    def _mapping(self, node: yaml.MappingNode, keys: Keys) -> dict[str, Any]:
        value: dict[str, Any] = {}
        for key_node, child in node.value:
            key = key_node.value
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise SpecError("a key must be a plain word", where=f"{self.file}:{line}")
            if key in value:
                first = self.lines[(*keys, key)]
                raise SpecError(f"'{key}' is here twice; first in line {first}", where=f"{self.file}:{line}")
            self.lines[(*keys, key)] = line
            value[key] = self.read(child, (*keys, key))
        return value

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        text = node.value
        filled = _VARIABLE.sub(lambda match: self._variable(match, node), text)
        if filled != text and not node.style:  # a plain scalar: what came in may be a number
            tag = self.constructor.resolve(yaml.ScalarNode, filled, (True, False))
            node = yaml.ScalarNode(tag, filled, node.start_mark, node.end_mark)
        elif filled != text:
            return filled
        if not node.style and node.tag == "tag:yaml.org,2002:str" and _EXPONENT.fullmatch(filled):
            return float(filled)
        try:
            return self.constructor.construct_object(node)
        except (yaml.YAMLError, ValueError):
            line = node.start_mark.line + 1
            raise SpecError(f"'{filled}' cannot be read", where=f"{self.file}:{line}", try_this="quote it") from None

    def _variable(self, match: re.Match[str], node: yaml.Node) -> str:
        name = match["name"]
        if name is None:
            return "$"
        value = self.variables.get(name, match["default"])
        if value is None:
            line = node.start_mark.line + 1
            raise SpecError(
                f"${{{name}}} is not set",
                where=f"{self.file}:{line}",
                try_this=f"set it, add it to .env, or write ${{{name}:-default}}",
            )
        return value
