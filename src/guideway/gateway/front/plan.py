"""What a load balancer in front of gateways is to do, checked so that nothing in it can bend a configuration."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

import msgspec

from guideway.core.errors import SpecError
from guideway.core.route import Endpoint
from guideway.core.spec.gateway import Gateway

MEGABYTE = 1024 * 1024
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
IDLE_SECONDS = 60
"""A balancer keeps idle connections to a gateway for less than the 75 s after which the gateway closes them."""
CONNECT_SECONDS = 2
ANSWER_SLACK = 10
"""Seconds that a balancer waits longer than the gateway, whose own error says more."""

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_FILE = re.compile(r"[\w./+@:-]+")


class Front(msgspec.Struct, frozen=True):
    """What people choose. ``listen`` is ``HOST:PORT`` or ``:PORT``.

    ``certificate`` and ``key`` are what clients are shown; without them clients speak plain HTTP. With ``ca``, a file
    of certificates, the gateways are called by TLS; ``name`` is the name that theirs must have.
    """

    listen: str = ":443"
    certificate: str = ""
    key: str = ""
    ca: str = ""
    name: str = ""


class Plan(msgspec.Struct, frozen=True):
    """The same, checked, with the figures that follow from the spec. ``bind`` has no host for every address."""

    gateways: tuple[Endpoint, ...]
    bind_host: str
    bind_port: int
    front: Front
    body: int
    """Bytes of the largest request."""
    upload: int
    """Bytes of the largest file for a batch."""
    seconds: int
    """How long an answer may pause."""


def plan(gateways: Sequence[Endpoint], front: Front, options: Gateway) -> Plan:
    """Check all of it.

    Raises:
        SpecError: there is no gateway, one stands there twice, or something is no name, address or file.
    """
    if not gateways:
        raise SpecError("there is no gateway to stand in front of", try_this="name each with --host ADDRESS:PORT")
    if len(set(gateways)) < len(gateways):
        raise SpecError("a gateway is named twice", try_this="name each host once")
    for endpoint in gateways:
        _checked_host(endpoint.host)
    host, port = _listen(front.listen)
    _check_files(front)
    _check_names(gateways, front)
    return Plan(
        gateways=tuple(gateways),
        bind_host=host,
        bind_port=port,
        front=front,
        body=options.body_megabytes * MEGABYTE,
        upload=options.batches.megabytes * MEGABYTE,
        seconds=int(options.routing.timeout) + ANSWER_SLACK,
    )


def endpoint(text: str) -> Endpoint:
    """``HOST:PORT``, with brackets around an IPv6 address.

    Raises:
        SpecError: it is not that.
    """
    host, _, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    if not host or (":" in host) is not bracketed or not port.isascii() or not port.isdigit():
        raise SpecError(f"'{text[:80]}' is not HOST:PORT", try_this="such as 10.0.0.1:8080 or [fd00::1]:8080")
    if not 0 < int(port[:6]) < 65536:
        raise SpecError(f"there is no port {port[:6]}", try_this="a port is a number from 1 to 65535")
    return Endpoint(_checked_host(host), int(port))


def address(one: Endpoint) -> str:
    """``HOST:PORT`` as both balancers write it."""
    return f"[{one.host}]:{one.port}" if ":" in one.host else f"{one.host}:{one.port}"


def error(status: int, message: str, code: str) -> str:
    """The error of the OpenAI API that a balancer answers by itself, on one line without a single quote."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    return msgspec.json.encode(body).decode()


def _listen(text: str) -> tuple[str, int]:
    if text.startswith(":"):
        return "", endpoint(f"any{text}").port
    found = endpoint(text)
    return found.host, found.port


def _checked_host(host: str) -> str:
    if not _NAME.fullmatch(host) and not _is_address(host):
        raise SpecError(f"'{host[:80]}' is neither a name nor an address")
    return host


def _is_address(host: str) -> bool:
    try:
        return "%" not in host and bool(ipaddress.ip_address(host))
    except ValueError:
        return False


def _check_files(front: Front) -> None:
    for what, path in (("certificate", front.certificate), ("key", front.key), ("ca", front.ca)):
        if path and not _FILE.fullmatch(path):
            advice = "give a path without spaces and quotes"
            raise SpecError(f"the path of the {what} cannot stand in a configuration", where=path[:80], try_this=advice)
    if front.key and not front.certificate:
        raise SpecError("there is a key without a certificate", try_this="add --certificate FILE")


def _check_names(gateways: Sequence[Endpoint], front: Front) -> None:
    """Balancers compare names, not addresses, with a certificate: without a name they would trust any."""
    if front.name and not _NAME.fullmatch(front.name):
        raise SpecError(f"'{front.name[:80]}' is no name")
    if front.name and not front.ca:
        raise SpecError("a name of the gateways is of use with TLS to them only", try_this="add --gateway-ca FILE")
    if front.ca and not front.name and (len(gateways) > 1 or _is_address(gateways[0].host)):
        advice = "add --gateway-name NAME, which the certificate of every gateway has"
        raise SpecError("with TLS to the gateways their certificates must have one name", try_this=advice)
