"""What a shared store sees, where it listens, and how it is spoken to."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guideway.core.errors import SpecError
from guideway.gateway.cache.address import read_address
from guideway.gateway.cache.lane import LONGEST_LINE, Reply
from guideway.gateway.cache.memcached import LONGEST_SECONDS, Memcached
from guideway.gateway.cache.redis import Redis
from guideway.gateway.cache.seal import Seal
from guideway.gateway.cache.stored import Stored

SECRET = bytes(range(32))
KEY, OTHER = b"k" * 32, b"o" * 32
ANSWER = Stored(200, b"application/json", b'{"said":"the moon"}', (3, 2), 1_700_000_000.5)
REDIS, MEMCACHED = read_address("redis://h"), read_address("memcached://h")


def seal(secret: bytes = SECRET) -> Seal:
    return Seal(secret, os.urandom)


def test_what_is_closed_is_opened_by_every_gateway_with_the_secret():
    assert seal().open(KEY, seal().close(KEY, ANSWER)) == ANSWER


def test_neither_name_nor_value_shows_anything_and_no_value_comes_twice():
    value = seal().close(KEY, ANSWER)
    assert b"moon" not in value
    assert KEY not in seal().name(KEY)
    assert KEY.hex().encode() not in seal().name(KEY)
    assert value != seal().close(KEY, ANSWER)
    assert seal().name(KEY) != seal(bytes(32)).name(KEY)
    assert len(seal().name(os.urandom(500))) <= 76


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\x01",
        bytes(100),
        b"\x01" + bytes(100),
        b'{"status":200}',
        seal(bytes(32)).close(KEY, ANSWER),
        seal().close(OTHER, ANSWER),
        b"\x02" + seal().close(KEY, ANSWER)[1:],
        seal().close(KEY, ANSWER)[:-1],
        seal().close(KEY, ANSWER) + b"x",
    ],
    ids=["empty", "short", "zeros", "no tag", "plain", "other secret", "moved", "other version", "cut", "longer"],
)
def test_what_a_stranger_wrote_or_moved_is_no_answer(value):
    assert seal().open(KEY, value) is None


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_value_with_any_byte_changed_is_no_answer(where, change):
    value = bytearray(seal().close(KEY, ANSWER))
    value[where % len(value)] ^= change
    assert seal().open(KEY, bytes(value)) is None


def test_a_short_secret_is_refused():
    with pytest.raises(ValueError, match="32 bytes"):
        seal(b"short")


@pytest.mark.parametrize(
    ("url", "kind", "host", "port", "database"),
    [
        ("redis://cache", "redis", "cache", 6379, 0),
        ("redis://cache:7000/3", "redis", "cache", 7000, 3),
        ("rediss://[::1]:7000/", "rediss", "::1", 7000, 0),
        ("memcached://10.0.0.1", "memcached", "10.0.0.1", 11211, 0),
    ],
)
def test_an_address_is_read(url, kind, host, port, database):
    found = read_address(url)
    assert (found.kind, found.host, found.port, found.database) == (kind, host, port, database)


def test_user_and_password_are_read_and_shown_nowhere():
    found = read_address("redis://me:a%40b%2Fsecret@cache/1")
    assert (found.user, found.password) == ("me", "a@b/secret")
    assert f"{found} {found!r} {[found]}".count("secret") == 0
    assert str(found) == "redis://cache:6379"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "disk",
        "http://:secret@cache",
        "redis://",
        "redis://:secret@cache:x",
        "redis://:secret@cache/two",
        "redis://:secret@cache?db=1",
        "redis://:secret@cache/-1",
        "redis://[:secret@cache",
        "redis://:secret@cache?x",
    ],
)
def test_an_address_that_cannot_be_meant_is_refused_without_telling_it(url):
    with pytest.raises(SpecError) as caught:
        read_address(url)
    assert "secret" not in str(caught.value)


REPLIES = [
    (Redis(REDIS), b"$-1\r\n", Reply()),
    (Redis(REDIS), b"$5\r\na\r\nbc\r\n", Reply(b"a\r\nbc")),
    (Redis(REDIS), b"$0\r\n\r\n", Reply(b"")),
    (Redis(REDIS), b"+OK\r\n", Reply()),
    (Redis(REDIS), b"-OOM command not allowed: secret\r\n", Reply(error="OOM")),
    (Memcached(MEMCACHED), b"END\r\n", Reply()),
    (Memcached(MEMCACHED), b"VALUE k 0 5\r\na\r\nbc\r\nEND\r\n", Reply(b"a\r\nbc")),
    (Memcached(MEMCACHED), b"VALUE k 0 0\r\n\r\nEND\r\n", Reply(b"")),
    (Memcached(MEMCACHED), b"STORED\r\n", Reply()),
    (Memcached(MEMCACHED), b"SERVER_ERROR object too large\r\n", Reply(error="SERVER_ERROR")),
    (Memcached(MEMCACHED), b"VERSION 1.6\r\n", Reply()),
]


@pytest.mark.parametrize(("dialect", "raw", "reply"), REPLIES, ids=[repr(raw) for _, raw, _ in REPLIES])
def test_a_reply_is_read_when_it_is_whole_and_never_before(dialect, raw, reply):
    for cut in range(len(raw)):
        assert dialect.parse(bytearray(raw[:cut])) is None
    assert dialect.parse(bytearray(raw + b"next")) == (reply, len(raw))


@pytest.mark.parametrize(
    "raw", [b"HTTP/1.1 400\r\n", b"*1\r\n", b"$x\r\n", b"$-2\r\n", b"$99999999999\r\n", b"x" * (LONGEST_LINE + 1)]
)
def test_what_is_no_reply_of_redis_is_refused(raw):
    with pytest.raises(ValueError, match=r"reply|length|too long"):
        Redis(REDIS).parse(bytearray(raw))


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 400\r\n",
        b"VALUE k 0 x\r\n",
        b"VALUE k 0 99999999\r\n",
        b"VALUE k 0 1\r\nabcdefghi",
        b"\r\n",
        b"x" * (LONGEST_LINE + 1),
    ],
)
def test_what_is_no_reply_of_memcached_is_refused(raw):
    with pytest.raises(ValueError, match=r"reply|length|announced|too long"):
        Memcached(MEMCACHED).parse(bytearray(raw))


@given(st.binary(max_size=200))
def test_no_bytes_break_a_parser(raw):
    for dialect in (Redis(REDIS), Memcached(MEMCACHED)):
        try:
            found = dialect.parse(bytearray(raw))
        except ValueError:
            continue
        assert found is None or 0 < found[1] <= len(raw)


def test_a_long_life_is_not_taken_for_a_date():
    assert b" 0 %d 1\r\n" % LONGEST_SECONDS in Memcached(MEMCACHED).set(b"k", b"v", 10**9)
