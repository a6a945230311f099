"""JSON Schema, as far as it can be kept to token by token: everything else is refused by its name."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from guideway.replica.constrain.automaton import Expressions, Node, TooLargeError
from guideway.replica.constrain.grammar import DEPTH, Json, Member

CHARACTERS = 64 * 1024
"""Of a schema, written as JSON."""
LEVELS = 32
"""How deep a schema may be nested; a reference is a level too."""
PLACES = 1_000
"""Of a schema, where a part that is referred to counts each time."""
COUNT = 100_000
"""The largest bound of a length or a number of items that is kept."""
NOTES = frozenset(
    {"title", "description", "default", "examples", "deprecated", "$schema", "$id", "$comment", "$defs", "definitions"}
)
"""Keywords that say nothing about what is valid where they stand."""
KEYWORDS: dict[str, frozenset[str]] = {
    "object": frozenset({"properties", "required", "additionalProperties"}),
    "array": frozenset({"items", "minItems", "maxItems"}),
    "string": frozenset({"minLength", "maxLength"}),
    "number": frozenset(),
    "integer": frozenset(),
    "boolean": frozenset(),
    "null": frozenset(),
}


class SchemaError(Exception):
    """A schema that cannot be kept to; the message names the keyword and its place."""


def compiled(schema: object, make: Expressions, json_: Json) -> Node:
    """The expression of all texts that *schema* allows us to write; *json_* belongs to *make*.

    Objects have their properties in the order of the schema, and no others unless there are none.

    Raises:
        SchemaError: it has a keyword that is not supported, or is too large.
    """
    try:
        if len(json.dumps(schema)) > CHARACTERS:
            raise SchemaError(f"the schema has more than {CHARACTERS} characters")
        return _Compiler(schema, make, json_).node(schema, "$", 0)
    except (TooLargeError, RecursionError):
        raise SchemaError("the schema is too large") from None


class _Compiler:
    """Walks one schema; *root* holds what references point at."""

    def __init__(self, root: object, make: Expressions, json_: Json) -> None:
        self._root, self._make, self._json, self._places = root, make, json_, 0
        self._kinds: dict[str, Callable[[Mapping[str, Any], str, int], Node]] = {
            "object": self._object,
            "array": self._array,
            "string": self._string,
        }

    def node(self, schema: object, place: str, depth: int) -> Node:
        """The expression of *schema*, which stands at *place*, so many levels deep."""
        if depth > LEVELS:
            raise SchemaError(f"{place}: more than {LEVELS} levels, or a reference to itself, are not supported")
        self._places += 1
        if self._places > PLACES:
            raise SchemaError("the schema is too large")
        if schema is True:
            return self._json.value(DEPTH)
        if not isinstance(schema, dict):
            raise SchemaError(f"{place}: a schema must be an object")
        rules = _plain({key: value for key, value in schema.items() if key not in NOTES}, place)
        for keyword, compile_ in (("$ref", self._reference), ("anyOf", self._any_of), ("enum", self._enum)):
            if keyword in rules:
                _only(rules, {keyword}, place)
                return compile_(rules[keyword], place, depth)
        return self._typed(rules, place, depth)

    def _typed(self, rules: Mapping[str, Any], place: str, depth: int) -> Node:
        kind = rules.get("type", "object" if "properties" in rules else None)
        if kind is None:
            _only(rules, set(), place)
            return self._json.value(DEPTH)
        kinds = kind if isinstance(kind, list) and kind else [kind]
        for one in kinds:
            if not isinstance(one, str) or one not in KEYWORDS:
                raise SchemaError(f"{place}.type: {json.dumps(one)} is not a type")
        _only(rules, {"type"}.union(*(KEYWORDS[one] for one in kinds)), place)
        return self._make.alt(*(self._kind(one, rules, place, depth) for one in kinds))

    def _kind(self, kind: str, rules: Mapping[str, Any], place: str, depth: int) -> Node:
        if kind in self._kinds:
            return self._kinds[kind](rules, place, depth)
        found: Node = getattr(self._json, kind)
        return found

    def _object(self, rules: Mapping[str, Any], place: str, depth: int) -> Node:
        properties, required = rules.get("properties", {}), rules.get("required", [])
        more = rules.get("additionalProperties", True)
        if not isinstance(properties, dict) or not isinstance(required, list):
            raise SchemaError(f"{place}: properties must be an object, required a list")
        if unknown := [name for name in required if name not in properties]:
            raise SchemaError(f"{place}.required: {json.dumps(unknown[0])} is not in properties")
        if not properties and more is not False:
            return self._json.map(self.node(more, f"{place}.additionalProperties", depth + 1))
        if not isinstance(more, bool):
            raise SchemaError(f"{place}: additionalProperties with a schema beside properties is not supported")
        members = [
            Member(name, self.node(inner, f"{place}.properties.{name}", depth + 1), name in required)
            for name, inner in properties.items()
        ]
        return self._json.object(members)

    def _array(self, rules: Mapping[str, Any], place: str, depth: int) -> Node:
        item = self.node(rules.get("items", True), f"{place}.items", depth + 1)
        return self._json.array(item, *_bounds(rules, "minItems", "maxItems", place))

    def _string(self, rules: Mapping[str, Any], place: str, _: int) -> Node:
        return self._json.string(*_bounds(rules, "minLength", "maxLength", place))

    def _enum(self, values: object, place: str, _: int) -> Node:
        if not isinstance(values, list) or not values:
            raise SchemaError(f"{place}.enum: must be a list of values")
        return self._json.constants(values)

    def _any_of(self, schemas: object, place: str, depth: int) -> Node:
        if not isinstance(schemas, list) or not schemas:
            raise SchemaError(f"{place}.anyOf: must be a list of schemas")
        branches = (self.node(one, f"{place}.anyOf[{number}]", depth + 1) for number, one in enumerate(schemas))
        return self._make.alt(*branches)

    def _reference(self, target: object, place: str, depth: int) -> Node:
        found = self._root
        for name in _steps(target, place):
            found = found.get(name) if isinstance(found, dict) else None
        if found is None:
            raise SchemaError(f"{place}.$ref: {json.dumps(target)} is not in this schema")
        return self.node(found, place, depth + 1)


def _steps(target: object, place: str) -> Iterator[str]:
    if not isinstance(target, str) or not target.startswith(("#/$defs/", "#/definitions/")):
        raise SchemaError(f"{place}.$ref: only references to #/$defs/… are supported")
    return (name.replace("~1", "/").replace("~0", "~") for name in target.split("/")[1:])


def _plain(rules: dict[str, Any], place: str) -> dict[str, Any]:
    """*rules* with ``const`` as ``enum``, and without a ``type`` that all values of an ``enum`` have."""
    if "const" in rules:
        rules["enum"] = [rules.pop("const")]
    if "enum" in rules and isinstance(rules["enum"], list) and "type" in rules:
        kinds = rules.pop("type")
        for value in rules["enum"]:
            if not any(_is(value, kind) for kind in (kinds if isinstance(kinds, list) else [kinds])):
                raise SchemaError(f"{place}.enum: {json.dumps(value)} is not of type {json.dumps(kinds)}")
    return rules


def _is(value: object, kind: object) -> bool:
    """Is *value* of the JSON type *kind*?"""
    kinds: dict[object, tuple[type, ...]] = {
        "object": (dict,), "array": (list,), "string": (str,), "boolean": (bool,), "null": (type(None),),
        "number": (int, float), "integer": (int,),
    }  # fmt: skip
    return isinstance(value, kinds.get(kind, ())) and (kind == "boolean" or not isinstance(value, bool))


def _only(rules: Mapping[str, Any], known: set[str] | frozenset[str], place: str) -> None:
    for keyword in rules:
        if keyword not in known:
            raise SchemaError(f"{place}: the keyword {json.dumps(keyword)} is not supported here")


def _bounds(rules: Mapping[str, Any], low: str, high: str, place: str) -> tuple[int, int | None]:
    least, most = rules.get(low, 0), rules.get(high)
    for name, bound in ((low, least), (high, most)):
        if bound is not None and not (type(bound) is int and 0 <= bound <= COUNT):
            raise SchemaError(f"{place}.{name}: must be a whole number from 0 to {COUNT}")
    if most is not None and most < least:
        raise SchemaError(f"{place}: {high} is less than {low}")
    return least, most
