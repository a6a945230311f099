"""What a database's driver says, in people's words: what, where and what to do, and never a password."""

from __future__ import annotations

from typing import NamedTuple

from guideway.core.errors import Corrupt, GuidewayError, SpecError, Unavailable
from guideway.store.address import Address


class _Cause(NamedTuple):
    """What we say when the SQLSTATE is one of ``states``, or one of ``words`` is in the driver's message."""

    states: tuple[str, ...]
    words: tuple[str, ...]
    what: str
    try_this: str
    kind: type[GuidewayError] = Unavailable


_SILENCE = (
    *("Connection refused", "timeout", "timed out", "No such file", "resolve", "translate host", "route to host"),
    *("closed the connection", "connection is lost", "connection is closed", "terminating connection"),
)
_APPEND_ONLY = _Cause((), ("append-only",), "a line of the ledger is never changed or removed", "append another one")
_BUSY = _Cause(("55P03", "40P01"), ("locked",), "another command holds the state", "try again")
_SQLITE = (
    _Cause((), ("full", "disk I/O"), "the disk is full, nothing was changed", "free some space"),
    _Cause((), ("malformed", "not a database"), "the state file is damaged", "restore it from a backup", Corrupt),
    _BUSY,
    _Cause((), ("readonly", "unable to open"), "the state file cannot be written", "look at its permissions"),
    _APPEND_ONLY,
)
_POSTGRESQL = (
    _APPEND_ONLY,
    _Cause(("53100",), (), "the disk of the database is full, nothing was changed", "free some space"),
    _Cause(("XX001", "XX002"), (), "the database is damaged", "restore it from a backup", Corrupt),
    _BUSY._replace(words=()),
    _Cause(("42501",), (), "the database does not let this user do that", "use its owner in state.url, or GRANT it"),
    _Cause(
        ("28P01",),
        ("password authentication failed", "no password supplied", "FATAL:  role "),
        "the database refused the user or the password",
        "look at state.url, or put the password into ~/.pgpass",
    ),
    _Cause(("28000",), ("pg_hba.conf",), "the database lets nobody in from here", "look at its pg_hba.conf"),
    _Cause(("3D000",), ("FATAL:  database ",), "there is no such database", "`createdb` makes one"),
    _Cause(("25006",), (), "this database can only be read", "give the URL of the primary"),
    _Cause(("53300",), ("too many clients",), "the database has no connection left", "try again"),
    _Cause(("25P03",), (), "the transaction stood still for too long, nothing was changed", "try again"),
    _Cause(("57P03",), ("starting up", "shutting down"), "the database is starting or stopping", "try again"),
    _Cause(("22021",), ("(0x00)",), "this text cannot be kept: it has a zero byte", "leave it out", SpecError),
    _Cause(
        ("57P01", "57P02", "08000", "08001", "08003", "08004", "08006"),
        _SILENCE,
        "the database server does not answer",
        "start it, or look at host and port",
    ),
)


def explained(error: BaseException, address: Address) -> GuidewayError:
    """The cause of *error* as one line."""
    state, text = str(getattr(error, "sqlstate", None) or ""), str(error)
    for cause in _SQLITE if address.file else _POSTGRESQL:
        if state in cause.states or any(word in text for word in cause.words):
            return cause.kind(cause.what, where=address.label, try_this=cause.try_this)
    return Unavailable(_first_line(text, address), where=address.label)


def not_text(address: Address) -> GuidewayError:
    """A name or an id that is no Unicode, from a command line for instance."""
    return SpecError("this text cannot be kept: it is not Unicode", where=address.label)


def _first_line(text: str, address: Address) -> str:
    line = text.strip().partition("\n")[0]
    for secret in address.secrets:
        line = line.replace(secret, "***")
    return line
