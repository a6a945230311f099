"""Who may do what on the admin plane. Reading needs an operator, everything else an admin, whatever the route.

The rule asks for nothing but the method, so no route can be forgotten: a new one is closed until a role opens it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

import msgspec

from guideway.core.route import ApiKey, KeyFile, Role

READ = frozenset({"GET", "HEAD"})
OPEN = "/healthz"
_HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]"})
_RANK: dict[Role, int] = {"user": 0, "operator": 1, "admin": 2}
_BROWSER = frozenset({b"origin", b"sec-fetch-site", b"cookie"})

Headers = Iterable[tuple[bytes, bytes]]


class Refusal(msgspec.Struct, frozen=True):
    """Why a request goes no further."""

    status: int
    message: str
    code: str


NO_KEY = Refusal(401, "a key with the role operator or admin is needed: 'Authorization: Bearer gw-...'", "invalid_key")
NO_ROLE = Refusal(403, "the role of this key does not allow that", "role")
NO_KEYS = Refusal(503, "keys cannot be checked now; try again", "keys_unread")
NO_HOST = Refusal(403, "the Host header does not name this machine's loopback address", "host")
NO_BROWSER = Refusal(403, "web pages may not call the admin plane", "browser")


class Access:
    """The keys that count on the admin plane. *wall*: seconds since 1970."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._pepper = b""
        self._keys: dict[bytes, ApiKey] = {}
        self._unread = False

    def set_keys(self, data: bytes) -> None:
        """Take the content of a keys file.

        Raises:
            ValueError: it is not one.
        """
        file = msgspec.json.decode(data, type=KeyFile)
        keys = {bytes.fromhex(key.digest): key for key in file.keys if not key.revoked}
        self._pepper, self._keys = bytes.fromhex(file.pepper), keys

    def lose_keys(self, lost: bool) -> None:
        """Nobody knows which keys count while they are *lost*: one of them may have been revoked."""
        self._unread = lost

    def refuse(self, method: str, path: str, headers: Headers) -> Refusal | None:
        """Why a request that came over TCP is refused, or None."""
        return refuse_browser(headers) or self._refuse_caller(method, path, headers)

    def who(self, headers: Headers) -> str:
        """The id of the key of a request that was let in."""
        key = self._find(headers)
        return key.id if key else ""

    def _refuse_caller(self, method: str, path: str, headers: Headers) -> Refusal | None:
        if path == OPEN and method in READ:
            return None
        if self._unread:
            return NO_KEYS
        key = self._find(headers)
        if key is None:
            return NO_KEY
        needed: Role = "operator" if method in READ else "admin"
        return None if _RANK[key.role] >= _RANK[needed] else NO_ROLE

    def _find(self, headers: Headers) -> ApiKey | None:
        """The key of a request. It is found by its peppered digest, whose time tells a stranger nothing."""
        given = [value for name, value in headers if name == b"authorization"]
        if len(given) != 1 or given[0][:7].lower() != b"bearer ":
            return None
        key = self._keys.get(hashlib.sha256(self._pepper + given[0][7:].strip()).digest())
        return None if key is None or (key.expires is not None and key.expires <= self._wall()) else key


def refuse_browser(headers: Headers) -> Refusal | None:
    """Refuse what a web page can send: a name that was pointed at us, another origin, a cookie."""
    names = {name for name, _ in headers}
    hosts = [value.decode("latin-1") for name, value in headers if name == b"host"]
    if len(hosts) != 1 or _without_port(hosts[0]) not in _HOSTS:
        return NO_HOST
    return NO_BROWSER if names & _BROWSER else None


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name.lower() if colon and port.isdigit() else host.lower()
