"""How the data port is protected: whether it speaks TLS, its URL, and a warning where keys travel in clear."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from guideway.core.errors import SpecError
from guideway.core.route import GatewaySettings
from guideway.core.spec.gateway import Gateway, Tls
from guideway.kit.addresses import is_loopback

if TYPE_CHECKING:
    from guideway.gateway.tls import Identity


def identity_of(settings: GatewaySettings) -> Identity | None:
    """What the port of *settings* shows to clients, or None where it speaks plain HTTP.

    Raises:
        SpecError: ``gateway.tls`` cannot be meant, or its files cannot be used.
    """
    if not is_on(settings.options.tls):
        return None
    from guideway.gateway.tls import identity  # with it comes a library that a plain port need not hold in memory

    return identity(settings, time.time)


def is_on(tls: Tls) -> bool:
    """Does the data port speak TLS?

    Raises:
        SpecError: the keys contradict each other.
    """
    if tls.development and (tls.certificate or tls.key):
        advice = "leave out development, or certificate and key"
        raise SpecError("gateway.tls asks for a certificate of ours and names one of yours", try_this=advice)
    if tls.key and not tls.certificate:
        raise SpecError("gateway.tls names a key without a certificate", try_this="set gateway.tls.certificate")
    return tls.development or bool(tls.certificate)


def rooted(options: Gateway, root: Path) -> Gateway:
    """*options* with absolute paths of files; relative ones start at *root*, the folder of the spec."""
    tls = options.tls
    absolute = {name: str(root.absolute() / path) for name in ("certificate", "key") if (path := getattr(tls, name))}
    corrections = str(root.absolute() / options.corrections) if options.corrections else ""
    return msgspec.structs.replace(options, tls=msgspec.structs.replace(tls, **absolute), corrections=corrections)


def warning(options: Gateway) -> str | None:
    """What people should know before they serve under *options*, or None."""
    if is_loopback(options.host) or is_on(options.tls):
        return None
    return (
        f"gateway.host is {options.host} without TLS: keys and prompts cross the network in clear; set gateway.tls, "
        "or let only a load balancer with TLS reach this port"
    )


def url(host: str, port: int, tls: Tls) -> str:
    """The base URL of the API for clients; an address that means all of them becomes one that can be called."""
    name = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 nothing is bound here
    name = f"[{name}]" if ":" in name else name
    return f"{'https' if is_on(tls) else 'http'}://{name}:{port}/v1"


def development_certificate(folder: Path) -> Path:
    """The certificate that clients must trust, of the gateway whose files lie in *folder*."""
    return folder / "tls" / "certificate.pem"


def trust(certificate: Path) -> tuple[str, ...]:
    """How clients come to trust the certificate in the file *certificate*: lines to type."""
    return (f"curl --cacert {certificate} ...", f"export SSL_CERT_FILE={certificate}   # Python: httpx, openai")
