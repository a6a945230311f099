"""What a look at the sources tells before anything runs: a file without a row, and data without a row of use."""

from __future__ import annotations

from collections.abc import Sequence

from guideway.core.spec import Data
from guideway.pipeline.stages.data.read import Bad, read
from guideway.pipeline.stages.data.sort import Found, cleaned


def rowless(files: Sequence[Found]) -> Found | None:
    """The first of *files* in which there is not one row; None: each has one. No file is read further."""
    return next((one for one in files if next(read(one.path, one.shown, one.format), None) is None), None)


def useless(files: Sequence[Found], data: Data, task: str) -> str:
    """Why no row of *files* can be used; empty: one can. Reads on only until it finds one."""
    rows, first = 0, None
    for found in files:
        for one in read(found.path, found.shown, found.format):
            row = one if isinstance(one, Bad) else cleaned(one, data, task)
            if row is not None and not isinstance(row, Bad):
                return ""
            rows, first = rows + 1, first or row
    if first is None:
        return "every row is empty" if rows else ""
    all_of_them = "the only row cannot" if rows == 1 else f"none of {rows:,} rows can"
    return f"{all_of_them} be used: {first.file}:{first.line}: {first.why}"
