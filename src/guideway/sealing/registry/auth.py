"""What a registry asks for before it answers: nothing, a password (Basic), or a token (Bearer)."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from urllib.parse import urlencode

import msgspec

from guideway.core.errors import Unavailable
from guideway.sealing.registry.credentials import Credentials
from guideway.sealing.registry.reference import shown

Fetch = Callable[[str, str], bytes]
"""Reads a URL with an ``Authorization`` header, which may be empty."""

_CHALLENGE_LIMIT = 4096
_SCHEME = re.compile(r"(basic|bearer)\s+", re.IGNORECASE)
_FIELD = re.compile(r'([A-Za-z_]+)="([^"]*)"')
_TOKEN = re.compile(r"[\x21-\x7e]{1,65536}")


class _Token(msgspec.Struct):
    token: str = ""
    access_token: str = ""


class Authorization:
    """The ``Authorization`` header for one registry, learnt from its challenges. Threads may share it."""

    def __init__(self, credentials: Credentials | None, fetch: Fetch) -> None:
        self._credentials, self._fetch = credentials, fetch
        self._scopes: set[str] = set()
        self._lock = threading.Lock()
        self.header = ""

    def learn(self, challenge: str, tried: str) -> bool:
        """Read the *challenge* that came when the header *tried* was sent; is there another one to try?

        Raises:
            Unavailable: the registry's token service gives no token.
        """
        with self._lock:
            if self.header != tried:  # another thread was asked the same and has the answer
                return True
            found = dict(challenges(challenge))
            if "bearer" in found:
                self.header = self._token(found["bearer"])
            elif "basic" in found and self._credentials:
                self.header = self._credentials.basic
            return self.header != tried

    def _token(self, fields: dict[str, str]) -> str:
        """A token for everything that was asked for so far, so that threads need not take turns with theirs."""
        realm = fields.get("realm", "")
        self._scopes.update(filter(None, [fields.get("scope")]))
        query = [("service", fields["service"])] if "service" in fields else []
        query += [("scope", scope) for scope in sorted(self._scopes)]
        url = realm + ("&" if "?" in realm else "?") + urlencode(query)
        try:
            answer = msgspec.json.decode(
                self._fetch(url, self._credentials.basic if self._credentials else ""), type=_Token
            )
        except (msgspec.DecodeError, RecursionError):
            raise Unavailable("the registry's token service gives no token", where=shown(realm)) from None
        token = answer.token or answer.access_token
        if not _TOKEN.fullmatch(token):
            raise Unavailable("the registry's token service gives no token", where=shown(realm))
        return f"Bearer {token}"


def challenges(text: str) -> list[tuple[str, dict[str, str]]]:
    """The schemes in a ``WWW-Authenticate`` header, in small letters, each with its fields."""
    text = text[:_CHALLENGE_LIMIT]
    starts = list(_SCHEME.finditer(text))
    ends = [*(start.start() for start in starts), len(text)][1:]
    return [
        (start[1].lower(), {name.lower(): value for name, value in _FIELD.findall(text[start.end() : end])})
        for start, end in zip(starts, ends, strict=True)
    ]
