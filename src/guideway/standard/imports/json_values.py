"""JSON reports: bytes to plain values, plain values to structs, each fault as one line."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from guideway.core.errors import SpecError
from guideway.kit.strict_json import NotJson, read_json

Struct = TypeVar("Struct", bound=msgspec.Struct)


def parsed(data: bytes, name: str) -> Any:
    """The value of JSON text. Raises SpecError, with the line where it is known."""
    try:
        return read_json(data)
    except NotJson as error:
        raise SpecError(error.what, where=f"{name}:{error.line}" if error.line else name) from None


def converted(value: Any, kind: type[Struct], where: str, otherwise: str) -> Struct:
    """*value* as a *kind*; the SpecError begins with *otherwise* and names the key."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        said = str(error).replace("`", "'").replace("'$.", "'").replace(" - at '$'", "")
        raise SpecError(f"{otherwise}: {said[0].lower()}{said[1:]}", where=where) from None
