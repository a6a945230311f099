"""Rows as text. Another version may have written one, with settings that this one does not know.

What only describes is read without them. An order is not carried out in part: its row says which settings are not as
they are by default, and where one of these is unknown here, it is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec

from guideway import __version__
from guideway.core.errors import Unavailable

Noun = TypeVar("Noun", bound=msgspec.Struct)
_UNKNOWN = re.compile(r"unknown field `(?P<name>.*?)`(?: - at `\$(?P<path>.*)`)?$")
_STEP = re.compile(r"\.\.\.|[^.\[\]]+")


class Written(msgspec.Struct, frozen=True):
    """Who wrote a row, and the paths of what differs from its default. An older version wrote neither."""

    by: str = "another version"
    set: tuple[str, ...] | None = None


class _Row(msgspec.Struct):
    written: Written = Written()


def write(noun: msgspec.Struct) -> str:
    """The row of an order: *noun*, with what a version must know that is to carry it out."""
    written = Written(__version__, tuple(_set(noun)))
    return msgspec.json.encode({**msgspec.to_builtins(noun), "written": written}).decode()


def read(body: str, noun: type[Noun], what: str, *, order: bool = False) -> Noun:
    """The *noun* in a row, which people call *what*; settings that are unknown here are left out.

    Raises:
        Unavailable: it cannot be read; or, of an *order*, one of the unknown settings is not as it is by default.
    """
    try:
        return msgspec.json.decode(body, type=noun)
    except msgspec.ValidationError:
        written = msgspec.json.decode(body, type=_Row).written
    found, unknown = _without_unknown(msgspec.json.decode(body), noun, f"{what} was written by Guideway {written.by}")
    asked = [path for path in unknown if _is_set(path, written.set)]
    if order and asked:
        raise Unavailable(
            f"{what} was written by Guideway {written.by} with '{asked[0]}', which {__version__} does not know",
            try_this="upgrade; or say it anew with this version, which leaves that setting out: `guideway ship`",
        )
    return found


def _without_unknown(plain: Any, noun: type[Noun], whose: str) -> tuple[Noun, list[str]]:
    """The *noun* in *plain*, which is changed, and the paths that it does not know."""
    unknown: list[str] = []
    while True:
        try:
            return msgspec.convert(plain, noun), unknown
        except msgspec.ValidationError as error:
            found = _UNKNOWN.search(str(error))
            if found is None:
                raise Unavailable(
                    f"{whose} and cannot be read by {__version__}: {error}", try_this="upgrade guideway"
                ) from None
        steps = _STEP.findall(found["path"] or "")
        _drop(plain, steps, found["name"])
        unknown.append(".".join([*steps, found["name"]]))


def _drop(plain: Any, steps: list[str], name: str) -> None:
    """Take *name* out of what lies at *steps*; ``...`` stands for every value of a map."""
    if not steps:
        plain.pop(name, None)
    elif isinstance(plain, list):
        _drop(plain[int(steps[0])], steps[1:], name)
    else:
        for one in plain.values() if steps[0] == "..." else [plain[steps[0]]]:
            _drop(one, steps[1:], name)


def _set(noun: msgspec.Struct, at: str = "") -> Iterator[str]:
    """The paths of everything in *noun* that is not as it is by default; lists and maps as a whole."""
    for field in msgspec.structs.fields(noun):
        value, path = getattr(noun, field.name), f"{at}{field.name}"
        default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
        if value == default:
            continue
        if isinstance(value, msgspec.Struct):
            yield from _set(value, f"{path}.")
        else:
            yield path


def _is_set(path: str, known: tuple[str, ...] | None) -> bool:
    """Is what lies at *path*, or below or above it, among the *known* ones? None: nobody said."""
    around = [f"{one}." for one in known or ()]
    return known is None or any(f"{path}.".startswith(one) or one.startswith(f"{path}.") for one in around)
