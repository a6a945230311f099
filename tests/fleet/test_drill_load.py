"""The load's client against small servers: what it takes for whole, broken, refused and silent."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading

import msgspec
import pytest

from guideway.fleet.drills import load
from guideway.fleet.drills.load import Load, Question, Wires, ask, closed, once
from guideway.kit.process import free_port

JSON = b"HTTP/1.1 200 OK\r\nx-guideway-release: abc\r\nx-guideway-cache: hit\r\nContent-Length: 2\r\n\r\n{}"
SSE = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BUSY = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 5\r\nContent-Length: 2\r\n\r\n{}"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Server:
    """Answers every request with the same bytes; hangs up after it with ``close``."""

    def __init__(self, answer: bytes, close: bool = False) -> None:
        self.answer, self.close, self.connections, self.requests = answer, close, 0, 0
        self.clients: list[socket.socket] = []
        self.socket = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client = self.socket.accept()[0]
                self.connections += 1
                self.clients.append(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            while b"\r\n\r\n" in client.recv(65536):
                self.requests += 1
                client.sendall(self.answer)
                if self.close:
                    return

    def hang_up(self) -> None:
        for client in self.clients:
            client.shutdown(socket.SHUT_RDWR)

    @property
    def question(self) -> Question:
        port = self.socket.getsockname()[1]
        return Question(host="127.0.0.1", port=port, path="/v1/chat/completions", body={}, key="k")


@pytest.fixture
def serve():
    servers = []

    def start(answer: bytes, close: bool = False) -> Server:
        servers.append(Server(answer, close))
        return servers[-1]

    yield start
    for one in servers:
        one.socket.close()


def asked(server: Server, streamed: bool = False, patience: float = 10.0):
    return asyncio.run(ask(Wires(server.question), streamed=streamed, patience=patience))


def test_a_whole_answer_tells_its_release_and_its_cache(serve):
    found = once(serve(JSON).question)
    assert found.good and (found.release, found.cache) == ("abc", "hit")
    assert found.began <= found.head <= found.ended


DONE = chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


@pytest.mark.parametrize(
    ("rest", "good"),
    [
        (chunk(b'data: {"choices": []}\n\n') + DONE, True),
        (chunk(b'data: {"choices": []}\n\n') + b"0\r\n\r\n", False),
        (chunk(b'data: {"error": {"message": "the replica is gone"}}\n\n') + DONE, False),
        (chunk(b'data: {"choices": []}\n\n'), False),
    ],
)
def test_a_stream_is_good_only_with_its_end_and_without_an_error(serve, rest, good):
    found = asked(serve(SSE + rest, close=True), streamed=True)
    assert found.good is good and found.broken is not good


def test_a_refusal_is_told_with_its_retry_after(serve):
    found = asked(serve(BUSY))
    assert found.refused and not found.good and not found.why


def test_nobody_there_hanging_up_garbage_and_silence_are_failures_with_a_reason(serve):
    gone = Question(host="127.0.0.1", port=free_port(), path="/", body={}, key="k")
    assert asked(serve(b"", close=True)).why == "no answer"
    assert "Parser" in asked(serve(b"SSH-2.0 hello\r\n\r\n")).why
    assert asked(serve(b""), patience=0.05).why == "no end within 0.05 s"
    assert once(gone).why == "ConnectionRefusedError"


def test_a_load_asks_whole_and_streamed_at_its_rate_until_it_is_left(serve):
    server = serve(JSON)
    with Load(server.question, 200.0) as found:
        while len(found.answers) < 20:
            threading.Event().wait(0.01)
    assert len(found.answers) == found.offered == server.connections  # a connection each
    assert {one.streamed for one in found.answers} == {True, False}


def test_a_load_that_is_stopped_still_counts_what_was_under_way(serve):
    with Load(serve(BUSY).question, 200.0, kept=True) as found:
        while found.offered < 5:
            threading.Event().wait(0.01)
        found.stop()
    assert found.refused == found.offered == len(found.answers)


def test_a_load_has_no_more_requests_under_way_than_it_may(serve):
    server = serve(b"")  # it never answers
    with Load(server.question, 1000.0, most=3) as found:
        while server.requests < 3:
            threading.Event().wait(0.01)
        threading.Event().wait(0.1)
        assert found.offered == 3
        found.stop()
        server.hang_up()


def test_a_fault_in_the_load_itself_is_not_silent(serve, monkeypatch):
    async def broken(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr(load.Load, "_offer", broken)
    with pytest.raises(ZeroDivisionError), Load(serve(JSON).question, 1.0):
        pass


def test_clients_in_a_closed_loop_keep_their_connections(serve):
    server = serve(JSON)
    found = closed(server.question, 3, 0.2)
    assert len(found) > 6 and server.requests == len(found)
    assert server.connections < len(found)  # only those after a stream that was none began anew


def test_a_connection_that_the_server_will_close_is_not_used_again(serve):
    server = serve(JSON.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), close=True)
    found = closed(server.question, 1, 0.1)
    assert server.connections == len(found) and all(one.good for one in found if not one.streamed)


def test_a_certificate_is_trusted_by_itself_only_on_this_machine():
    here = Question(host="127.0.0.1", port=1, path="/", body={}, key="", tls=True)
    there = msgspec.structs.replace(here, host="models.example.org")
    assert (here.context().check_hostname, there.context().check_hostname) == (False, True)
    assert msgspec.structs.replace(here, tls=False).context() is None
