"""Keys: their form, their digest, and who is let in."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys

import pytest
from gateway_rig import KEY, OTHER_KEY, PEPPER, key_file
from hypothesis import given
from hypothesis import strategies as st

from guideway.core.route import ApiKey, KeyFile
from guideway.gateway.keys import KeyRing, key_digest, new_key


@given(st.binary(min_size=32, max_size=32))
def test_a_key_is_gw_and_43_characters_that_are_safe_in_a_url(random_bytes):
    assert re.fullmatch(r"gw-[A-Za-z0-9_-]{43}", new_key(random_bytes))


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_other_random_bytes_make_another_key(one, other):
    assert (new_key(one) == new_key(other)) is (one == other)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_key_is_not_made_from_too_little(size):
    with pytest.raises(ValueError, match="32 random bytes"):
        new_key(bytes(size))


def test_the_digest_is_sha256_of_pepper_and_key():
    assert key_digest(PEPPER, KEY) == hashlib.sha256(PEPPER + KEY.encode()).hexdigest()
    assert key_digest(b"other", KEY) != key_digest(PEPPER, KEY)


def ring(**options):
    import msgspec

    return KeyRing(msgspec.json.decode(key_file(**options), type=KeyFile))


def test_a_key_is_found_by_its_digest_and_tells_its_id():
    found = ring(keys=[KEY, OTHER_KEY]).find(f"Bearer {OTHER_KEY}".encode())
    assert found is not None
    assert found.id == key_digest(PEPPER, OTHER_KEY)[:8]


def test_a_revoked_key_and_a_digest_sent_as_a_key_are_not_found():
    assert ring(keys=[KEY], revoked=[KEY]).find(f"Bearer {KEY}".encode()) is None
    assert ring().find(f"Bearer {key_digest(PEPPER, KEY)}".encode()) is None


@given(st.binary(max_size=80))
def test_nothing_but_a_key_opens(value):
    assert ring().find(value) is None
    assert ring().find(b"Bearer " + value) is None


def test_an_empty_ring_lets_nobody_in():
    assert KeyRing().find(b"Bearer ") is None
    assert KeyRing().find(f"Bearer {KEY}".encode()) is None


@pytest.mark.parametrize("file", [KeyFile(pepper="zz"), KeyFile(pepper="", keys=(ApiKey(id="a", digest="q"),))])
def test_a_keys_file_that_is_not_hexadecimal_is_refused(file):
    with pytest.raises(ValueError, match="hex"):
        KeyRing(file)


def test_making_keys_needs_no_event_loop_and_no_parser():
    code = "import sys, guideway.gateway.keys; print({'uvloop', 'httptools', 'asyncio'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"
