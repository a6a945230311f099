"""What asks no model counts as one request of its key: feedback, new files, new batches."""

from __future__ import annotations

import pytest
from gateway_rig import AUTHORIZED, Client, wait_for
from test_gateway_side import Service, post

from guideway.gateway.errors import ApiError
from guideway.gateway.feedback import Feedback
from guideway.gateway.limits.amounts import Used
from guideway.gateway.limits.key_lease import Reservation
from guideway.gateway.limits.meter import WAIT
from guideway.store.feedback_spool import Spool

USED_UP = ApiError(429, "used up", code="rate_limit_exceeded")


class Meter:
    """Grants so many requests, at once or when the test says so."""

    def __init__(self, left, waits=False):
        self.left, self.waits, self.waiting, self.used = left, waits, [], []

    def take(self, key, estimate, waiter):
        self.left -= 1
        outcome = Reservation(key.id) if self.left >= 0 else USED_UP
        if self.waits:
            self.waiting.append((waiter, outcome))
            return WAIT
        return outcome

    def settle(self, reservation, used):
        self.used.append(used)

    def answer(self):
        return [waiter.granted(outcome) for waiter, outcome in self.waiting]


@pytest.fixture
def worker(loop, gateway, tmp_path):
    service = Service(loop, tmp_path / "s")
    gateway.plane.batches = service.path
    gateway.plane.feedback = Feedback(gateway.plane.ids, Spool(tmp_path, "w"), "dev")
    yield gateway
    gateway.plane.feedback.close()
    loop.call(service.server.close)


CREATE = [("/v1/feedback", 404), ("/v1/files", 200), ("/v1/batches", 200)]


@pytest.mark.parametrize(("path", "status"), CREATE)
@pytest.mark.parametrize("waits", [False, True], ids=["at once", "later"])
def test_each_takes_one_request_from_the_limits_of_its_key(worker, path, status, waits):
    meter = worker.plane.line.meter = Meter(1, waits)
    found = []
    for _ in range(2):
        with Client(worker.port) as client:
            client.send(post(path, 2) + "{}" if path != "/v1/feedback" else said())
            if waits:
                wait_for(lambda: meter.waiting)
                worker.loop.call(meter.answer)
                meter.waiting.clear()
            found.append(client.reply().status)
    assert found == [status, 429]
    assert meter.used == [Used(1)]


def said():
    body = '{"request_id":"%s","thumb":"up"}' % ("00" * 24)
    return f"POST /v1/feedback HTTP/1.1\r\nHost: g\r\n{AUTHORIZED}Content-Length: {len(body)}\r\n\r\n{body}"


def test_a_client_that_left_while_it_waited_takes_nothing(worker):
    meter = worker.plane.line.meter = Meter(5, waits=True)
    with Client(worker.port) as client:
        client.send(said())
        wait_for(lambda: meter.waiting)
    wait_for(lambda: not worker.server.connections)
    assert worker.loop.call(meter.answer) == [False]
    assert meter.used == []


def test_reading_files_and_batches_is_not_counted(worker):
    meter = worker.plane.line.meter = Meter(0)
    with Client(worker.port) as client:
        assert client.ask("GET", "/v1/files").status == 200
    assert meter.left == 0


def test_a_refused_upload_is_not_told_to_continue(worker):
    worker.plane.line.meter = Meter(0)
    with Client(worker.port) as client:
        client.send(post("/v1/files", 2, "Expect: 100-continue\r\n"))
        assert client.reply().status == 429
