"""What stands beside the gateway dies, hangs or is locked: requests go on, and no count is lost or doubled."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections import Counter

import msgspec
import pytest
from gateway_rig import MODEL, OPTIONS, Client, wait_for
from gateway_stores import Store
from system_rig import Load, at_once, chat, connections_of, drill, replicas, shared, system

from guideway.core.spec.gateway import Cache, Limits
from guideway.store import outcomes, usage
from guideway.store.database import Database

pytestmark = pytest.mark.thorough

__all__ = ["replicas", "shared", "system"]

REQUESTS = "guideway_gateway_requests_total"


@pytest.fixture(params=["redis", "memcached"])
def store(request, tmp_path):
    made = Store(request.param, tmp_path)
    yield made
    made.kill()


def question(turn):
    """One of fifty questions, each with only one answer."""
    return {"temperature": 0, "messages": [{"role": "user", "content": f"question {turn % 50}"}]}


@pytest.mark.catalogue("A23")
def test_a_shared_cache_that_is_killed_or_stands_still_fails_no_request(system, store):
    one = system(options=msgspec.structs.replace(OPTIONS, cache=Cache(store=store.url)))
    (behind,) = one.replicas
    with Load(one.port, streams=False, key=one.key, ask=question) as load:
        load.more(200)
        assert behind.counts()["asked"] < load.answers / 2, "most answers came from the cache"
        for _ in range(drill(1, 10)):
            store.kill()
            load.more(200)
            store.start()
            load.more(200)
            store.stop()
            load.more(200)
            store.go_on()
            load.more(100)
    assert load.wrong == []
    assert set(load.statuses) == {200}


@pytest.mark.catalogue("A24")
def test_a_state_database_that_is_locked_stops_no_request_and_hears_of_all_of_them_later(shared):
    free, limited = shared.new_key("free"), shared.new_key(limits=Limits(requests_per_day=500))
    wait_for(lambda: {one.status for one in at_once(shared.port, 8, chat(limited))} == {200}, what="the keys")
    with sqlite3.connect(shared.home.database, isolation_level=None) as lock:
        lock.execute("BEGIN EXCLUSIVE")
        with Load(shared.port, key=free) as load:
            load.more(drill(300, 30_000))
            statuses = {one.status for one in at_once(shared.port, 20, chat(limited))}
            assert statuses <= {200, 503}, "what cannot be checked is not granted"
            load.more(100)
        lock.execute("ROLLBACK")
    lock.close()
    assert load.wrong == []
    assert set(load.statuses) == {200}
    wait_for(lambda: used(shared, free) == load.answers, 20, "every request being in the rows")
    wait_for(lambda: at_once(shared.port, 1, chat(limited))[0].status == 200, 20, "limits being checked again")


@pytest.mark.catalogue("A24")
def test_a_state_database_that_is_gone_stops_no_request(system):
    one = system()
    files = [path for path in one.home.path.iterdir() if path.name.startswith("state.db")]
    for path in files:
        path.rename(path.with_name("away-" + path.name))
    one.home.database.mkdir()
    with Load(one.port, key=one.key) as load:
        load.more(drill(200, 20_000))
        for name in ("limits", "admin"):
            os.kill(one.companion(name), signal.SIGKILL)
        load.more(200)
    assert load.wrong == []
    assert set(load.statuses) == {200}


def used(system, key):
    """The requests of *key* that the rows know of."""
    id = system.id_of(key)
    today = int(time.time() // 86_400)
    with Database(system.home.database) as database:
        return sum(usage.of_day(database, day).get(id, usage.Use()).requests for day in (today - 1, today))


# Outcomes.


def spooled(system):
    """The ids of all requests in the spool, as often as they stand there."""
    folder, found = system.folder / "outcomes", Counter()
    for name in outcomes.segments(folder):
        offset, ended = 0, False
        while not ended:
            reading = outcomes.read(folder, name, offset)
            found.update(one.request for one in reading.records)
            ended, offset = reading.ended or reading.offset == offset, reading.offset
    return found


def answered(clients, key):
    """Ask once on each of *clients*; the ids of the answers."""
    for client in clients:
        client.send(chat(key))
    replies = [client.reply() for client in clients]
    assert {reply.status for reply in replies} == {200}
    return [reply.headers["x-request-id"] for reply in replies]


def test_the_spool_holds_every_request_once_and_a_killed_worker_loses_only_what_it_had_not_written(system):
    one = system()
    clients = [Client(one.port) for _ in range(40)]
    early = [id for _ in range(10) for id in answered(clients, one.key)]
    wait_for(lambda: set(early) <= set(spooled(one)), 5.0, "all outcomes being written")
    mine = connections_of(one.workers[0], clients)
    late = answered(clients, one.key)
    os.kill(one.workers[0], signal.SIGKILL)
    others = {id for id, own in zip(late, mine, strict=True) if not own}
    assert 0 < len(others) < 40
    wait_for(lambda: others <= set(spooled(one)), 5.0, "the outcomes of the worker that lives")
    found = spooled(one)
    assert set(early) <= set(found)
    assert set(found.values()) == {1}, "none stands there twice"
    for client in clients:
        client.socket.close()


def test_workers_that_leave_in_order_have_written_every_outcome(system):
    one = system()
    clients = [Client(one.port) for _ in range(20)]
    ids = answered(clients, one.key)
    for client in clients:
        client.socket.close()
    one.signal(signal.SIGTERM)
    assert one.process.wait(20) == 0
    found = spooled(one)
    assert {id: found[id] for id in ids} == dict.fromkeys(ids, 1)


# Metrics.


def test_metrics_add_up_both_workers_and_never_go_backwards(system):
    one = system()
    before = one.metric(REQUESTS, model=MODEL)
    clients = [Client(one.port) for _ in range(20)]
    for _ in range(10):
        answered(clients, one.key)
    wait_for(lambda: one.metric(REQUESTS, model=MODEL) == before + 200, 10, "both workers having told")
    seen = [before + 200]
    for _ in range(drill(2, 20)):
        victim = one.workers[0]
        os.kill(victim, signal.SIGKILL)

        def replaced(victim=victim):
            seen.append(one.metric(REQUESTS, model=MODEL))
            return victim not in one.workers and one.metric("guideway_gateway_workers") == 2

        wait_for(replaced, 20, "another worker")
    assert seen == sorted(seen)
    assert seen[-1] == before + 200
    fresh = [Client(one.port) for _ in range(20)]
    answered(fresh, one.key)
    wait_for(lambda: one.metric(REQUESTS, model=MODEL) == before + 220, 10, "the new worker having told")
    for client in clients + fresh:
        client.socket.close()


def test_metrics_survive_the_admin_plane_and_a_replacement_of_all_workers(system):
    one = system()
    clients = [Client(one.port) for _ in range(20)]
    answered(clients, one.key)
    for client in clients:
        client.socket.close()
    before = set(one.workers)
    one.signal(signal.SIGHUP)
    wait_for(lambda: not before & set(one.workers), 30, "all workers being replaced")
    os.kill(one.companion("admin"), signal.SIGKILL)
    wait_for(one.admin_answers, 30, "another admin plane")
    wait_for(lambda: one.metric(REQUESTS, model=MODEL) == 20, 20, "what workers that left had counted")
