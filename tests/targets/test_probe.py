"""A probe believes only a generated token."""

from __future__ import annotations

import http.server
import socket
import threading

import pytest

from guideway.core.launch import Probe
from guideway.targets.probe import ask, until_quiet

PROBE = Probe("/v1/chat/completions", '{"max_tokens": 1}')


class Answering:
    """A server that gives one answer, and keeps what it was asked; it gives *more*, in turn, to who reads it."""

    def __init__(self, status: int, body: bytes, *more: bytes) -> None:
        asked: list[tuple[str, bytes]] = []
        bodies = [body, *more]

        class Model(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append((self.path, b""))
                self.send_response(status)
                self.end_headers()
                self.wfile.write(bodies.pop(0) if len(bodies) > 1 else bodies[0])

            def do_POST(self) -> None:
                asked.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.asked = asked
        self.server = http.server.HTTPServer(("127.0.0.1", 0), Model)
        self.port = self.server.server_address[1]

    def __enter__(self):
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (200, b'{"usage": {"completion_tokens": 1, "prompt_tokens": 9}, "choices": []}', ""),
        (200, b'{"usage": {"completion_tokens": 0}}', "it generated no token"),
        (200, b'{"usage": {}}', "it generated no token"),
        (200, b"{}", "it generated no token"),
        (200, b'{"usage": {"completion_tokens": "many"}}', "its answer is not that of a model server"),
        (200, b"<html>", "its answer is not that of a model server"),
        (200, b"", "its answer is not that of a model server"),
        (503, b'{"usage": {"completion_tokens": 1}}', "it answers with status 503"),
    ],
)
def test_only_200_with_a_token_is_ready(status, body, why):
    with Answering(status, body) as server:
        found = ask(server.port, PROBE)
        assert (found.ready, found.why) == (not why, why)
        assert server.asked == [(PROBE.path, PROBE.body.encode())]


def test_a_server_that_does_not_listen_is_not_ready():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        assert ask(taken.getsockname()[1], PROBE).why == "it does not listen yet"


def test_a_server_that_is_silent_is_given_up():
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        found = ask(mute.getsockname()[1], PROBE, answer=0.05)
        assert (found.ready, found.why) == (False, "it is silent for 0.05 s")


@pytest.mark.parametrize("said", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"])
def test_a_server_that_hangs_up_is_not_ready(said):
    with socket.socket() as rude:
        rude.bind(("127.0.0.1", 0))
        rude.listen()

        def hang_up() -> None:
            connection, _ = rude.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(said)

        thread = threading.Thread(target=hang_up)
        thread.start()
        found = ask(rude.getsockname()[1], PROBE)
        thread.join()
        assert not found.ready
        assert found.why.startswith(("it hung up", "its answer is not that of a model server"))


def test_the_time_of_a_probe_is_told_by_the_clock_that_is_passed():
    ticks = iter([10.0, 12.5])
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        assert ask(taken.getsockname()[1], PROBE, clock=lambda: next(ticks)).seconds == 2.5


BUSY = ("engine:running", "engine:waiting")


def gauges(running: int, waiting: int) -> bytes:
    lines = ("# TYPE engine:running gauge", f"engine:running {running}", f'engine:waiting{{model="m"}} {waiting}.0')
    return "\n".join((*lines, "engine:running_total 7", "other 5")).encode()


def test_who_stops_a_server_waits_until_it_answers_nobody_and_nobody_waits() -> None:
    with Answering(200, gauges(1, 0), gauges(0, 2), gauges(0, 0)) as server:
        left = until_quiet(server.port, BUSY, 60.0, pause=0.001)
    assert [path for path, _ in server.asked] == ["/metrics"] * 3
    assert 0 < left < 60


def test_who_stops_a_server_waits_no_longer_than_he_has_time() -> None:
    moments = iter(range(100))
    with Answering(200, gauges(3, 0)) as server:
        assert until_quiet(server.port, BUSY, 4.0, clock=lambda: float(next(moments)), pause=0.001) == 0.0
    assert len(server.asked) == 3


@pytest.mark.parametrize("said", [b"", b"engine:running what", b"\xff\xfe", gauges(0, 0)])
def test_a_server_that_tells_nothing_is_not_waited_for(said: bytes) -> None:
    with Answering(200, said) as server:
        assert until_quiet(server.port, BUSY, 60.0) > 50.0
    assert len(server.asked) == 1


def test_neither_is_one_that_finishes_by_itself_or_is_gone() -> None:
    with Answering(200, gauges(1, 1)) as server:
        assert until_quiet(server.port, (), 60.0) > 50.0
    assert not server.asked
    assert until_quiet(server.port, BUSY, 60.0) > 50.0
