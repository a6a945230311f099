"""A number of a real Prometheus, and everything that is none."""

from __future__ import annotations

import socket
import time
from urllib.parse import parse_qs

import msgspec
import pytest
from watch_rig import SUBJECT, certificate, guard, http, vector, wait_for

from guideway.watch.prometheus import LIMIT, Measured, measure

HTML = "<!doctype html><title>Sign in</title>"


def of(server, **more) -> Measured:
    return measure(guard(server.url, **more), SUBJECT)


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ('errors_total{release="$release"}', 7.0),
        ('errors_total{release="$candidate"}', 7.0),
        ("errors_total{release='$stable'}", 2.0),
        ('errors_total{release=~"$candidate|$stable"} > 5', 7.0),
        ("sum(errors_total) # of both", 9.0),
        ("scalar(sum(errors_total)) / 2", 4.5),
        ("1.5", 1.5),
        ('label_replace(zero, "x", "${name}", "job", "(?P<name>.*)")', 0.0),
    ],
)
def test_a_query_gives_one_number(prometheus, query, value):
    assert prometheus.ask(query) == Measured("g", value, 1.0)


@pytest.mark.parametrize("quoted", ['"$environment"', "'$environment'"])
@pytest.mark.parametrize(("operator", "found"), [("=", 1.0), ("=~", 1.0), ("!=", 3.0), ("!~", 3.0)])
def test_a_name_with_every_strange_letter_is_one_text_and_no_pattern(prometheus, quoted, operator, found):
    odd = msgspec.structs.replace(SUBJECT, environment="a\"b\\c'd.e\nf")
    got = measure(guard(prometheus.url, f"strange{{environment{operator}{quoted}}}"), odd)
    assert (got.value, got.why) == (found, "")


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("no_such_metric", "the query gives no data"),
        ("errors_total", "the query gives 2 series, and one is needed: sum() or max() makes one"),
        ("zero / zero", "the value is NaN: does the query divide by zero?"),
        ("1 / zero", "the value is +Inf: does the query divide by zero?"),
        ("zero[1m]", "the query gives a matrix, and one number is needed"),
        ('"word"', "the query gives a string, and one number is needed"),
        ("sum(zero", None),  # refused by the spec already
        ("nonsense(zero)", "Prometheus refuses the query: "),
        ('zero{job=~"("}', "Prometheus refuses the query: "),
    ],
)
def test_what_is_no_number_is_unknown_with_its_reason(prometheus, query, why):
    if why is None:
        with pytest.raises(ValueError, match="never closed"):
            prometheus.ask(query)
        return
    got = prometheus.ask(query, stops=True)
    assert got.value is None and got.stops and got.limit == 1.0
    assert got.why.startswith(why) and "\n" not in got.why


def test_a_number_whose_exporter_has_died_is_unknown_and_so_is_one_of_a_server_that_has(own_prometheus):
    assert own_prometheus.ask("load").value == 3.0
    own_prometheus.exporter.close()
    wait_for(lambda: own_prometheus.ask("load").why == "the query gives no data")
    own_prometheus.stop()
    assert measure(guard(own_prometheus.url), SUBJECT).why.endswith(": nothing listens there")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (http(HTML), "what answers (status 200) is not the API of Prometheus"),
        (http(HTML, "503 Service Unavailable"), "what answers (status 503) is not the API of Prometheus"),
        (http("[" * 100_000), "what answers (status 200) is not the API of Prometheus"),
        (http("", "302 Found", "Location: http://127.0.0.1:1/\r\n"), "the server sends us elsewhere"),
        (http("", "401 Unauthorized"), "Prometheus does not let us ask (status 401)"),
        (http('{"status":"error","error":"a\\nb\\u001b[2J"}', "422 X"), "Prometheus refuses the query: a b [2J"),
        (http(vector("1", at=0.0)), "the answer is "),
        (http(vector("1", at=9e15)), "the answer is "),
        (lambda: http(vector("one")), "the value is no number"),
        (lambda: http(vector("-Inf")), "the value is -Inf"),
        (
            lambda: http(vector().replace('"data"', '"warnings": ["half of it"], "data"')),
            "the answer may lack data: half of",
        ),
        (lambda: http(vector().replace('"value"', '"histogram"')), "the query gives a histogram"),
        (lambda: http(vector().replace("[{", '["x", {')), "the result has no known form"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "what answers there does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", "the answer ends in the middle"),
        (b"", "it hung up without an answer"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000, "the head of the answer does not end"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b" " * (LIMIT + 1), f"the answer is larger than {LIMIT:,} bytes"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_a_server_that_lies_is_unknown_with_its_reason(liar, answer, why):
    got = of(liar(answer() if callable(answer) else answer))  # made now where it tells the time
    assert got.value is None
    assert why in got.why and len(got.why) < 300 and got.why.isprintable()


def test_a_redirect_is_not_followed(liar):
    elsewhere = liar(http(vector()))
    assert of(liar(http("", "307 X", f"Location: {elsewhere.url}/\r\n"))).value is None
    assert elsewhere.asked == []


@pytest.mark.parametrize("pieces", [(), (b"HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n{",)])
def test_a_server_that_says_no_more_is_given_up_in_time(liar, pieces):
    began = time.monotonic()
    got = of(liar(*pieces, close=False), every=1.0)
    assert got.why.endswith("no whole answer within 1 s")
    assert time.monotonic() - began < 10.0


def test_answers_in_chunks_or_until_the_end_of_the_connection_are_read(liar):
    body = vector("0.25").encode()
    whole = [b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"]
    chunks = [b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:9], body[9:])]
    assert of(liar(*whole, *chunks, b"0\r\n\r\n", close=False)).value == 0.25
    assert of(liar(b"HTTP/1.0 200 OK\r\n\r\n" + body)).value == 0.25


def test_the_question_is_a_form_with_the_token_and_a_time_limit(liar, tmp_path):
    (tmp_path / "token").write_text("s3cret-token\n")
    one = liar(http(vector()))
    assert of(one, query='x{e="$rollout"}', token_file=str(tmp_path / "token"), every=4.0).value == 0.5
    head, _, body = one.asked[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /api/v1/query HTTP/1.1\r\n") and b"\r\nAuthorization: Bearer s3cret-token" in head
    assert parse_qs(body.decode()) == {"query": ['x{e="r7"}'], "timeout": ["4s"]}


def test_a_path_before_the_api_is_kept(liar):
    one = liar(http(vector()))
    assert measure(guard(one.url + "/prometheus/"), SUBJECT).value == 0.5
    assert one.asked[0].startswith(b"POST /prometheus/api/v1/query HTTP/1.1\r\n")


def test_a_token_that_a_server_repeats_is_not_in_the_reason(liar, tmp_path):
    (tmp_path / "token").write_text("s3cret-token")
    one = liar(http('{"status": "error", "error": "bad header Bearer s3cret-token"}', "400 Bad Request"))
    got = of(one, token_file=str(tmp_path / "token"))
    assert got.why == "Prometheus refuses the query: bad header Bearer …"


@pytest.mark.parametrize("text", [None, b"", b"two words", b"line\r\nX-Evil: 1", b"x" * 20_000, b"\xff"])
def test_a_file_without_a_token_is_unknown_and_nothing_is_asked(liar, tmp_path, text):
    one, path = liar(http(vector())), tmp_path / "token"
    if text is not None:
        path.write_bytes(text)
    got = of(one, token_file=str(path))
    assert got.value is None and str(path) in got.why and one.asked == []


def test_over_tls_only_a_server_that_the_authority_vouches_for_is_asked(liar, tmp_path):
    authority = certificate(tmp_path)
    (tmp_path / "token").write_text("s3cret-token")
    one = liar(http(vector()), tls=tmp_path)
    secure = guard(one.url.replace("http:", "https:"), token_file=str(tmp_path / "token"))
    assert "its certificate is not trusted" in measure(secure, SUBJECT).why
    assert one.asked == []
    assert measure(msgspec.structs.replace(secure, ca_file=str(authority)), SUBJECT).value == 0.5
    assert b"Bearer s3cret-token" in one.asked[0]


def test_a_server_that_speaks_no_tls_and_an_authority_that_is_none_are_told(liar, tmp_path):
    secure = guard(liar(http(vector())).url.replace("http:", "https:"))
    assert measure(secure, SUBJECT).why.endswith(": it does not speak TLS")
    missing = str(tmp_path / "none.pem")
    got = measure(msgspec.structs.replace(secure, ca_file=missing), SUBJECT)
    assert got.why == f"there is no certificate in {missing}"


def test_a_host_without_a_name_is_unknown(monkeypatch):
    def nobody(*arguments, **more):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    got = measure(guard("http://prometheus.invalid:9090"), SUBJECT)
    assert got.why == "Prometheus at prometheus.invalid:9090: there is no host with this name"
