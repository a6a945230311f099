"""Addresses that may be called, and how long is waited between tries."""

from __future__ import annotations

import pytest

from guideway.kit.addresses import is_forbidden, is_loopback
from guideway.kit.retry import pauses


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]", "::ffff:127.0.0.1"])
def test_this_machine_is_known(host):
    assert is_loopback(host) and not is_forbidden(host)


@pytest.mark.parametrize("host", ["example.org", "localhost.example.org", "10.0.0.1", "2001:db8::1", "8.8.8.8"])
def test_other_machines_may_be_called_too(host):
    assert not is_loopback(host) and not is_forbidden(host)


@pytest.mark.parametrize(
    "host",
    ["169.254.169.254", "::ffff:169.254.169.254", "fe80::1%eth0", "64:ff9b::169.254.169.254", "2002:a9fe:a9fe::",
     "::169.254.169.254", "fd00:ec2::254", "100.100.100.200", "0.0.0.0", "::", "ff02::1", "239.1.1.1"],
)  # fmt: skip
@pytest.mark.catalogue("B13")
def test_link_local_and_metadata_addresses_are_never_called(host):
    assert is_forbidden(host) and not is_loopback(host)


@pytest.mark.parametrize(("tries", "found"), [(1, []), (4, [0.5, 1, 2]), (8, [0.5, 1, 2, 4, 8, 15, 15])])
def test_pauses_double_and_are_bounded(tries, found):
    assert list(pauses(tries)) == found
