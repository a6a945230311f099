"""What is shown again and again must fit on the terminal: blocks of lines, cut where they matter least."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import click
import msgspec
from rich.cells import cell_len


class Block(msgspec.Struct, frozen=True):
    """Lines that belong together. Cut, it keeps the first *least* of them and says how many more *what* there are."""

    lines: tuple[str, ...]
    least: int
    what: str = "lines"

    def cut(self, length: int) -> tuple[str, ...]:
        """No more than *length* lines, the last of which says how many are missing; no fewer than it keeps."""
        kept = max(length - 1, self.least)
        if kept + 1 >= len(self.lines):  # to say that one is missing takes the place of that one
            return self.lines
        return (*self.lines[:kept], f"… {len(self.lines) - kept} more {self.what}")


def fit(blocks: Sequence[Block], columns: int, rows: int) -> list[str]:
    """The lines of *blocks* on a terminal of so many columns and rows: the last block is cut first."""
    shown = [block.lines for block in blocks]
    for place in reversed(range(len(blocks))):
        over = _rows((line for lines in shown for line in lines), columns) - rows
        if over <= 0:
            break
        shown[place] = _cut(blocks[place], over, columns)
    whole = Block(tuple(line for lines in shown for line in lines), 0)
    over = _rows(whole.lines, columns) - rows
    return list(_cut(whole, over, columns) if over > 0 else whole.lines)


def _cut(block: Block, over: int, columns: int) -> tuple[str, ...]:
    """*block* with so many rows less, as far as it can be cut."""
    whole = _rows(block.lines, columns)
    for length in range(len(block.lines) - 1, block.least, -1):
        lines = block.cut(length)
        if whole - _rows(lines, columns) >= over:
            return lines
    return block.cut(0)


def _rows(lines: Iterable[str], columns: int) -> int:
    """How many rows of the terminal *lines* take; one that is too long takes several."""
    return sum(max(1, math.ceil(cell_len(click.unstyle(line)) / columns)) for line in lines)
