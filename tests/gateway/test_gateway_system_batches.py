"""Files and batches through the whole gateway, with the official client: nothing is lost, nothing comes twice."""

from __future__ import annotations

import os
import signal
from collections import Counter

import openai
import pytest
from batches_rig import FINAL, begin, ended, line, results
from gateway_rig import wait_for
from system_rig import Load, at_once, chat, drill, replicas, shared, system

from guideway.core.spec.gateway import Limits

pytestmark = pytest.mark.thorough

__all__ = ["replicas", "shared", "system"]

AT_ONCE = 4
"""Lines that run at once, unless the specification says otherwise."""


@pytest.fixture
def client_of(shared):
    """Makes official clients of the shared gateway."""
    made = []

    def make(key):
        made.append(openai.OpenAI(base_url=f"http://127.0.0.1:{shared.port}/v1", api_key=key, max_retries=0))
        wait_for(lambda: answers(made[-1]), what="the key being known")
        return made[-1]

    yield make
    for one in made:
        one.close()


def answers(client):
    """Do workers and service know this client?"""
    try:
        return client.files.list() is not None
    except (openai.AuthenticationError, openai.InternalServerError):
        return False


@pytest.fixture
def paper(shared, replicas):
    """A replica of which this test alone sees the counts."""
    made = replicas(0.03)
    shared.serve(made)
    wait_for(lambda: routed(shared, made), what="both workers sending there")
    return made


def routed(shared, replica):
    before = replica.counts()["asked"]
    at_once(shared.port, 12, chat(shared.key))
    return replica.counts()["asked"] == before + 12


def journal(shared, batch_id):
    """How many answers are saved."""
    try:
        return (shared.folder / "batches" / "journals" / batch_id).read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def lines(count):
    return b"".join(line(number) for number in range(count))


@pytest.mark.catalogue("A28")
def test_a_batch_outlives_its_process_being_killed_again_and_again(shared, client_of, paper):
    client, count = client_of(shared.new_key()), 200
    before = paper.counts()["asked"]
    batch = begin(client, lines(count))
    kills = drill(2, 5)
    with Load(shared.port, clients=2, streams=False, key=shared.key) as load:
        for kill in range(kills):
            wait_for(lambda kill=kill: journal(shared, batch.id) >= 20 * (kill + 1), 20, "some saved answers")
            killed = shared.companion("batches")
            os.kill(killed, signal.SIGKILL)
            assert journal(shared, batch.id) < count, "it was in the middle"
            wait_for(lambda killed=killed: shared.companion("batches") not in {None, killed}, 20, "another process")
        wait_for(lambda: answers(client), 20, "the service being back")
        done = ended(client, batch.id, 60)
    assert load.wrong == [], "live requests notice nothing"
    assert (done.status, done.request_counts.completed, done.request_counts.failed) == ("completed", count, 0)
    found = results(client, done.output_file_id)
    assert [one["custom_id"] for one in found] == [f"id-{number}" for number in range(count)]
    assert set(Counter(one["id"] for one in found).values()) == {1}
    assert {one["response"]["status_code"] for one in found} == {200}
    asked = paper.counts()["asked"] - before - load.answers
    assert count <= asked <= count + kills * 2 * AT_ONCE, "only what was not saved yet is asked again"


def test_the_limits_of_a_key_hold_for_its_batches_and_live_requests_together(shared, client_of, paper):
    key = shared.new_key(limits=Limits(requests_per_day=32))
    client = client_of(key)
    live = [reply.status for reply in at_once(shared.port, 10, chat(key))]
    assert live == [200] * 10
    batch = begin(client, lines(40))

    def progress():
        return client.batches.retrieve(batch.id).request_counts.completed

    wait_for(lambda: progress() == 20, 20, "what the limit leaves beside the file and the batch")
    wait_for(lambda: at_once(shared.port, 1, chat(key))[0].status == 429, what="the limit being reached")
    assert progress() == 20
    client.batches.cancel(batch.id)
    done = ended(client, batch.id)
    assert (done.status, done.request_counts.completed) == ("cancelled", 20)
    assert len(results(client, done.output_file_id)) == 20


@pytest.mark.catalogue("B21")
def test_a_key_revoked_in_the_middle_of_its_batch_gets_no_further_answer(shared, client_of, replicas):
    slow = replicas(0.05)
    shared.serve(slow)
    key, other = (shared.new_key(tenant="one-tenant") for _ in range(2))
    client, colleague = client_of(key), client_of(other)
    batch = begin(client, lines(300))
    wait_for(lambda: colleague.batches.retrieve(batch.id).request_counts.completed >= 5, 20, "some answers")
    shared.revoke(key)
    wait_for(lambda: not answers(client), 5.0, "the key being refused")
    done = ended(colleague, batch.id, 30)
    good, bad = results(colleague, done.output_file_id), results(colleague, done.error_file_id)
    assert len(good) + len(bad) == 300
    assert 5 <= len(good) < 300
    assert {one["response"]["status_code"] for one in bad} == {401}
    assert slow.counts()["answered"] <= len(good) + AT_ONCE


def test_nobody_sees_files_and_batches_of_another_tenant(shared, client_of, paper):
    mine, theirs = client_of(shared.new_key(tenant="a")), client_of(shared.new_key(tenant="b"))
    batch = begin(mine, lines(3))
    assert ended(mine, batch.id).status in FINAL
    assert theirs.batches.list().data == theirs.files.list().data == []
    with pytest.raises(openai.NotFoundError):
        theirs.batches.retrieve(batch.id)
    with pytest.raises(openai.NotFoundError):
        theirs.files.content(batch.input_file_id)
