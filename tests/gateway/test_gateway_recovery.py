"""A whole gateway while replicas die, fail and return."""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import threading
import time

import pytest
from gateway_paper import completion, raw, unary
from gateway_rig import MODEL, Client, threads, wait_for

ANSWER = completion("hello")
PROCESS = """
import asyncio, sys
body = sys.argv[1].encode()
async def serve(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\\r\\n\\r\\n")
            size = next(int(line[15:]) for line in head.split(b"\\r\\n") if line.lower().startswith(b"content-length:"))
            await reader.readexactly(size)
            await asyncio.sleep(0.02)
            head = b"HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\nContent-Length: %d\\r\\n\\r\\n"
            writer.write(head % len(body) + body)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""


class Process:
    """A replica in a process of its own, which can be killed."""

    def __init__(self):
        command = [sys.executable, "-c", PROCESS, ANSWER.decode()]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())

    def kill(self):
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def processes():
    made = [Process() for _ in range(3)]
    yield made
    for one in made:
        if one.process.poll() is None:
            one.kill()


def body(number):
    return {"model": MODEL, "messages": [{"role": "user", "content": f"question {number}"}]}


@pytest.mark.catalogue("A12")
def test_a_replica_killed_at_load_fails_no_request(gateway, processes):
    gateway.serve(*processes)
    statuses, numbers, stop = [], itertools.count(), threading.Event()

    def work(_):
        with Client(gateway.port) as client:
            while not stop.is_set():
                statuses.append(client.ask(body=body(next(numbers))).status)

    with threads(6, work) as wrong:
        wait_for(lambda: len(statuses) > 100)
        processes[1].kill()
        before = len(statuses)
        wait_for(lambda: len(statuses) > before + 200)
        stop.set()
    assert wrong == []
    assert set(statuses) == {200}


@pytest.mark.catalogue("A15")
def test_when_all_replicas_are_down_clients_are_told_at_once_and_service_returns(gateway, replica, client):
    some = [replica() for _ in range(2)]
    gateway.serve(*some)
    assert client.ask().status == 200
    for one in some:
        one.die()
    replies = [client.ask(body=body(number)) for number in range(30)]
    assert {reply.status for reply in replies} <= {502, 503}
    last = replies[-1]
    assert (last.status, last.headers["retry-after"], last.json()["error"]["code"]) == (503, "1", "no_replica")
    replica(port=some[0].port)
    wait_for(lambda: client.ask().status == 200, 5.0)


@pytest.mark.catalogue("A16")
def test_at_half_of_all_answers_failed_attempts_stay_below_1_2_of_the_requests(gateway, replica, client):
    dice = random.Random(16)

    async def half(paper, asked, reader, writer):
        status = "503 Service Unavailable" if dice.random() < 0.5 else "200 OK"
        await unary(ANSWER, status)(paper, asked, reader, writer)

    some = [replica(half) for _ in range(2)]
    gateway.serve(*some)
    statuses = [client.ask(body=body(number)).status for number in range(400)]
    assert sum(len(one.asked) for one in some) <= 1.2 * len(statuses)
    assert statuses.count(200) > 0.5 * len(statuses)


@pytest.mark.parametrize(
    ("status", "times"),
    [(400, 1), (429, 1), (500, 1), (502, 2), (503, 2), (504, 2)],
)
def test_only_an_answer_that_another_replica_may_better_is_tried_again(gateway, replica, client, status, times):
    one = replica(unary(b"{}", f"{status} Odd"))
    gateway.serve(one)
    assert client.ask().status == status
    assert len(one.asked) == times


def test_a_503_of_one_replica_is_the_200_of_another(gateway, replica, client):
    bad, good = replica(unary(b"{}", "503 Service Unavailable")), replica()
    gateway.serve(bad, good)
    assert {client.ask(body=body(number)).status for number in range(40)} == {200}
    assert len(bad.asked) >= 3
    began = len(bad.asked)
    assert began <= 6, "it was ejected"


def test_a_kept_connection_that_the_replica_closes_is_no_fault_of_it(loop, gateway, replica, client):
    one, other = replica(), replica()
    gateway.serve(one, other)
    for number in range(12):
        client.ask(body=body(number))
    one.answer = other.answer = raw(b"", close=True)
    client.ask()
    backends = loop.call(gateway.plane.table.backends)
    assert [backend.ejected_until <= time.perf_counter() for backend in backends] == [True, True]
