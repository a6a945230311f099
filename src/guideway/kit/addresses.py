"""Which network addresses may be called: this machine, and those that nobody means to call."""

from __future__ import annotations

import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_CLOUD_METADATA = {ipaddress.ip_address(text) for text in ("100.100.100.200", "fd00:ec2::254")}
_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")
"""RFC 6052: an IPv4 address in the last 32 bits."""


def is_loopback(host: str) -> bool:
    """Is *host*, a name or an address, this machine?"""
    if host == "localhost":
        return True
    address = _address(host)
    return address is not None and _unwrapped(address).is_loopback


def is_forbidden(host: str) -> bool:
    """Is *host* an address that no server for others has: link-local, cloud metadata, unspecified or multicast?

    IPv4 addresses inside IPv6 ones are unwrapped. A name is not resolved: ask again with the address connected to.
    """
    address = _address(host)
    if address is None:
        return False
    inner = _unwrapped(address)
    return inner.is_link_local or inner.is_unspecified or inner.is_multicast or inner in _CLOUD_METADATA


def _address(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0].strip("[]"))
    except ValueError:
        return None


def _unwrapped(address: Address) -> Address:
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _TRANSLATED:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or _compatible(address) or address


def _compatible(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """``::a.b.c.d``, an old way to write an IPv4 address; ``::`` and ``::1`` are not meant."""
    number = int(address)
    return ipaddress.IPv4Address(number) if 0xFFFF < number <= 0xFFFFFFFF else None
