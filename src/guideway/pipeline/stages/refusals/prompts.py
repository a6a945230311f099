"""Files of prompts, and of answers that people judged: strictly read, each prompt once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from guideway.core.errors import SpecError
from guideway.core.spec.refusals import Prompts
from guideway.pipeline.stages.data.read import Bad, Raw, format_of, read


class Asked(NamedTuple):
    """One prompt, and the file that it is from."""

    prompt: str
    file: str


class Labelled(msgspec.Struct, frozen=True):
    """An answer, and whether people say that it refuses."""

    answer: str
    refused: bool


def prompts_of(asked: Sequence[Prompts], root: Path) -> list[Asked]:
    """The prompts of all files, none twice, in the order of their digests: as good as random.

    Raises:
        SpecError: a row is broken or lacks a field, or a file has no prompt.
    """
    found: dict[str, Asked] = {}
    for one in asked:
        before = len(found)
        for prompt in _of_file(one, root):
            found.setdefault(prompt, Asked(prompt, one.path))
        if len(found) == before:
            said = ", ".join(f"{field} = {value}" for field, value in one.where.items())
            raise SpecError(
                "no prompt is in it that is not in another file" + (f" and has {said}" if said else ""),
                where=one.path,
                try_this="mend `path`, or the values of `where`",
            )
    return sorted(found.values(), key=lambda one: hashlib.sha256(one.prompt.encode()).digest())


def labelled_of(paths: Sequence[str], root: Path) -> list[Labelled]:
    """The answers of all files.

    Raises:
        SpecError: a line is not one.
    """
    found = []
    for path in paths:
        for number, line in enumerate((root / path).read_bytes().splitlines(), 1):
            if line.strip():
                try:
                    found.append(msgspec.json.decode(line, type=Labelled))
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    advice = 'a line is {"answer": ..., "refused": true or false}'
                    raise SpecError(f"not a row: {error}", where=f"{path}:{number}", try_this=advice) from None
    return found


def _of_file(one: Prompts, root: Path) -> Iterator[str]:
    path = root / one.path
    for row in read(path, one.path, format_of(path, None)):
        if isinstance(row, Bad):
            raise SpecError(f"not a row: {row.why}", where=f"{one.path}:{row.line}", try_this="mend the file")
        if all(str(_field(row, field)) == value for field, value in one.where.items()):
            prompt = _field(row, one.prompt)
            if not isinstance(prompt, str) or not prompt.strip():
                raise SpecError("a prompt is no text", where=f"{one.path}:{row.line}", try_this="mend the row")
            yield prompt


def _field(row: Raw, field: str) -> object:
    if field not in row.fields:
        raise SpecError(
            f"a row has no field '{field}'", where=f"{row.file}:{row.line}", try_this=f"it has {', '.join(row.fields)}"
        )
    return row.fields[field]
