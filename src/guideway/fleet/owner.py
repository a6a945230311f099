"""Who may act in a home: one controller, for one database, on one machine."""

from __future__ import annotations

from guideway.core.errors import Unavailable
from guideway.fleet.host import Host
from guideway.kit.files import write_atomic
from guideway.store.address import Address
from guideway.store.database import Database
from guideway.store.home import Home

_CONTROLLER = 0x67756964652D6F6E
"""The lock in a shared database that only one controller holds."""


def take(home: Home, database: Database) -> None:
    """Become the one who acts in *home* for *database*; the caller holds the lock of the home.

    Raises:
        Unavailable: what runs here was started for another database, or a controller on another machine acts.
    """
    before = home.noted
    if before not in ("", database.address.label) and Host(home).strays(set()):
        raise _other(home, before)
    if not database.claim(_CONTROLLER):
        raise Unavailable("a controller on another machine acts for this state", where=database.address.label)
    write_atomic(home.owner, database.address.label.encode())


def check(home: Home) -> None:
    """Make sure that the controller that runs in *home* acts for its database.

    Raises:
        Unavailable: it acts for another one.
    """
    before = home.noted
    if before not in ("", Address.of(home.database).label):
        raise _other(home, before)


def _other(home: Home, before: str) -> Unavailable:
    return Unavailable(
        f"what runs in this folder belongs to the state in {before}",
        where=str(home.path),
        try_this="`guideway down` with that state, or give this one a GUIDEWAY_HOME of its own",
    )
