"""Shared stores: the real servers, and what happens when they are slow, dead, strange or full."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import random
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from gateway_rig import wait_for
from gateway_stores import Store, free_port

from guideway.gateway.cache.address import read_address
from guideway.gateway.cache.counts import Counts
from guideway.gateway.cache.remote import UNSENT_BYTES, WRITES, Remote
from guideway.gateway.cache.seal import Seal
from guideway.gateway.cache.stored import Stored

SECRET = bytes(range(32))
SEAL = Seal(SECRET, os.urandom)
KEY = b"k" * 32
ANSWER = Stored(200, b"application/json", b'{"said":"the moon"}', (3, 2), 1_700_000_000.0)
PATIENT = 5.0
"""A deadline for tests that are not about deadlines: this machine may be busy."""


class User:
    """A worker's view of a store, on a loop in a thread."""

    def __init__(self, loop, url: str, *, deadline: float = PATIENT, secret: bytes = SECRET) -> None:
        self.loop, self.counts, self.skew = loop, Counts(), 0.0
        self.remote = Remote(
            read_address(url),
            Seal(secret, os.urandom),
            self.counts,
            clock=lambda: time.monotonic() + self.skew,
            uniform=random.Random(1).random,
            deadline=deadline,
            backoff=(0.02, 0.1),
        )
        loop.call(self.remote.start)

    def ready(self) -> User:
        wait_for(lambda: self.remote.ready, what="the store")
        return self

    def put(self, key: bytes = KEY, stored: Stored = ANSWER, seconds: float = 60.0) -> None:
        self.loop.call(self.remote.put, key, stored, seconds)

    def kept(self, key: bytes = KEY, stored: Stored = ANSWER) -> None:
        """Put, and wait until the store has it."""
        before = self.counts.written
        self.put(key, stored)
        wait_for(lambda: self.counts.written > before, what="the write")

    def look(self, key: bytes = KEY) -> Stored | str | None:
        """What a look brings, or 'away' when there is none."""
        heard: list[Stored | None] = []
        if self.loop.call(self.remote.look, key, heard.append) is None:
            return "away"
        wait_for(lambda: heard, what="an answer to the look")
        assert len(heard) == 1
        return heard[0]


@pytest.fixture(params=["redis", "memcached"])
def kind(request):
    return request.param


@pytest.fixture
def server(tmp_path):
    """Starts stores; they die with the test."""
    made = []

    def start(kind: str, *options: str) -> Store:
        made.append(Store(kind, tmp_path, *options))
        return made[-1]

    yield start
    for one in made:
        one.kill()


@pytest.fixture
def user(loop):
    """Makes users, which leave when the test ends."""
    made = []

    def make(url: str, **options) -> User:
        made.append(User(loop, url, **options))
        return made[-1]

    yield make
    for one in made:
        loop.call(one.remote.close)


def test_what_one_gateway_keeps_another_finds(kind, server, user):
    store = server(kind)
    one, other = user(store.url).ready(), user(store.url).ready()
    assert other.look() is None
    one.kept()
    assert other.look() == ANSWER
    assert other.look(b"x" * 32) is None
    assert other.counts.errors == other.counts.forged == 0


def test_the_store_sees_digests_and_nothing_that_can_be_read(kind, server, user):
    store = server(kind)
    user(store.url).ready().kept()
    value = store.value(SEAL.name(KEY))
    assert len(value) > 60
    assert b"moon" not in value
    assert b"json" not in value


def test_an_answer_that_a_stranger_wrote_or_moved_is_a_miss_and_is_counted(kind, server, user):
    store, other = server(kind), b"o" * 32
    one = user(store.url).ready()
    for forged in (
        b"x",
        b"\x01" + bytes(200),
        SEAL.close(other, ANSWER),
        Seal(bytes(32), os.urandom).close(KEY, ANSWER),
    ):
        store.overwrite(SEAL.name(KEY), forged)
        assert one.look() is None
    assert one.counts.forged == 4


def test_another_installation_on_the_same_store_shares_nothing(kind, server, user):
    store = server(kind)
    user(store.url).ready().kept()
    assert user(store.url, secret=bytes(32)).ready().look() is None


def test_a_large_answer_comes_back_whole(kind, server, user):
    store = server(kind)
    one = user(store.url).ready()
    large = Stored(200, b"text/event-stream", os.urandom(900_000), None, 1.0)
    one.kept(stored=large)
    assert one.look() == large


def test_what_memcached_cannot_take_is_dropped_and_counted(server, user):
    one = user(server("memcached").url).ready()
    one.put(stored=Stored(200, b"a", bytes(1_000_001), None, 1.0))
    assert one.counts.dropped == 1


def test_many_looks_at_once_get_each_its_own_answer(kind, server, user, loop):
    one = user(server(kind).url).ready()
    answers = {b"%032d" % number: Stored(200, b"a", b"%d" % number * 50, None, 1.0) for number in range(100)}
    for key, stored in answers.items():
        one.kept(key, stored)
    heard = {}
    loop.call(lambda: [one.remote.look(key, lambda got, key=key: heard.update({key: got})) for key in answers])
    wait_for(lambda: len(heard) == len(answers), what="all answers")
    assert heard == answers


def test_a_look_that_is_forgotten_tells_nothing_and_disturbs_no_other(kind, server, user, loop):
    one = user(server(kind).url).ready()
    one.kept()
    heard = []

    def ask_and_leave() -> None:
        look = one.remote.look(KEY, heard.append)
        assert look is not None
        look.forget()

    loop.call(ask_and_leave)
    assert one.look() == ANSWER
    assert heard == []


@pytest.mark.catalogue("A23")
def test_without_a_store_looks_are_skipped_writes_are_dropped_and_both_are_counted(kind, user):
    one = user(f"{kind}://127.0.0.1:{free_port()}")
    for _ in range(1000):
        one.put()
    assert {one.look() for _ in range(10)} == {"away"}
    assert (one.counts.dropped, one.counts.skipped) == (1000, 10)


@pytest.mark.catalogue("A23")
def test_a_store_that_is_killed_in_use_fails_no_look_and_is_used_again_when_it_is_back(kind, server, user, loop):
    store = server(kind)
    one = user(store.url).ready()
    one.kept()
    heard = []
    store.stop()
    loop.call(lambda: [one.remote.look(KEY, heard.append) for _ in range(50)])
    for _ in range(50):
        one.put()
    store.kill()
    wait_for(lambda: len(heard) == 50, what="every look to be told")
    assert heard == [None] * 50
    wait_for(lambda: one.look() == "away", what="the loss to be seen")
    store.start()
    one.ready().kept()
    assert one.look() == ANSWER


@pytest.mark.catalogue("A23")
def test_a_store_that_hangs_is_left_alone_after_three_looks_and_asked_again_when_it_answers(kind, server, user):
    store = server(kind)
    one = user(store.url, deadline=0.3).ready()
    one.kept()
    store.stop()
    assert [one.look() for _ in range(3)] == [None] * 3
    assert one.look() == "away"
    assert one.counts.late == 3
    store.go_on()
    wait_for(lambda: one.look() == ANSWER, what="the store to be used again")


@pytest.mark.catalogue("A23")
def test_writes_to_a_store_that_hangs_are_bounded_in_memory_and_then_given_up(kind, server, user, loop):
    store = server(kind)
    one = user(store.url).ready()
    store.stop()
    large = Stored(200, b"a", os.urandom(500_000), None, 1.0)
    waiting = []
    for _ in range(100):
        one.put(stored=large)
        waiting.append(loop.call(lambda: one.remote._writes.lane.unsent))
    assert max(waiting) <= UNSENT_BYTES + 500_100
    assert one.counts.dropped >= 80
    one.skew += 3.0
    one.put()
    assert one.remote._writes.lane is None, "after two seconds without a sign it is dropped, with all that waits"


@pytest.mark.catalogue("A23")
def test_so_many_small_writes_wait_and_no_more(server, user):
    store = server("redis")
    one = user(store.url).ready()
    store.stop()
    for _ in range(WRITES + 100):
        one.put()
    assert one.counts.dropped == 100


def test_a_store_that_talks_garbage_is_no_store(loop, user):
    async def serve(reader, writer) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async def listen():
        return await asyncio.start_server(serve, "127.0.0.1", 0)

    server = loop.run(listen())
    one = user(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    task = one.remote._looks._task
    wait_for(lambda: one.remote._looks._failures > 2, what="some tries")
    assert one.look() == "away"
    assert not task.done()
    loop.call(server.close)


def test_redis_with_a_password_and_a_database_lets_us_in_and_no_log_tells_the_password(server, user, capfd):
    store = server("redis", "--requirepass", "swordfish")
    at = f"127.0.0.1:{store.port}"
    one = user(f"redis://:swordfish@{at}/3").ready()
    one.kept()
    assert one.look() == ANSWER
    assert user(f"redis://default:swordfish@{at}/3").ready().look() == ANSWER
    assert user(f"redis://:swordfish@{at}/4").ready().look() is None
    wrong = user(f"redis://:catfish@{at}")
    wait_for(lambda: wrong.remote._looks._failures > 2, what="some tries")
    assert wrong.look() == "away"
    said = capfd.readouterr().err
    assert "WRONGPASS" in said
    assert "swordfish" not in said
    assert "catfish" not in said
    counted = Counter(line for line in said.splitlines() if "WRONGPASS" in line)
    assert sum(counted.values()) == 2, "one line for each of the two connections, not one for each try"


def test_memcached_with_a_password_lets_us_in(server, user, tmp_path):
    (tmp_path / "users").write_text("me:swordfish\n")
    store = server("memcached", "-Y", str(tmp_path / "users"))
    one = user(f"memcached://me:swordfish@127.0.0.1:{store.port}").ready()
    one.kept()
    assert one.look() == ANSWER
    wrong = user(f"memcached://me:catfish@127.0.0.1:{store.port}")
    wait_for(lambda: wrong.remote._looks._failures > 2, what="some tries")
    assert wrong.look() == "away"


def test_rediss_is_used_only_where_the_certificate_is_vouched_for(server, user, tmp_path):
    certificate, key = self_signed(tmp_path)
    tls = free_port()
    server(
        "redis",
        "--tls-port",
        str(tls),
        "--tls-cert-file",
        certificate,
        "--tls-key-file",
        key,
        "--tls-auth-clients",
        "no",
    )
    one = user(f"rediss://127.0.0.1:{tls}?ca={certificate}").ready()
    one.kept()
    assert one.look() == ANSWER
    stranger = user(f"rediss://127.0.0.1:{tls}")
    wait_for(lambda: stranger.remote._looks._failures > 2, what="some tries")
    assert stranger.look() == "away"


def self_signed(folder) -> tuple[str, str]:
    """A certificate for 127.0.0.1 that vouches for itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "cache")])
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    builder = builder.add_extension(names, critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    made = builder.sign(key, hashes.SHA256())
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    (folder / "cache.crt").write_bytes(made.public_bytes(pem))
    (folder / "cache.key").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    return str(folder / "cache.crt"), str(folder / "cache.key")
