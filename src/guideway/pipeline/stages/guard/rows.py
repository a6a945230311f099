"""The prompts that the classifier learns from: JSON lines, strictly read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from guideway.core.errors import SpecError

FOLDS = 5


class Row(msgspec.Struct, frozen=True):
    """One prompt to learn from. Rows of one ``group`` are not both learnt from and judged."""

    prompt: Annotated[str, Meta(min_length=1)]
    label: Literal["refuse", "allow"]
    weight: Annotated[float, Meta(gt=0.0, le=1000.0)] = 1.0
    group: str = ""
    slice: str = ""


def read_rows(paths: Sequence[Path]) -> list[Row]:
    """The rows of all files.

    Raises:
        SpecError: a line is no row, or there is too little of one label.
    """
    rows = []
    for path in paths:
        for number, line in enumerate(path.read_bytes().splitlines(), 1):
            if not line.strip():
                continue
            try:
                rows.append(msgspec.json.decode(line, type=Row))
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                advice = 'a line is {"prompt": ..., "label": "refuse" or "allow"}'
                raise SpecError(f"not a row: {error}", where=f"{path.name}:{number}", try_this=advice) from None
    for label in ("refuse", "allow"):
        if len({row.group or row.prompt for row in rows if row.label == label}) < 2 * FOLDS:
            where = ", ".join(path.name for path in paths)
            raise SpecError(
                f"fewer than {2 * FOLDS} prompts to {label}", where=where, try_this="give it more to learn from"
            )
    return rows
