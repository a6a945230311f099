"""Settings in a JSON file beside what they describe: strictly read; the same settings are the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from guideway.core.errors import SpecError

T = TypeVar("T", bound=msgspec.Struct)


def read_file(folder: Path, name: str, kind: type[T], advice: str) -> T:
    """The settings of the type *kind* in the file *name* of *folder*; *advice* is for whoever took another folder.

    Raises:
        SpecError: the file is not there, or not what it should be.
    """
    path = folder / name
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        raise SpecError(f"there is no {name}", where=str(folder), try_this=advice) from None
    except msgspec.DecodeError as error:
        raise SpecError(f"cannot be read: {error}", where=str(path)) from None


def write_file(folder: Path, name: str, settings: msgspec.Struct) -> None:
    """Write *settings* into the file *name* of *folder*."""
    text = msgspec.json.format(msgspec.json.encode(settings, order="sorted"))
    (folder / name).write_bytes(text + b"\n")
