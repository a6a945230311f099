"""Read source files row by row. A row that cannot be read is a value and no exception: it is counted and kept."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

from guideway.core.errors import SpecError

Format = Literal["jsonl", "csv", "text"]
SUFFIXES: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".txt": "text",
    ".text": "text",
    ".md": "text",
}
PASSAGE = 1000
"""About how many characters one passage of a text file holds."""
LONGEST_CELL = 1 << 24
"""Characters in one CSV cell; the library's own limit of 131,072 is less than a long document."""


class Raw(NamedTuple):
    """One row as it was read, and where."""

    file: str
    line: int
    fields: dict[str, Any]


class Bad(NamedTuple):
    """One row that is no use: where it stands, why, and what it says."""

    file: str
    line: int
    why: str
    text: str


def format_of(path: Path, said: Format | None) -> Format:
    """The format of *path*: what the spec said, else what the suffix says.

    Raises:
        SpecError: neither says anything.
    """
    known = said or SUFFIXES.get(path.suffix.lower())
    if known is None:
        raise SpecError(
            f"cannot tell the format of '{path.name}' from its suffix",
            where=str(path),
            try_this="set `format` of the source to jsonl, csv or text",
        )
    return known


def read(path: Path, shown: str, form: Format) -> Iterator[Raw | Bad]:
    """The rows of *path*, named *shown* in what is written; memory does not grow with the file."""
    return {"jsonl": _read_jsonl, "csv": _read_csv, "text": _read_text}[form](path, shown)


def _read_jsonl(path: Path, shown: str) -> Iterator[Raw | Bad]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            stripped = line.removeprefix(b"\xef\xbb\xbf").strip() if number == 1 else line.strip()
            if stripped:
                yield _json_row(shown, number, stripped)


def _json_row(shown: str, number: int, line: bytes) -> Raw | Bad:
    text = line.decode("utf-8", "backslashreplace")
    try:
        value = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        return Bad(shown, number, f"not UTF-8 at byte {error.start}", text)
    except json.JSONDecodeError as error:
        return Bad(shown, number, f"not JSON: {error.msg} at column {error.colno}", text)
    except (RecursionError, ValueError):
        return Bad(shown, number, "not JSON that can be read: too deep, or a number too long", text)
    if not isinstance(value, dict):
        return Bad(shown, number, f"a JSON {_kind(value)}, not an object", text)
    return Raw(shown, number, value)


def _kind(value: object) -> str:
    names = {list: "array", str: "string", bool: "boolean", int: "number", float: "number", type(None): "null"}
    return names.get(type(value), "value")


def _read_csv(path: Path, shown: str) -> Iterator[Raw | Bad]:
    csv.field_size_limit(LONGEST_CELL)
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.reader(file, strict=True)
        header: list[str] | None = None
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield Bad(shown, reader.line_num, f"not CSV: {error}", "")
                continue
            if not cells:
                continue
            if header is None:
                header = cells
            else:
                yield _csv_row(shown, reader.line_num, header, cells)


def _csv_row(shown: str, number: int, header: list[str], cells: list[str]) -> Raw | Bad:
    text = ",".join(cells)
    if _has_raw_bytes(text):
        return Bad(shown, number, "not UTF-8", _visible(text))
    if len(cells) != len(header):
        return Bad(shown, number, f"{len(cells)} cells under {len(header)} headings", text)
    return Raw(shown, number, dict(zip(header, cells, strict=True)))


def _read_text(path: Path, shown: str) -> Iterator[Raw | Bad]:
    """Passages of about ``PASSAGE`` characters that end at a blank line where there is one, else at a line's end."""
    held: list[str] = []
    size, begin = 0, 1
    with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
        for number, line in enumerate(file, 1):
            if _has_raw_bytes(line):
                yield Bad(shown, number, "not UTF-8", _visible(line.rstrip("\n")))
                continue
            for piece in _pieces(line):
                ends = not piece.strip() and size >= PASSAGE // 2
                if held and (ends or size + len(piece) > 2 * PASSAGE or (size >= PASSAGE and piece.strip())):
                    yield _passage(shown, begin, held)
                    held, size = [], 0
                if not held and not piece.strip():
                    continue
                begin = begin if held else number
                held.append(piece)
                size += len(piece)
    if held:
        yield _passage(shown, begin, held)


def _pieces(line: str) -> Iterator[str]:
    """A line, cut where it is far longer than a passage."""
    for start in range(0, len(line), PASSAGE):
        yield line[start : start + PASSAGE]


def _passage(shown: str, line: int, held: list[str]) -> Raw:
    return Raw(shown, line, {"text": "".join(held).strip("\n"), "source": shown})


def _has_raw_bytes(text: str) -> bool:
    return any("\udc80" <= char <= "\udcff" for char in text) if not text.isascii() else False


def _visible(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
