"""Keys: their form, their digest, and who is let in."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import time

import msgspec
import pytest
from gateway_rig import CHAT, KEY, MODEL, OTHER_KEY, PEPPER, Client, key_file, wait_for
from hypothesis import given
from hypothesis import strategies as st
from system_rig import Running

from guideway.core.route import ApiKey, KeyFile
from guideway.fleet import orders
from guideway.gateway.follow import FollowedFile
from guideway.gateway.keys import KeyRing, allows, key_digest, new_key
from guideway.store.database import Database
from guideway.store.home import Home


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


def test_a_key_is_found_until_it_expires_and_not_from_then_on():
    now = 99.0
    key = ApiKey(id="a", digest=key_digest(PEPPER, KEY), expires=100.0)
    keys = KeyRing(KeyFile(pepper=PEPPER.hex(), keys=(key,)), wall=lambda: now)
    assert keys.find(f"Bearer {KEY}".encode()) == key
    now = 100.0
    assert keys.find(f"Bearer {KEY}".encode()) is None


@pytest.mark.parametrize(("models", "may"), [((), True), (("poet",), True), (("other", "poet"), True), (("o",), False)])
def test_a_key_calls_the_models_that_it_names_or_all(models, may):
    assert allows(ApiKey(id="a", digest="", models=models), "poet") is may


@pytest.fixture
def followed(tmp_path):
    """A home with its rows, and a key ring that follows the projected file as a worker does."""
    home = Home.of(tmp_path)
    home.environment("dev").mkdir(parents=True)
    rings = [KeyRing()]
    path = home.environment("dev") / "keys.json"
    accept = lambda data: rings.append(KeyRing(msgspec.json.decode(data, type=KeyFile)))  # noqa: E731
    file = FollowedFile(path, accept, time.time_ns)

    def find(key):
        file.look()
        return rings[-1].find(f"Bearer {key}".encode())

    with Database(home.database) as database:
        yield home, database, find


@pytest.mark.catalogue("B21")
def test_a_key_that_is_revoked_is_refused_within_five_seconds(followed):
    home, database, find = followed
    key = orders.make_key(home, database, "dev", "ann", clock=time.time)
    wait_for(lambda: find(key), 5.0)
    orders.revoke_key(home, database, "dev", find(key).id, clock=time.time)
    wait_for(lambda: find(key) is None, 5.0)


@pytest.mark.catalogue("B21")
def test_only_a_peppered_digest_of_a_key_is_kept(followed):
    home, database, find = followed
    key = orders.make_key(home, database, "dev", "ann", clock=time.time)
    assert find(key)
    database.close()
    kept = [path for path in home.path.rglob("*") if path.is_file() and key.encode() in path.read_bytes()]
    bare = hashlib.sha256(key.encode()).hexdigest().encode()
    kept += [path for path in home.path.rglob("*") if path.is_file() and bare in path.read_bytes()]
    assert kept == []


def test_what_a_key_grants_reaches_the_workers(followed):
    home, database, find = followed
    terms = {"tenant": "t", "role": "operator", "models": ("poet",), "expires": time.time() + 60}
    key = orders.make_key(home, database, "dev", "ann", clock=time.time, **terms)
    wait_for(lambda: find(key), 5.0)
    assert {name: getattr(find(key), name) for name in terms} == terms


def test_a_new_key_never_takes_the_id_of_another(followed, monkeypatch):
    home, database, _ = followed
    draws = [bytes(32), bytes(32), bytes([1]) * 32]
    monkeypatch.setattr(orders.secrets, "token_bytes", lambda size: draws.pop(0))
    first = orders.make_key(home, database, "dev", "ann", clock=time.time)
    assert orders.make_key(home, database, "prod", "ben", clock=time.time) != first


@pytest.mark.catalogue("B24")
def test_a_role_models_and_limits_in_a_body_change_nothing(gateway, replica, client):
    gateway.serve(replica())
    wish = {"role": "admin", "models": [], "tenant": "other", "limits": {"requests_per_minute": 0}, "expires": None}
    before = gateway.plane._keys.find(f"Bearer {KEY}".encode())
    body = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], **wish}
    assert client.ask("POST", CHAT, body).status == 200
    assert gateway.plane._keys.find(f"Bearer {KEY}".encode()) is before
    assert (before.role, before.tenant, before.models, before.limits) == ("user", "", (), None)


def asked(port, *arguments, **options):
    with Client(port) as client:
        return client.ask(*arguments, **options)


def test_while_nobody_knows_which_keys_count_requests_are_refused_and_health_says_so(gateway, replica, client):
    gateway.serve(replica())
    assert [client.ask().status for _ in range(2)] == [200, 200]
    gateway.loop.call(gateway.plane.lose_keys, True)
    reply = client.ask()
    assert (reply.status, reply.json()["error"]["code"], reply.headers["retry-after"]) == (503, "keys_unread", "1")
    health = asked(gateway.port, "GET", "/healthz", headers="")
    assert (health.status, health.json()) == (503, {"status": "keys cannot be read"})
    assert asked(gateway.port, "GET", "/v2/health/ready", headers="").json() == {"ready": False}
    assert asked(gateway.port, "GET", "/v1/files").status == 503
    gateway.loop.call(gateway.plane.lose_keys, False)
    assert asked(gateway.port).status == 200
    assert asked(gateway.port, "GET", "/healthz", headers="").status == 200


def test_a_worker_that_cannot_read_its_keys_serves_nobody_until_it_can(tmp_path, replica):
    one = Running(tmp_path, workers=1)
    try:
        one.routes([replica().port])
        port = one.up().port
        one.keys(b"{")
        assert asked(port).status == 200, "what was read last counts for five seconds"
        wait_for(lambda: asked(port).status == 503, 15)
        assert one.probe() == 503
        one.keys(key_file())
        wait_for(lambda: asked(port).status == 200, 5)
    finally:
        one.stop()
    said = (tmp_path / "gateway.log").read_text()
    assert said.count("keys cannot be read") == said.count("keys can be read") == 1
