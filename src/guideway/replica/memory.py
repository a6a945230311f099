"""Memory for keys and values: reserved for every row, taken only for tokens, given back after a long answer."""

from __future__ import annotations

import math
import mmap
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guideway.core.errors import Unavailable

KEEP = 256
"""Tokens whose memory an empty row keeps: giving it back and taking it again would cost more than it saves."""


class Rows:
    """*count* zeroed arrays of *shape* [rows, heads, tokens, size of a head].

    The rows may be cut in another way too, if *tokens* says how many one holds; then they are not copied here.

    Raises:
        Unavailable: the system has no room for them.
    """

    def __init__(self, shape: tuple[int, ...], kind: type[np.generic], count: int, tokens: int = 0) -> None:
        size = math.prod(shape) * np.dtype(kind).itemsize
        try:
            self._pages = [_pages(size) for _ in range(count)]
        except OSError:
            raise Unavailable(
                f"no memory for {shape[0]} slots of {tokens or shape[2]} tokens",
                try_this="use fewer --slots or a smaller --context",
            ) from None
        self._row_bytes, self._tokens = size // shape[0], [0] * shape[0]  # last: it is taken, not only reserved
        self.arrays: list[NDArray[Any]] = [np.frombuffer(pages, kind).reshape(shape) for pages in self._pages]

    def touch(self, row: int, lengths: NDArray[np.int64]) -> None:
        """Note that the rows from *row* on are about to be written up to *lengths* tokens."""
        for place, length in enumerate(lengths.tolist(), row):
            self._tokens[place] = max(self._tokens[place], length)

    def copy(self, source: int, target: int, length: int) -> None:
        """Copy the first *length* tokens of a row."""
        self._tokens[target] = max(self._tokens[target], length)
        for array in self.arrays:
            array[target, :, :length] = array[source, :, :length]

    def put(self, row: int, kept: Sequence[NDArray[Any]]) -> int:
        """Copy *kept*, one [heads, tokens, size] for each array, into *row*; how many tokens that were."""
        length = int(kept[0].shape[1])
        self._tokens[row] = max(self._tokens[row], length)
        for array, one in zip(self.arrays, kept, strict=True):
            array[row, :, :length] = one
        return length

    def free(self, row: int) -> None:
        """Give the pages of an empty *row* back to the system if it was long."""
        if self._tokens[row] <= KEEP:
            return
        self._tokens[row] = 0
        start = math.ceil(row * self._row_bytes / mmap.PAGESIZE) * mmap.PAGESIZE
        end = (row + 1) * self._row_bytes // mmap.PAGESIZE * mmap.PAGESIZE
        if end > start:
            for pages in self._pages:
                pages.madvise(mmap.MADV_DONTNEED, start, end - start)


def _pages(size: int) -> mmap.mmap:
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    # Huge pages, which numpy would ask for, make a short answer cost as much memory as the longest.
    pages.madvise(mmap.MADV_NOHUGEPAGE)
    return pages
