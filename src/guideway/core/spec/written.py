"""What of a spec somebody wrote: all of it that no default says. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import msgspec
from msgspec import inspect

from guideway.core.spec.model import Spec

_Fields = Mapping[str, inspect.Field]
_LISTS = (inspect.ListType, inspect.VarTupleType)


def written(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The build part *spec*, as plain data, without the keys whose value is their default.

    A list is left out whole or not at all, so that places in it stay what they were. Keys that this version does not
    know, those of another one, were written.
    """
    found: dict[str, Any] = _kept(spec, inspect.type_info(Spec))
    return found


def _kept(value: Any, kind: inspect.Type | None) -> Any:
    if isinstance(value, Mapping):
        fields, other = _fields_of(kind)
        pairs = ((name, one, fields.get(name)) for name, one in value.items())
        return {
            name: _kept(one, field.type if field else other)
            for name, one, field in pairs
            if field is None or not _says(field, one)
        }
    if isinstance(value, list | tuple):
        item = next((one.item_type for one in _alternatives(kind) if isinstance(one, _LISTS)), None)
        return [_kept(one, item) for one in value]
    return value


def _says(field: inspect.Field, value: Any) -> bool:
    """Is *value* what *field* has where nothing is written?"""
    if field.default is not msgspec.NODEFAULT:
        return bool(value == _plain(field.default))
    return field.default_factory is not msgspec.NODEFAULT and bool(value == _plain(field.default_factory()))


def _plain(value: Any) -> Any:
    """*value* as a reader of JSON sees it."""
    return msgspec.json.decode(msgspec.json.encode(value))


def _fields_of(kind: inspect.Type | None) -> tuple[_Fields, inspect.Type | None]:
    """The keys of *kind* that are known, and what the others hold."""
    for one in _alternatives(kind):
        if isinstance(one, inspect.StructType):
            return _named(one.cls), None
        if isinstance(one, inspect.DictType):
            return {}, one.value_type
    return {}, None


@cache
def _named(part: type) -> _Fields:
    found = inspect.type_info(part)
    assert isinstance(found, inspect.StructType)
    return {field.encode_name: field for field in found.fields}


def _alternatives(kind: inspect.Type | None) -> tuple[inspect.Type, ...]:
    """What *kind* may be, without notes for readers."""
    if isinstance(kind, inspect.Metadata):
        return _alternatives(kind.type)
    if isinstance(kind, inspect.UnionType):
        return tuple(inner for one in kind.types for inner in _alternatives(one))
    return () if kind is None else (kind,)
