"""A chunk that comes alone is known by its first and last bytes; whatever else comes goes to the parser."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guideway.core.route import Endpoint
from guideway.gateway.backend import Backend
from guideway.gateway.upstream import KnownAnswers, UpstreamConnection, one_chunk
from guideway.gateway.wire import LAST_CHUNK, chunk

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


class Transport:
    closed = False

    def write(self, data):
        pass

    def abort(self):
        self.closed = True

    close = abort

    def is_closing(self):
        return self.closed


class Receiver:
    """Gathers an answer."""

    def __init__(self):
        self.body, self.done, self.cut = b"", False, False

    def received(self, head, parts, done, at):
        self.body += b"".join(parts)
        self.done = done

    def broken(self, started):
        self.cut = True


def read(pieces):
    """What comes of an answer that is read in these *pieces*."""
    connection = UpstreamConnection(Backend(Endpoint("127.0.0.1", 1)), time.monotonic, KnownAnswers())
    connection.connection_made(Transport())
    found = Receiver()
    connection.send(found, b"")
    for piece in pieces:
        if not found.done and not found.cut:
            connection.data_received(piece)
    return found


@given(st.binary(min_size=1, max_size=300))
def test_one_chunk_is_what_it_holds(data):
    assert one_chunk(chunk(data)) == data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n",
        b"0\r\n\r\n",
        b"3\r\nabc",
        b"3\r\nabc\r\n0\r\n\r\n",
        b"2\r\nabc\r\n",
        b"4\r\nabc\r\n",
        b"3;x=1\r\nabc\r\n",
        b" 3\r\nabc\r\n",
        b"+3\r\nabc\r\n",
        b"0x3\r\nabc\r\n",
        b"1_1\r\n01234567890123456\r\n",
        b"3\nabc\r\n",
        b"g\r\nabc\r\n",
        b"\xb2\r\nab\r\n",
        b"3\r\nabc\n\n",
    ],
)
def test_anything_else_is_left_to_the_parser(data):
    assert one_chunk(data) is None


@settings(max_examples=300)
@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8), st.lists(st.integers(0, 400), max_size=12))
def test_however_chunks_are_cut_the_answer_is_the_same(bodies, cuts):
    whole = HEAD + b"".join(map(chunk, bodies)) + LAST_CHUNK
    places = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    cut = [whole[start:end] for start, end in itertools.pairwise(places)]
    for pieces in (cut, [HEAD, *map(chunk, bodies), LAST_CHUNK], [HEAD + chunk(b"x"), *map(chunk, bodies), LAST_CHUNK]):
        found = read(pieces)
        assert (found.body.removeprefix(b"x" if pieces[0] != HEAD and pieces is not cut else b""), found.done) == (
            b"".join(bodies),
            True,
        )


@settings(max_examples=300)
@given(st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=4), st.binary(min_size=1, max_size=12))
def test_garbage_between_chunks_says_what_the_parser_alone_says(bodies, garbage):
    pieces = [HEAD, *map(chunk, bodies), garbage, LAST_CHUNK]
    one, at_once = read(pieces), read([b"".join(pieces)])
    assert (one.done, one.cut) == (at_once.done, at_once.cut)
    if one.done:
        assert one.body == at_once.body
