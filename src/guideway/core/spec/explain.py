"""What msgspec finds wrong in a spec, in plain words: what, under which key and in which line, and what to do."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from guideway.core.errors import SpecError, did_you_mean
from guideway.core.spec.marked import Marked
from guideway.core.spec.model import Spec

_AT_PATH = re.compile(r"(?P<what>.*?)(?: - at `(?P<key>key)` in)?(?: - at)?(?: `(?P<path>\$.*)`)?", re.DOTALL)
_EXPECTED = re.compile(r"Expected `(?P<kinds>[^`]+)`(?: (?P<bound>.+?))?(?:, got `(?P<got>.+)`)?")
_BOUND = re.compile(r"(?P<length>of length )?(?P<sign>>=|<=|==|>|<) (?P<number>\S+)")
_NOWHERE: dict[tuple[str | int, ...], str] = {
    ("serve", "guardrails", "outlier", "route"): "a gateway serves one model: there is none to route to; use refuse, "
    "whose answer says content_filter, and ask another model then",
}
"""Keys that people look for, and why there are none."""
_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "a mapping of keys",
    "null": "nothing",
    "date": "a date",
    "datetime": "a time",
}
_SIGNS = {">=": "at least", ">": "more than", "<=": "at most", "<": "less than", "==": "exactly"}


def explained(error: msgspec.ValidationError, plain: Any, marked: Marked, environment: str) -> SpecError:
    """*error* as one that people see; *plain* is what was read, with the overlay of *environment* laid over it."""
    match = _AT_PATH.fullmatch(str(error))
    assert match
    what, keys, advice = match["what"], _keys(match["path"] or "$", plain, str(error)), None
    if unknown := re.search(r"unknown field `(.*?)`", what):
        advice = _NOWHERE.get((*keys, unknown[1])) or did_you_mean(unknown[1], _fields_at(keys))
        keys = (*keys, unknown[1])
        return SpecError(f"unknown key '{unknown[1]}'", where=_where(keys, marked, environment), try_this=advice)
    if wrong := re.fullmatch(r"Invalid enum value '(.*)'", what):
        choices = _choices_at(keys, of_key=bool(match["key"]))
        near = did_you_mean(wrong[1], choices)
        what, advice = f"'{wrong[1]}' is not one of {', '.join(choices)}", None if "known: " in near else near
    elif "matching regex" in what:
        what, advice = "this cannot be a name", "small letters, digits, '.', '_' and '-', 63 at most"
    else:
        what, advice = in_words(what)
    dotted = ".".join(map(str, keys))
    return SpecError(f"{dotted or 'spec'}: {what}", where=_where(keys, marked, environment), try_this=advice)


def _where(keys: tuple[str | int, ...], marked: Marked, environment: str) -> str:
    overlaid = ("environments", environment, *keys)
    return marked.where(overlaid if marked.has(overlaid) else keys)


def in_words(what: str) -> tuple[str, str | None]:
    """What must stand there, without the words of a programming language; and advice."""
    if missing := re.fullmatch(r"Object missing required field `(.*)`", what):
        return f"'{missing[1]}' is missing", None
    found = _EXPECTED.fullmatch(what)
    if found is None:
        return what[0].lower() + what[1:].replace("`", "'"), None
    bound = _BOUND.fullmatch(found["bound"] or "")
    if bound:
        return f"must {_bound(bound)}", None
    kinds = [kind for kind in found["kinds"].split(" | ") if kind != "null"]
    must = f"must be {' or '.join(_KINDS.get(kind, kind) for kind in kinds)}"
    got = found["got"]
    if got == "null":
        return f"{must}, and nothing is written here", None
    if got == "float" and "int" in kinds:
        return f"{must}, not a fraction", None
    quoted = (
        "put it between quotes" if kinds == ["str"] and got in ("int", "float", "bool", "date", "datetime") else None
    )
    given = "a number" if got == "int" else _KINDS.get(got, got)
    return f"{must}, not {given}" if got else must, quoted


def _bound(bound: re.Match[str]) -> str:
    number = f"{float(bound['number']):g}"
    if not bound["length"]:
        return f"be {_SIGNS[bound['sign']]} {number}"
    return (
        "not be empty" if (bound["sign"], number) == (">=", "1") else f"have {_SIGNS[bound['sign']]} {number} entries"
    )


def _keys(path: str, plain: Any, message: str) -> tuple[str | int, ...]:
    """``$.data.splits[...].share`` as keys; ``[...]`` hides which key."""
    keys: list[str | int] = []
    for name, index in re.findall(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]", path):
        keys.append(name if name else int(index) if index.isdigit() else _culprit(plain, keys, message))
    return tuple(keys)


def _culprit(plain: Any, keys: Sequence[str | int], message: str) -> str:
    """The key of the mapping at *keys* that is wrong in this way when it is alone."""
    place = plain
    for key in keys:
        place = place[key]
    for name in place:
        try:
            msgspec.convert(_only(plain, keys, name), Spec)
        except msgspec.ValidationError as error:
            if str(error) == message:
                return str(name)
    return ""


def _only(value: Any, keys: Sequence[str | int], name: str) -> Any:
    """*value*, in which the mapping at *keys* has nothing but *name*."""
    if not keys:
        return {name: value[name]}
    changed = value.copy()
    changed[keys[0]] = _only(value[keys[0]], keys[1:], name)
    return changed


def _fields_at(keys: tuple[str | int, ...]) -> tuple[str, ...]:
    """The fields of the struct at *keys*, for did-you-mean."""
    kind: Any = msgspec.inspect.type_info(Spec)
    for key in keys:
        kind = _descend(kind, key)
    fields = getattr(kind, "fields", ())
    return tuple(field.encode_name for field in fields)


def _choices_at(keys: tuple[str | int, ...], *, of_key: bool) -> tuple[str, ...]:
    """The words that the value at *keys* may be, or that a key in it may be."""
    *above, last = keys
    kind: Any = msgspec.inspect.type_info(Spec)
    for key in above:
        kind = _descend(kind, key)
    found = next((field.type for field in getattr(kind, "fields", ()) if field.encode_name == last), kind)
    for one in getattr(found, "types", (found,)):
        is_mapping = isinstance(one, msgspec.inspect.DictType)
        inner = (one.key_type if of_key else one.value_type) if is_mapping else one
        if isinstance(inner, msgspec.inspect.LiteralType):
            return tuple(map(str, inner.values))
    return ()


def _descend(kind: Any, key: str | int) -> Any:
    if isinstance(kind, msgspec.inspect.StructType):
        kind = next((field.type for field in kind.fields if field.encode_name == key), None)
    elif isinstance(kind, msgspec.inspect.DictType):
        kind = kind.value_type
    elif isinstance(kind, msgspec.inspect.VarTupleType):
        kind = kind.item_type
    if isinstance(kind, msgspec.inspect.UnionType):
        kind = next((one for one in kind.types if isinstance(one, msgspec.inspect.StructType)), None)
    return kind
