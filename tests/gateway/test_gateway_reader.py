"""The reader of requests: strict where two readers could differ, and the same however the bytes are split."""

from __future__ import annotations

import itertools
import json

import pytest
from gateway_rig import AUTHORIZED, CHAT, MODEL, Client, key_file, request
from hypothesis import given, settings
from hypothesis import strategies as st

from guideway.gateway.errors import NO_KEY
from guideway.gateway.heads import KnownHeads
from guideway.gateway.keys import KeyRing
from guideway.gateway.reader import HEAD_LIMIT, HEADER_COUNT, RequestReader
from guideway.gateway.request import Request, refuse

HEAD = b"POST /v1/completions HTTP/1.1\r\nHost: g\r\n"
TWO = HEAD + b"Content-Length: 2\r\n\r\nhi"
CHUNKS = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def framing(request: Request):
    """Only the checks of framing: no key is asked for."""
    refusal = refuse(request, KeyRing(), 1 << 20)
    return None if refusal is NO_KEY else refusal


def reader():
    return RequestReader(framing, 1 << 20, KnownHeads(b"secret"))


def read(*pieces: bytes) -> list[Request]:
    one = reader()
    for piece in pieces:
        one.feed(piece)
    return list(one.ready)


def told(requests: list[Request]) -> list[tuple]:
    return [
        (one.method, one.path, one.headers, one.body, one.keep_alive, one.refusal and one.refusal.status, one.surplus)
        for one in requests
    ]


SMUGGLING = {
    "both lengths": HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "both lengths, other order": HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
    "two lengths alike": HEAD + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi",
    "two lengths": HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi",
    "list of lengths": HEAD + b"Content-Length: 2, 2\r\n\r\nhi",
    "signed length": HEAD + b"Content-Length: +2\r\n\r\nhi",
    "negative length": HEAD + b"Content-Length: -2\r\n\r\nhi",
    "hexadecimal length": HEAD + b"Content-Length: 0x2\r\n\r\nhi",
    "length with underscore": HEAD + b"Content-Length: 1_0\r\n\r\nhi",
    "empty length": HEAD + b"Content-Length:\r\n\r\nhi",
    "overflowing length": HEAD + b"Content-Length: 99999999999999999999\r\n\r\nhi",
    "unknown coding": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "identity": HEAD + b"Transfer-Encoding: identity\r\n\r\n",
    "chunked not last": HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "gzip and chunked": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "two codings": HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "vertical tab": HEAD + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "coding in 1.0": b"POST /a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "space before colon": HEAD + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "folded line": HEAD + b"X: a\r\n b\r\nContent-Length: 2\r\n\r\nhi",
    "folded coding": HEAD + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "folded first line": b"POST /a HTTP/1.1\r\n Host: g\r\n\r\n",
    "bare line feeds": b"POST /a HTTP/1.1\nHost: g\nContent-Length: 2\n\nhi",
    "bare line feed in a header": HEAD + b"X: a\nContent-Length: 2\r\n\r\nhi",
    "bare carriage return": HEAD + b"X: a\rContent-Length: 2\r\n\r\nhi",
    "NUL": HEAD + b"X: a\x00b\r\nContent-Length: 2\r\n\r\nhi",
    "no colon": HEAD + b"X\r\nContent-Length: 2\r\n\r\nhi",
    "no name": HEAD + b": x\r\nContent-Length: 2\r\n\r\nhi",
    "chunk size in 0x": CHUNKS + b"0x2\r\nhi\r\n0\r\n\r\n",
    "chunk size with space": CHUNKS + b"2 \r\nhi\r\n0\r\n\r\n",
    "negative chunk": CHUNKS + b"-2\r\nhi\r\n0\r\n\r\n",
    "overflowing chunk": CHUNKS + b"fffffffffffffffff\r\nhi\r\n0\r\n\r\n",
    "empty chunk size": CHUNKS + b"\r\nhi\r\n0\r\n\r\n",
    "chunk longer than told": CHUNKS + b"2\r\nhiXX0\r\n\r\n",
    "chunk with line feeds": CHUNKS + b"2\nhi\n0\n\n",
    "extension with a line feed": CHUNKS + b"2;a\nhi\r\n0\r\n\r\n",
    "length in a trailer": CHUNKS + b"2\r\nhi\r\n0\r\nContent-Length: 5\r\n\r\n",
    "no host": b"POST /a HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
    "two hosts": HEAD + b"Host: h\r\nContent-Length: 0\r\n\r\n",
    "two keys": HEAD + b"Authorization: Bearer a\r\nAuthorization: Bearer b\r\nContent-Length: 0\r\n\r\n",
    "upgrade": HEAD + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nhi",
    "connect": b"CONNECT g:1 HTTP/1.1\r\nHost: g\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "small method": b"get /a HTTP/1.1\r\nHost: g\r\n\r\n",
    "control character in the target": b"GET /a\x01 HTTP/1.1\r\nHost: g\r\n\r\n",
    "space in the target": b"GET /a b HTTP/1.1\r\nHost: g\r\n\r\n",
}
TAIL = b"GET /healthz HTTP/1.1\r\nHost: g\r\n\r\n"


@pytest.mark.parametrize("name", SMUGGLING)
def test_what_two_readers_could_read_differently_is_400_and_nothing_after_it_is_read(name):
    *before, last = read(SMUGGLING[name] + TAIL)
    assert before == []
    assert (last.refusal.status, last.surplus, last.keep_alive) == (400, True, False)


@pytest.mark.parametrize("name", SMUGGLING)
def test_it_is_refused_too_when_it_comes_byte_by_byte(name):
    (only,) = read(*(bytes([byte]) for byte in SMUGGLING[name] + TAIL))
    assert only.refusal.status == 400


@pytest.mark.parametrize("name", SMUGGLING)
def test_over_a_socket_it_is_answered_once_and_the_connection_ends(gateway, name):
    with_key = SMUGGLING[name].replace(b"Host: g\r\n", b"Host: g\r\n" + AUTHORIZED.encode(), 1)
    with Client(gateway.port) as client:
        client.send(with_key + TAIL)
        reply = client.reply()
        assert (reply.status, reply.headers["connection"]) == (400, "close")
        assert client.ends() == b""


@pytest.mark.parametrize("version", [b"HTTP/2.0", b"HTTP/0.9"])
def test_another_version_is_505(version):
    (one,) = read(b"GET /healthz %b\r\nHost: g\r\n\r\n" % version)
    assert one.refusal.status == 505


def test_sound_requests_are_read():
    first, second, third = read(TWO + CHUNKS + b"2;ext=1\r\nhi\r\n3\r\n ho\r\n0\r\nX: y\r\n\r\n" + TAIL)
    assert (first.method, first.path, first.body, first.keep_alive) == (b"POST", b"/v1/completions", b"hi", True)
    assert second.body == b"hi ho"
    assert (third.path, third.refusal) == (b"/healthz", None)


def test_after_a_request_that_closes_nothing_is_read():
    (only,) = read(HEAD + b"Connection: close\r\nContent-Length: 2\r\n\r\nhi" + TAIL, TAIL)
    assert (only.body, only.keep_alive, only.refusal) == (b"hi", False, None)


@pytest.mark.parametrize("split", [True, False])
def test_garbage_after_a_sound_request_leaves_that_request_as_it_was(split):
    garbage = b"\x16\x03\x01"
    first, second = read(TWO, garbage) if split else read(TWO + garbage)
    assert (first.body, first.keep_alive, first.refusal) == (b"hi", True, None)
    assert second.refusal.status == 400


def test_a_trailer_is_never_taken_for_a_header():
    (one,) = read(CHUNKS + b"2\r\nhi\r\n0\r\nContent-Type: evil\r\ntraceparent: 1\r\n\r\n")
    assert one.headers == {b"host": b"g", b"transfer-encoding": b"chunked"}


def test_only_headers_that_somebody_reads_are_kept_and_empty_ones_do_not_shift_names():
    (one,) = read(HEAD + b"X-Empty:\r\nCONTENT-TYPE: a/b\r\nCookie: c\r\nContent-Length: 0\r\n\r\n")
    assert one.headers == {b"host": b"g", b"content-type": b"a/b", b"content-length": b"0"}


@pytest.mark.parametrize(
    ("bytes_", "status"),
    [
        (b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\nHost: g\r\n\r\n", 414),
        (HEAD + b"X: " + b"a" * (HEAD_LIMIT + 1) + b"\r\n\r\n", 431),
        (HEAD + b"X: a\r\n" * (HEADER_COUNT + 1) + b"\r\n", 431),
    ],
)
@pytest.mark.parametrize("step", [1 << 20, 1000])
def test_a_head_that_is_too_large_is_refused_however_it_comes(bytes_, status, step):
    (one,) = read(*(bytes_[at : at + step] for at in range(0, len(bytes_), step)))
    assert one.refusal.status == status


def test_a_header_without_end_does_not_fill_the_memory():
    one = reader()
    one.feed(HEAD + b"X: ")
    for _ in range(HEAD_LIMIT // 1000 + 2):
        one.feed(b"a" * 1000)
    assert one.finished
    assert one.ready[0].refusal.status == 431


def test_many_pipelined_requests_in_one_read_are_not_taken_for_a_large_head():
    many = TAIL * 3000
    assert len(read(many + TAIL[:10], TAIL[10:])) == 3001


WHOLE = (
    TWO + TAIL + CHUNKS + b"2\r\nhi\r\n1;a=b\r\n!\r\n0\r\nX: y\r\n\r\n" + b"GET /nowhere HTTP/1.1\r\nHost: g\r\n\r\n"
)


def test_a_split_at_any_byte_changes_nothing():
    expected = told(read(WHOLE))
    assert len(expected) == 4
    for at in range(len(WHOLE) + 1):
        assert told(read(WHOLE[:at], WHOLE[at:])) == expected


@given(st.lists(st.integers(0, len(WHOLE)), max_size=12).map(sorted))
def test_splits_at_any_bytes_change_nothing(cuts):
    edges = [0, *cuts, len(WHOLE)]
    assert told(read(*(WHOLE[a:b] for a, b in itertools.pairwise(edges)))) == told(read(WHOLE))


@given(st.binary(max_size=400), st.sampled_from([b"", HEAD, CHUNKS, TWO]))
@settings(max_examples=300)
def test_no_bytes_break_the_reader_and_nothing_follows_a_refusal(noise, before):
    one = reader()
    one.feed(before + noise)
    one.feed(TAIL)
    refused = [index for index, found in enumerate(one.ready) if found.surplus]
    assert refused in ([], [len(one.ready) - 1])


@given(st.lists(st.integers(1, 300), min_size=1, max_size=6).map(sorted))
@settings(max_examples=25, deadline=None)
def test_over_a_socket_a_split_at_any_byte_gives_the_same_answer(split_gateway, cuts):
    whole = request(body={"model": MODEL, "messages": []})
    edges = [0, *(min(cut, len(whole)) for cut in cuts), len(whole)]
    with Client(split_gateway.port) as client:
        for a, b in itertools.pairwise(edges):
            client.send(whole[a:b])
        assert client.reply().status == 200


@pytest.fixture(scope="module")
def split_gateway(_loop):
    from gateway_paper import PaperReplica
    from gateway_rig import Gateway

    made, one = Gateway(_loop), PaperReplica(_loop)
    made.serve(one)
    yield made
    made.close()
    one.die()


def test_the_request_helper_of_these_tests_is_sound():
    (one,) = read(request())
    assert (one.path, json.loads(one.body)["model"], one.refusal) == (CHAT.encode(), MODEL, None)
    assert AUTHORIZED.encode().split()[1:] == one.headers[b"authorization"].split()


KNOWN = HEAD + b"Content-Length: 2\r\n\r\n"


def kept() -> tuple[KnownHeads, RequestReader]:
    heads = KnownHeads(b"secret")
    return heads, RequestReader(framing, 1 << 20, heads)


def test_a_head_that_was_accepted_once_is_known_by_its_bytes():
    heads, one = kept()
    one.feed(KNOWN + b"hi")
    assert heads.find(KNOWN) is not None
    one.feed(KNOWN + b"yo")
    assert told(list(one.ready))[1] == (*told(read(KNOWN + b"hi"))[0][:3], b"yo", True, None, False)


@given(st.lists(st.integers(1, 200), max_size=12), st.integers(1, 4))
@settings(max_examples=200)
def test_known_heads_read_the_same_however_the_bytes_are_split(cuts, warm):
    stream = b"".join(KNOWN + b"%02d" % number for number in range(warm + 3))
    _, one = kept()
    one.feed(KNOWN + b"xx")
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    for start, end in itertools.pairwise(edges):
        one.feed(stream[start:end])
    assert [request.body for request in one.ready][1:] == [b"%02d" % number for number in range(warm + 3)]


@pytest.mark.parametrize(
    "data",
    [
        b"POST / HTTP/1.1\nHost: g\nContent-Length: 8\n\nab\r\n\r\ncd",
        b"\r\n\r\n" + KNOWN + b"hi",
        b"\r\n" + KNOWN + b"hi",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        HEAD + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\nhi",
        HEAD + b"Connection: close\r\nContent-Length: 2\r\n\r\nhi",
    ],
)
def test_a_head_whose_end_is_not_plain_is_never_known(data):
    heads, one = kept()
    one.feed(data)
    end = data.find(b"\r\n\r\n") + 4
    assert heads.find(data[:end]) is None


def test_known_heads_are_forgotten_with_the_keys_that_they_were_accepted_for(gateway, replica, client):
    gateway.serve(replica())
    assert [client.ask().status for _ in range(2)] == [200, 200]
    gateway.set_keys(key_file(()))
    assert client.ask().status == 401


def test_lines_of_a_list_are_one_list_so_that_none_hides_another():
    lines = b"Cache-Control: no-store\r\nCache-Control: max-age=60\r\ntracestate: a=1\r\ntracestate: b=2\r\n"
    (one,) = read(HEAD + lines + b"Content-Length: 2\r\n\r\nhi")
    assert one.headers[b"cache-control"] == b"no-store, max-age=60"
    assert one.headers[b"tracestate"] == b"a=1, b=2"
