"""Where a shared store listens, read from ``gateway.cache.store``. A password goes no further than this noun."""

from __future__ import annotations

import ssl
from typing import Literal, cast
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from guideway.core.errors import SpecError

Kind = Literal["redis", "rediss", "memcached"]
PORTS: dict[str, int] = {"redis": 6379, "rediss": 6379, "memcached": 11211}
WHERE = "gateway.cache.store"
ADVICE = "write memory, off, redis://HOST:PORT/DATABASE, rediss://… or memcached://HOST:PORT"


class Address(msgspec.Struct, frozen=True):
    """A store of *kind*. ``ca`` is a file of the authorities that may vouch for it; empty: those of the system."""

    kind: Kind
    host: str
    port: int
    user: str = ""
    password: str = ""
    database: int = 0
    ca: str = ""

    def __repr__(self) -> str:
        return f"Address({self})"

    def __str__(self) -> str:
        """The address without user and password, as logs and errors may show it."""
        return f"{self.kind}://{self.host}:{self.port}"

    def tls(self) -> ssl.SSLContext | None:
        """What to connect with; None: no TLS.

        Raises:
            OSError: the file of authorities cannot be used.
        """
        if self.kind != "rediss":
            return None
        context = ssl.create_default_context(cafile=self.ca or None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context


def read_address(url: str) -> Address:
    """The store that *url* names.

    Raises:
        SpecError: it names none; the message shows nothing of the URL but its scheme.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
        found = PORTS.get(parts.scheme)
        options = parse_qs(parts.query, strict_parsing=bool(parts.query))
        database = int(parts.path.strip("/") or 0)
    except ValueError:
        raise SpecError("the address of the cache cannot be read", where=WHERE, try_this=ADVICE) from None
    if found is None:
        raise SpecError(f"there is no cache of the kind {parts.scheme[:20]!r}", where=WHERE, try_this=ADVICE)
    if not parts.hostname or database < 0 or options.keys() - {"ca"}:
        raise SpecError("the address of the cache cannot be meant", where=WHERE, try_this=ADVICE)
    return Address(
        kind=cast(Kind, parts.scheme),
        host=parts.hostname,
        port=port or found,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        database=database,
        ca=options.get("ca", [""])[0],
    )
