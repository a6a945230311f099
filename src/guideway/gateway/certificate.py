"""Certificates in PEM files: read with every doubt told, and one of our own making for development."""

from __future__ import annotations

import datetime
import ipaddress
import os
import socket
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from guideway.core.errors import GuidewayError, SpecError
from guideway.kit.files import locked, write_atomic

DAYS = 90
RENEW_DAYS = 7
KEPT_FROM = 0o027
"""Bits that the mode of a file with a private key must not have: nothing for others, no writing for the group."""

_PEM = serialization.Encoding.PEM
_SPKI = serialization.PublicFormat.SubjectPublicKeyInfo
_DAY = 86400.0
_BACKDATED = 300.0
"""Seconds by which a new certificate is older than it is, for clients whose clock is late."""


class Pair(msgspec.Struct, frozen=True):
    """A certificate with its chain, and its private key. Both may be one file."""

    certificate: Path
    key: Path


class Loaded(msgspec.Struct, frozen=True):
    """A pair that was read and found sound. ``expires``: seconds since 1970; ``fingerprint``: SHA-256 of the leaf."""

    certificate: bytes
    key: bytes
    expires: float
    names: tuple[str, ...]
    fingerprint: str

    def __repr__(self) -> str:  # the private key shall not come into a log
        return f"Loaded({self.fingerprint[:12]!r}, {self.names!r})"


def load(pair: Pair, now: float) -> Loaded:
    """Read *pair* and check it at *now*, seconds since 1970.

    Raises:
        SpecError: a file is missing, unreadable, no PEM, open to others or expired, or the two do not match.
    """
    chain = _read(pair.certificate)
    leaf = _leaf(chain, pair.certificate)
    if pair.key == pair.certificate and b"PRIVATE KEY-----" not in chain:
        advice = "set gateway.tls.key, or put the key into this file too"
        raise SpecError("there is a certificate without its key", where=str(pair.certificate), try_this=advice)
    secret = _read(pair.key, secret=True)
    key = _key(secret, pair.key)
    if _public(leaf, pair.certificate) != key.public_key().public_bytes(_PEM, _SPKI):
        raise SpecError("the key does not belong to the certificate", where=str(pair.key), try_this="give the pair")
    begins, ends = leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()
    if now >= ends:
        when = leaf.not_valid_after_utc.date().isoformat()
        raise SpecError(f"the certificate expired on {when}", where=str(pair.certificate), try_this="renew it")
    if now < begins:
        when = leaf.not_valid_before_utc.isoformat()
        raise SpecError(f"the certificate is not valid before {when}", where=str(pair.certificate))
    return Loaded(chain, secret, ends, _names(leaf), leaf.fingerprint(hashes.SHA256()).hex())


def development(folder: Path, names: tuple[str, ...], now: float) -> Pair:
    """The certificate in *folder* for *names*, made if there is none that holds for a week more.

    ``server.pem`` (0600) holds key and certificate, so that a renewal replaces both at once; ``certificate.pem`` is
    what clients trust.
    """
    pair, shown = Pair(folder / "server.pem", folder / "server.pem"), folder / "certificate.pem"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with locked(folder / "lock"):
        if not _serves_on(pair, names, now):
            write_atomic(pair.key, make(names, now), mode=0o600)
        certificate = _read(pair.certificate)
        certificate = certificate[certificate.index(b"-----BEGIN CERTIFICATE") :]
        if not shown.is_file() or shown.read_bytes() != certificate:
            write_atomic(shown, certificate)
    return pair


def make(names: tuple[str, ...], now: float) -> bytes:
    """A new ECDSA P-256 key and a certificate for *names* that it signs itself, good for 90 days, as one PEM text."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Guideway development")])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = (
        x509.CertificateBuilder(subject_name=subject, issuer_name=subject, public_key=key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_moment(now - _BACKDATED))
        .not_valid_after(_moment(now + DAYS * _DAY))
        .add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_signing_only(), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
    )
    secret = key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return secret + builder.sign(key, hashes.SHA256()).public_bytes(_PEM)


def local_names(host: str) -> tuple[str, ...]:
    """What a client on this machine may call it: loopback, its own name, and *host* unless that means every address."""
    names = ["localhost", "127.0.0.1", "::1", socket.gethostname()]
    if host not in {"0.0.0.0", "::", ""}:  # noqa: S104 what is compared is not bound
        names.append(host)
    return tuple(dict.fromkeys(name for name in names if name.isascii()))


def _serves_on(pair: Pair, names: tuple[str, ...], now: float) -> bool:
    try:
        found = load(pair, now)
    except GuidewayError:
        return False
    return found.expires - now >= RENEW_DAYS * _DAY and set(names) <= set(found.names)


def _read(path: Path, *, secret: bool = False) -> bytes:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(1 << 20)
    except OSError as error:
        why = (error.strerror or "error").lower()
        raise SpecError(f"the {'key' if secret else 'certificate'} cannot be read: {why}", where=str(path)) from None
    if secret and mode & KEPT_FROM:
        advice = f"chmod 600 {path}"
        raise SpecError("the private key is open to other users", where=str(path), try_this=advice)
    return data


def _leaf(data: bytes, path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificates(data)[0]
    except ValueError:
        raise SpecError("there is no certificate in PEM form in this file", where=str(path)) from None


def _key(data: bytes, path: Path) -> PrivateKeyTypes:
    try:
        return serialization.load_pem_private_key(data, password=None)
    except TypeError:
        advice = "give a key without a password; the rights of the file protect it"
        raise SpecError("the private key is encrypted", where=str(path), try_this=advice) from None
    except (ValueError, UnsupportedAlgorithm):
        raise SpecError("there is no private key in PEM form in this file", where=str(path)) from None


def _public(leaf: x509.Certificate, path: Path) -> bytes:
    try:
        return leaf.public_key().public_bytes(_PEM, _SPKI)
    except (ValueError, UnsupportedAlgorithm):
        raise SpecError("the key of the certificate is of an unknown kind", where=str(path)) from None


def _names(leaf: x509.Certificate) -> tuple[str, ...]:
    try:
        found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return ()
    addresses = [str(one) for one in found.get_values_for_type(x509.IPAddress)]
    return tuple(found.get_values_for_type(x509.DNSName) + addresses)


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _signing_only() -> x509.KeyUsage:
    return x509.KeyUsage(True, False, False, False, False, False, False, False, False)


def _moment(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(int(seconds), datetime.UTC)
