"""HTTP for one registry: bounded retries and redirects, and credentials for this host alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

from urllib3.exceptions import HTTPError

from guideway.core.errors import Refused, Unavailable
from guideway.kit.addresses import is_forbidden, is_loopback
from guideway.kit.retry import pauses
from guideway.sealing.registry.auth import Authorization
from guideway.sealing.registry.credentials import Credentials
from guideway.sealing.registry.reference import Reference, shown
from guideway.sealing.registry.wire import (
    WHO_ARE_YOU,
    Answer,
    SpeaksNoTls,
    Stream,
    explained,
    pools,
    read_small,
)

TRIES = 5
_REDIRECTS = 5
_LONGEST_WAIT = 30.0
_TRY_AGAIN = frozenset({408, 429, 500, 502, 503, 504})
_REDIRECT = frozenset({301, 302, 303, 307, 308})

Body = Callable[[], Iterable[bytes]]
"""Begins the body of a request, anew for every try."""


class Access(NamedTuple):
    """How a registry is reached.

    With ``ca``, a PEM file, only certificates of an authority in it are accepted, not the system's; ``insecure``
    allows plain HTTP to a host that is not this machine.
    """

    credentials: Credentials | None = None
    ca: Path | None = None
    insecure: bool = False


class Http:
    """Requests to the host of one reference. Threads may share it; ``wait`` sleeps so many seconds before a new try."""

    def __init__(
        self, reference: Reference, access: Access, *, connections: int = 4, wait: Callable[[float], None] = time.sleep
    ) -> None:
        self.host, self.origin = reference.host, f"https://{reference.host}"
        self._insecure, self._wait = access.insecure, wait
        self._may_be_plain = (access.insecure or is_loopback(reference.hostname)) and access.ca is None
        self._reached = False
        self._authorization = Authorization(access.credentials, self._ask_for_token)
        self._pools = pools(access.ca, connections)

    def close(self) -> None:
        """Close the connections that are kept."""
        self._pools.clear()

    def begin(self, path: str) -> Answer:
        """The first request. Where plain HTTP is allowed and the server speaks no TLS, HTTP is what follows."""
        try:
            return self.ask("GET", path)
        except SpeaksNoTls:
            if not self._may_be_plain:
                raise
            self.origin = f"http://{self.host}"
            return self.ask("GET", path)

    def ask(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        tries: int = TRIES,
    ) -> Answer:
        """Send a request and read the whole answer; *url* may be relative to the registry.

        Raises:
            Unavailable: no answer after all *tries*. A registry that never answered is not tried again.
            Corrupt: the answer does not end where it should.
            Refused: it leads where we must not go.
        """
        response = self.open(method, url, headers=headers, body=body, tries=tries)
        data = read_small(response, self.host)
        return Answer(response.status, {name.lower(): value for name, value in response.headers.items()}, data)

    def open(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        tries: int = TRIES,
    ) -> Stream:
        """As :meth:`ask`, with the body unread: the caller reads and closes it."""
        url, left = joined(self.origin, url), pauses(tries)
        while True:
            try:
                response = self._authorised(method, url, headers or {}, body)
            except (HTTPError, OSError) as error:
                pause = next(left, None) if self._reached else None
                if pause is None:
                    raise explained(error, self.host) from None
            else:
                pause = next(left, None) if response.status in _TRY_AGAIN else None
                if pause is None:
                    return response
                pause = max(pause, _asked_pause(response))
                response.close()
            self._wait(pause)

    def _authorised(self, method: str, url: str, headers: Mapping[str, str], body: Body | None) -> Stream:
        """Send with the authorization that is known; when the registry asks for another, find it and send again."""
        tried = self._authorization.header
        response = self._redirected(method, url, _with(headers, tried), body)
        challenge = response.headers.get("WWW-Authenticate", "")
        if response.status != HTTPStatus.UNAUTHORIZED or not self._authorization.learn(challenge, tried):
            return response
        response.close()
        return self._redirected(method, url, _with(headers, self._authorization.header), body)

    def _redirected(self, method: str, url: str, headers: Mapping[str, str], body: Body | None) -> Stream:
        for _ in range(_REDIRECTS + 1):
            response = self._send(method, url, headers, body)
            self._reached = True
            target = response.headers.get("Location")
            if response.status not in _REDIRECT or method not in ("GET", "HEAD") or not target:
                return response
            response.close()
            url = joined(url, target)
        raise Unavailable(f"more than {_REDIRECTS} redirects", where=self.host)

    def _send(self, method: str, url: str, headers: Mapping[str, str], body: Body | None) -> Stream:
        """One request on the wire. What authorises us to the registry is sent to no other host."""
        self._check(url)
        if not url.startswith(self.origin + "/"):
            headers = {name: value for name, value in headers.items() if name != "Authorization"}
        return self._put_on_wire(method, url, headers, body)

    def _put_on_wire(self, method: str, url: str, headers: Mapping[str, str], body: Body | None) -> Stream:
        return self._pools.urlopen(
            method,
            url,
            headers={"Accept-Encoding": "identity", "User-Agent": "guideway", **headers},
            body=body() if body else None,
            redirect=False,
            preload_content=False,
            decode_content=False,
        )

    def _ask_for_token(self, url: str, authorization: str) -> bytes:
        """Ask the token service that the registry names; its redirects are not followed."""
        self._check(url)
        response = self._put_on_wire("GET", url, _with({}, authorization), None)
        data = read_small(response, self.host)
        if response.status != HTTPStatus.OK:
            what = f"the registry's token service refuses ({response.status})"
            raise Unavailable(what, where=self.host, try_this=WHO_ARE_YOU)
        return data

    def _check(self, url: str) -> None:
        """Refuse to send anything to *url* if that is not an address that we may call.

        Raises:
            Refused: plain HTTP where it is not allowed, another scheme, or an address that no registry has.
        """
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname or "", parts.port
        except ValueError:
            raise Refused("the registry leads to something that is no address", where=shown(url)) from None
        plain = parts.scheme == "http" and self._may_be_plain and (self._insecure or is_loopback(host))
        if not host or "@" in parts.netloc or not (plain or parts.scheme == "https"):
            raise Refused("the registry leads to an address that is not HTTPS", where=shown(url))
        if is_forbidden(host):
            raise Refused("the registry leads to an address that no registry has", where=shown(url))


def joined(base: str, target: str) -> str:
    """*target* as the registry gave it, seen from *base*.

    Raises:
        Refused: it is no address.
    """
    try:
        return urljoin(base, target)
    except ValueError:
        raise Refused("the registry leads to something that is no address", where=shown(target)) from None


def _with(headers: Mapping[str, str], authorization: str) -> dict[str, str]:
    return {**headers, "Authorization": authorization} if authorization else dict(headers)


def _asked_pause(response: Stream) -> float:
    """Seconds that the server asks us to wait, within reason."""
    asked = response.headers.get("Retry-After", "")
    return min(float(asked), _LONGEST_WAIT) if asked.isascii() and asked.isdigit() else 0.0
