"""What is older than it may become is removed."""

from __future__ import annotations

from guideway.gateway.batches.shelf import Shelf
from guideway.store import batches as rows
from guideway.store.database import Database

DAY = 86_400.0
"""Seconds."""


def remove_old(database: Database, shelf: Shelf, days: int, now: float) -> None:
    """Remove files whose time is over, and batches that ended and were made more than *days* ago.

    The row goes first: a kill in between leaves bytes that nobody can ask for, which the next start sweeps up.

    Raises:
        OSError, Unavailable: that cannot be done now.
    """
    for id in rows.overdue_files(database, now):
        rows.drop_file(database, id)
        shelf.drop(id)
    rows.drop_old_batches(database, now - days * DAY)
