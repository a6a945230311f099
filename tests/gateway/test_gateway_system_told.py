"""A gateway of real processes tells of a request that hangs while it hangs, and of its load."""

from __future__ import annotations

import signal
import time

import msgspec
from gateway_rig import MODEL, Client, route, wait_for
from system_rig import chat, replicas, system

from guideway.kit.files import write_atomic
from guideway.store import outcomes
from guideway.store.load import FOLDER, read_load

__all__ = ["replicas", "system"]

LIMITS = (200.0, 400.0)


def told(one):
    """What the rollout's requests left."""
    folder = one.folder / "outcomes"
    records = [found for name in outcomes.segments(folder) for found in outcomes.read(folder, name).records]
    return [found for found in records if found.rollout == "r1"]


def test_a_request_that_hangs_is_told_of_at_once_and_seen_in_the_load(system, replicas):
    stable, candidate = replicas(), replicas()
    one = system(stable)
    new = route([stable.port], [candidate.port], weight=1.0, revision=one.revision + 1)
    write_atomic(one.route_file, msgspec.json.encode(msgspec.structs.replace(new, rollout="r1", limits=LIMITS)))
    with Client(one.port) as client:

        def answered_by_the_candidate():
            client.send(chat(one.key))
            return client.reply().headers["x-guideway-release"].startswith("c")

        wait_for(answered_by_the_candidate)
        candidate.signal(signal.SIGSTOP)
        client.send(chat(one.key))
        wait_for(lambda: any(found.exceeded == LIMITS for found in told(one)), 20, "the early record")
        assert {found.overdue for found in told(one)} == {"", "running"}
        folder = one.folder / FOLDER
        wait_for(lambda: read_load(folder, time.time()).running == 1, 20, "the load")
        assert read_load(folder, time.time()).workers == len(one.workers)
        labels = {"model": MODEL, "priority": "live"}
        wait_for(lambda: one.metric("guideway_gateway_requests_running", **labels) == 1.0, 20, "the metric")
        candidate.signal(signal.SIGCONT)
        assert client.reply().status == 200
    wait_for(lambda: [found for found in told(one) if found.overdue == "over"], 20, "the end")
    (last,) = [found for found in told(one) if found.overdue == "over"]
    assert (last.arm, last.exceeded, last.status) == ("candidate", LIMITS, 200)
    wait_for(lambda: read_load(folder, time.time()).running == 0, 20, "the load")
    waits = "guideway_gateway_queue_time_seconds_count"
    wait_for(lambda: one.metric(waits, **labels) == read_load(folder, time.time()).finished > 0, 20, "the same counts")
