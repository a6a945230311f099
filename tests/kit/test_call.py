"""One request to a server that may do anything: bounded in time and size, and ended when nobody waits."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading

import pytest

from guideway.kit.call import Answer, NoAnswer, call, request

ASK = request("POST", "/x", "h:1", b"body", (("X-A", "b"),))
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"


class Talker:
    """Takes connections and says *pieces* to each, as long as the other side listens."""

    def __init__(self, pieces) -> None:
        self.heard = b""
        self._pieces = pieces
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = self._server.getsockname()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError), self._server.accept()[0] as client:
            self.heard = client.recv(65536)
            for piece in self._pieces:
                client.sendall(piece)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()


@pytest.fixture
def talker():
    made = []

    def make(*pieces, endless: bytes = b""):
        first = pieces if not pieces or isinstance(pieces[0], bytes) else pieces[0]
        made.append(Talker(itertools.chain(first, itertools.repeat(endless) if endless else ())))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_a_request_is_one_that_every_server_reads_alike(talker):
    one = talker(HEAD + b"ok")
    assert call(one.address, ASK, seconds=5.0, limit=10) == Answer(200, b"ok")
    head = b"POST /x HTTP/1.1\r\nHost: h:1\r\nContent-Length: 4\r\nConnection: close\r\nX-A: b\r\n\r\n"
    assert one.heard == head + b"body"


def test_the_answer_ends_where_it_says_and_what_follows_is_not_read(talker):
    assert call(talker(HEAD + b"ok", b"more").address, ASK, seconds=5.0, limit=10).body == b"ok"


@pytest.mark.parametrize("status", [b"200", b"404", b"503"])
def test_every_status_is_an_answer(talker, status):
    one = talker(b"HTTP/1.1 %b X\r\nContent-Length: 0\r\n\r\n" % status)
    assert call(one.address, ASK, seconds=5.0, limit=0) == Answer(int(status), b"")


@pytest.mark.parametrize(
    ("pieces", "endless", "why"),
    [
        ((b"HTTP/1.1 200 OK\r\n\r\n",), b"x" * 1000, "larger than 5,000 bytes"),
        (
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",),
            b"3e8\r\n" + b"x" * 1000 + b"\r\n",
            "larger than",
        ),
        ((b"HTTP/1.1 200 OK\r\n",), b"X-Line: " + b"y" * 1000 + b"\r\n", "the head of the answer does not end"),
        ((), b"HTTP/1.1 100 Continue\r\n\r\n" * 40, "the head of the answer does not end"),
        ((), b"\x00" * 1000, "does not speak HTTP"),
    ],
)
def test_what_never_ends_is_cut(talker, pieces, endless, why):
    with pytest.raises(NoAnswer, match=why):
        call(talker(*pieces, endless=endless).address, ASK, seconds=20.0, limit=5000)


def test_an_answer_that_drips_is_cut_when_its_time_is_over(talker):
    now, looks = [0.0], threading.Semaphore(0)

    def clock() -> float:
        now[0] += 0.1
        looks.release()
        return now[0]

    def drips():
        yield b"HTTP/1.1 200 OK\r\nX: "
        while looks.acquire(timeout=10):
            yield b"y"

    with pytest.raises(NoAnswer, match="no whole answer within 1 s"):
        call(talker(drips()).address, ASK, seconds=1.0, limit=10, clock=clock)
    looks.release(1000)  # so that it notices that the other side left


def test_a_call_that_nobody_waits_for_ends(talker):
    one = talker(HEAD)
    with pytest.raises(NoAnswer, match="nobody waits"):
        call(one.address, ASK, seconds=20.0, limit=10, given_up=lambda: True)


def test_a_port_where_nobody_listens_is_told():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
    with pytest.raises(NoAnswer, match="nothing listens there"):
        call(address, ASK, seconds=1.0, limit=10)
