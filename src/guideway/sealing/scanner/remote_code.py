"""Configurations that name code to run, or files elsewhere, at any depth of a document."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from guideway.sealing.scanner import paths, templates
from guideway.sealing.scanner.findings import shown

Pairs = list[tuple[str, Any]]
"""One object of a document with all its pairs, those of the same name too."""

REFERENCES: dict[str, str] = {
    "_target_": "Hydra",
    "class_path": "jsonargparse",
    "py/object": "jsonpickle",
    "py/reduce": "jsonpickle",
    "py/type": "jsonpickle",
    "py/function": "jsonpickle",
    "custom_pipelines": "transformers",
    "custom_generate": "transformers",
    "custom_ops_library": "onnxruntime",
    "custom_op_library": "onnxruntime",
    "custom_ops_libraries": "onnxruntime",
}
"""Keys whose value a library imports, calls or loads, and that library."""
_DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")
TRUSTED_PACKAGES = ("sentence_transformers.", "transformers.", "torch.nn.")


def faults(value: Any) -> Iterator[tuple[str, str]]:
    """Rule and words for everything wrong within a document of lists, pairs and values."""
    todo = [value]
    while todo:
        one = todo.pop()
        if isinstance(one, list):
            pairs = [pair for pair in one if isinstance(pair, tuple)]
            yield from _object(pairs)
            todo.extend(pair[1] for pair in pairs)
            todo.extend(item for item in one if isinstance(item, list))


def _object(pairs: Pairs) -> Iterator[tuple[str, str]]:
    names = {name for name, _ in pairs}
    for name, value in pairs:
        yield from _pair(name, value)
        if name == "module" and isinstance(value, str) and "class_name" in names:
            yield "keras", f"is a Keras configuration that names {shown(value)}"
        if name == "type" and "path" in names and _foreign(value):
            yield "code-reference", f"names the class {shown(value)} to load"


def _pair(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if name == "auto_map" and value and isinstance(value, str | list):
        yield "auto-map", "wants to run code of its own (auto_map)"
    elif name == "trust_remote_code" and (value is True or str(value).lower() == "true"):
        yield "trust-remote-code", "asks to trust remote code"
    elif name in REFERENCES and value and isinstance(value, str | list):
        yield "code-reference", f"names code for {REFERENCES[name]} to load ({name})"
    elif name == "parent_library" and _foreign(value):
        yield "code-reference", f"names the library {shown(value)} to import"
    elif name == "weight_map" and isinstance(value, list):
        yield from _weights(value)
    elif "template" in name:
        for text in _texts(value):
            yield from templates.faults(text)


def _foreign(value: Any) -> bool:
    dotted = isinstance(value, str) and _DOTTED.fullmatch(value)
    return bool(dotted) and not value.startswith(TRUSTED_PACKAGES)


def _weights(pairs: Iterable[Any]) -> Iterator[tuple[str, str]]:
    """Paths that an index of weights takes files from."""
    for place in sorted({pair[1] for pair in pairs if isinstance(pair, tuple) and isinstance(pair[1], str)}):
        fault = paths.fault(place)
        if fault:
            yield "path", f"takes weights from '{shown(place)}', which {fault}"


def _texts(value: Any) -> Iterator[str]:
    """Texts under a name with *template*: one, several in a list, or several under names."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            inner = item[1] if isinstance(item, tuple) else item
            if isinstance(inner, str):
                yield inner
            elif isinstance(inner, list):
                yield from (pair[1] for pair in inner if isinstance(pair, tuple) and isinstance(pair[1], str))
