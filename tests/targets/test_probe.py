"""A probe believes only a generated token."""

from __future__ import annotations

import http.server
import socket
import threading

import pytest

from guideway.core.launch import Probe
from guideway.targets.probe import ask

PROBE = Probe("/v1/chat/completions", '{"max_tokens": 1}')


class Answering:
    """A server that gives one answer, and keeps what it was asked."""

    def __init__(self, status: int, body: bytes) -> None:
        asked: list[tuple[str, bytes]] = []

        class Model(http.server.BaseHTTPRequestHandler):
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
