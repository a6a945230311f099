"""Memory of keys and values: taken when written, given back after long rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from guideway.replica.memory import KEEP, Rows

SHAPE = (3, 2, 64 * 1024, 16)
ROW = 2 * 2 * 64 * 1024 * 16 * 4
"""Bytes of one row in both arrays: 16.8 MB."""


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def filled(length: int) -> Rows:
    rows = Rows(SHAPE, np.float32, 2)
    rows.touch(0, np.array([length] * 3))
    for array in rows.arrays:
        array[:, :, :length] = 1
    return rows


def test_a_long_row_that_is_freed_gives_its_memory_back_and_no_other_row_loses_any() -> None:
    before = resident()
    rows = filled(SHAPE[2])
    taken = resident() - before
    rows.free(1)
    given = taken - (resident() - before)
    assert taken > 2.9 * ROW
    assert 0.9 * ROW < given < 1.1 * ROW
    assert all(array[[0, 2]].all() and not array[1].any() for array in rows.arrays)


def test_a_short_row_keeps_its_memory_for_the_next_one() -> None:
    rows = filled(KEEP)
    rows.free(1)
    assert all(array[1, :, :KEEP].all() for array in rows.arrays)


def test_a_row_that_was_copied_from_a_long_one_is_long() -> None:
    rows = Rows(SHAPE, np.float32, 1)
    rows.touch(0, np.array([KEEP + 1]))
    rows.arrays[0][0, :, : KEEP + 1] = 1
    rows.copy(0, 2, KEEP + 1)
    assert rows.arrays[0][2, :, : KEEP + 1].all()
    rows.free(2)
    assert not rows.arrays[0][2].any()


def test_rows_that_share_a_page_do_not_lose_it() -> None:
    rows = Rows((4, 1, 300, 3), np.float32, 1)  # 3,600 bytes a row
    rows.touch(0, np.array([300] * 4))
    rows.arrays[0][:] = 1
    rows.free(1)
    assert rows.arrays[0][[0, 2, 3]].all()
