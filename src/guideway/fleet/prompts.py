"""Read the file of golden prompts."""

from __future__ import annotations

from pathlib import Path

from guideway.core.errors import SpecError
from guideway.rollout.golden import FILE_LIMIT, Prompt, read_prompts


def load_prompts(file: Path, shown: str = "") -> tuple[Prompt, ...]:
    """The golden prompts in *file*; errors call it *shown*.

    Raises:
        SpecError: it cannot be read, or a line is no golden prompt.
    """
    where = shown or str(file)
    try:
        with file.open("rb") as opened:
            data = opened.read(FILE_LIMIT + 1)
    except OSError as error:
        raise SpecError(f"the golden prompts cannot be read: {error.strerror}", where=where) from None
    return read_prompts(data, where)
