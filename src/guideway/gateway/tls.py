"""TLS on the data port: one context for all connections, which follows the files of its certificate."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from pathlib import Path

from guideway.core.errors import GuidewayError, SpecError
from guideway.core.route import GatewaySettings
from guideway.gateway import certificate
from guideway.gateway.certificate import Loaded, Pair
from guideway.gateway.exposure import development_certificate
from guideway.gateway.log import log

RENEWAL_SECONDS = 3600.0
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2: forward secrecy and authenticated encryption, nothing else. TLS 1.3 has no others."""


class Identity:
    """What the data port of one worker shows to clients. ``context`` stays; which certificate it shows may change.

    *pair* finds the files, *wall* tells the time in seconds since 1970.
    """

    def __init__(self, pair: Callable[[], Pair], wall: Callable[[], float]) -> None:
        """Load the pair.

        Raises:
            SpecError: it cannot be used.
        """
        self._find, self._wall = pair, wall
        self._pair, self._find_at = pair(), wall() + RENEWAL_SECONDS
        self._signature = _signature(self._pair)
        self._loaded = certificate.load(self._pair, wall())
        self._shown = _context_with(self._loaded, self._pair)
        self._complaint = ""
        self.context = bare_context()
        self.context.sni_callback = self._choose

    @property
    def expires(self) -> float:
        """When the certificate ends, in seconds since 1970."""
        return self._loaded.expires

    def look(self) -> bool:
        """Take up a certificate that has changed; new connections see it. Call it once a second: it costs two stats.

        True when there is a new one. One that cannot be used leaves the old one in force.
        """
        try:
            return self._look(self._wall())
        except (GuidewayError, OSError) as error:
            self._complain(str(error))
            return False

    def _look(self, now: float) -> bool:
        if now >= self._find_at:
            self._pair, self._find_at = self._find(), now + RENEWAL_SECONDS
        signature = _signature(self._pair)
        if signature == self._signature:
            return False
        loaded = certificate.load(self._pair, now)
        if loaded != self._loaded:
            self._shown = _context_with(loaded, self._pair)
            days = round((loaded.expires - now) / 86400.0, 1)
            log("certificate taken up", fingerprint=loaded.fingerprint, days=days)
        changed = loaded != self._loaded
        self._signature, self._loaded, self._complaint = signature, loaded, ""
        return changed

    def _choose(self, connection: ssl.SSLSocket | ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        """Runs in every handshake. A context that gets a second certificate could go on showing the first."""
        connection.context = self._shown

    def _complain(self, what: str) -> None:
        if what != self._complaint:
            log("certificate kept as it was", why=what)
        self._complaint = what


def identity(settings: GatewaySettings, wall: Callable[[], float]) -> Identity:
    """What the gateway of *settings*, whose ``tls`` is on, shows to clients.

    Raises:
        SpecError: its files cannot be used.
    """
    tls = settings.options.tls
    if tls.development:
        folder, names = development_certificate(Path(settings.folder)).parent, certificate.local_names(settings.host)
        return Identity(lambda: certificate.development(folder, names, wall()), wall)
    pair = Pair(Path(tls.certificate), Path(tls.key or tls.certificate))
    return Identity(lambda: pair, wall)


def bare_context() -> ssl.SSLContext:
    """Our rules for TLS, and no certificate yet."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    return context


def _context_with(loaded: Loaded, pair: Pair) -> ssl.SSLContext:
    """A context with exactly the bytes that were checked, though OpenSSL reads files and those may change meanwhile."""
    context = bare_context()
    text = loaded.certificate if pair.certificate == pair.key else loaded.certificate + b"\n" + loaded.key
    with os.fdopen(os.memfd_create("certificate", os.MFD_CLOEXEC), "wb") as file:
        file.write(text)
        file.flush()
        try:
            context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
        except ssl.SSLError as error:
            why = f"OpenSSL refuses the certificate: {error.reason or error}"
            raise SpecError(why, where=str(pair.certificate)) from None
    return context


def _signature(pair: Pair) -> tuple[tuple[int, int, int], ...] | None:
    try:
        stats = [path.stat() for path in dict.fromkeys((pair.certificate, pair.key))]
    except OSError:
        return None
    return tuple((stat.st_ino, stat.st_mtime_ns, stat.st_size) for stat in stats)
