"""Where a database is, and what of that may be said aloud."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from guideway.core.errors import SpecError

FORMS = "sqlite:///FILE or postgresql://USER@HOST:PORT/NAME"


class Address(msgspec.Struct, frozen=True):
    """``label`` is for people: it holds neither user nor password. ``file`` is None for a server."""

    url: URL
    label: str
    file: Path | None = None

    @classmethod
    def of(cls, where: Path | str) -> Address:
        """The address in a path or a URL.

        Raises:
            SpecError: it cannot be meant. The error never repeats it: a password may be inside.
        """
        if isinstance(where, Path) or "://" not in where:
            return cls._of_file(Path(where))
        try:
            url = make_url(where)
        except (ArgumentError, ValueError):
            raise _refused("this is no URL of a database") from None
        kind = url.drivername.partition("+")[0]
        if kind == "sqlite" and url.database and not url.host:
            return cls._of_file(Path(url.database))
        if url.drivername not in ("postgres", "postgresql", "postgresql+psycopg"):
            raise _refused(f"'{kind}' is no database that state can be kept in")
        if not url.database:
            raise _refused("the URL does not name a database")
        if "@" in (url.host or ""):  # the end of a password that has a bare '@' in it: it would be said aloud
            raise _refused("the URL has one '@' too many")
        return cls(url.set(drivername="postgresql+psycopg"), _label(url))

    @classmethod
    def _of_file(cls, path: Path) -> Address:
        return cls(URL.create("sqlite", database=str(path)), str(path), path)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be said: the password, wherever in the URL it stands."""
        asked: Any = self.url.query.get("password", ())
        found = (self.url.password, *((asked,) if isinstance(asked, str) else asked))
        return tuple(str(one) for one in found if one)


def _label(url: URL) -> str:
    host: Any = url.host or url.query.get("host") or "localhost"
    port = f":{url.port}" if url.port else ""
    return f"postgresql://{host if isinstance(host, str) else ','.join(host)}{port}/{url.database}"


def _refused(what: str) -> SpecError:
    return SpecError(what, where="state.url", try_this=f"write {FORMS}, `%` for special signs in a password")
