"""The state, opened by a verb that changes something."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import click

from guideway.core.errors import GuidewayError
from guideway.store import checkpoints
from guideway.store.database import Database
from guideway.store.home import Home


@contextlib.contextmanager
def writing(home: Home) -> Iterator[Database]:
    """The open state; when the verb has done its work, the ledger gets the checkpoint that is due."""
    with Database(home.database) as database:
        yield database
        catch_up(database, home)


def catch_up(database: Database, home: Home) -> None:
    """Make the checkpoint that is due. What was done is done: one that cannot be written is a warning."""
    try:
        checkpoints.keep_up(database, home, time.time())
    except (GuidewayError, OSError) as error:
        click.echo(f"guideway: no checkpoint of the ledger could be written: {error}", err=True)
