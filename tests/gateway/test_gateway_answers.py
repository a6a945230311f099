"""What the gateway answers by itself, and what it refuses once the request is sound HTTP."""

from __future__ import annotations

import json

import pytest
from gateway_rig import CHAT, KEY, MODEL, OTHER_KEY, STABLE, Client, key_file, request


@pytest.fixture
def served(gateway, replica):
    gateway.serve(replica())
    return gateway


def error_of(reply):
    assert reply.headers["content-type"] == "application/json"
    assert set(reply.json()) == {"error"}
    assert set(reply.json()["error"]) == {"message", "type", "param", "code"}
    return reply.json()["error"]


def test_healthz_needs_no_key_and_tells_whether_something_serves(gateway, replica, client):
    assert client.ask("GET", "/healthz", headers="").status == 503
    gateway.serve()
    assert client.ask("GET", "/healthz", headers="").status == 503
    gateway.serve(replica())
    reply = client.ask("GET", "/healthz", headers="")
    assert (reply.status, reply.json()) == (200, {"status": "ok"})


def test_models_lists_the_model_and_its_release(served, client):
    reply = client.ask("GET", "/v1/models")
    (model,) = reply.json()["data"]
    assert (model["id"], model["owned_by"], model["release"]) == (MODEL, "guideway", STABLE[7:19])


def test_models_is_empty_before_there_is_a_route(client):
    assert client.ask("GET", "/v1/models").json()["data"] == []


def test_head_has_the_length_but_no_body_and_the_connection_goes_on(served, client):
    client.send(request("HEAD", "/v1/models"))
    reply = client.reply(bodiless=True)
    assert reply.status == 200
    assert int(reply.headers["content-length"]) > 0
    client.send(request("HEAD", CHAT))
    assert client.reply(bodiless=True).status == 405
    assert client.ask("GET", "/healthz").status == 200


@pytest.mark.parametrize(
    "headers",
    [
        "",
        f"Authorization: Bearer {OTHER_KEY}\r\n",
        f"Authorization: Basic {KEY}\r\n",
        f"Authorization: {KEY}\r\n",
        "Authorization: Bearer \r\n",
        f"Authorization: Bearer {KEY}x\r\n",
        f"Authorization: Bearer {KEY[:-1]}\r\n",
        f"X-Api-Key: {KEY}\r\n",
    ],
)
@pytest.mark.parametrize(("method", "path"), [("POST", CHAT), ("GET", "/v1/models"), ("GET", "/nowhere")])
def test_without_a_valid_key_every_path_is_401(served, client, headers, method, path):
    reply = client.ask(method, path, headers=headers)
    assert reply.status == 401
    assert error_of(reply)["code"] == "invalid_api_key"
    assert KEY not in reply.body.decode()


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_of_the_key_is_read_in_any_case(served, client, scheme):
    assert client.ask("GET", "/v1/models", headers=f"authorization: {scheme} {KEY}\r\n").status == 200


def test_a_revoked_key_is_refused_and_the_others_stay(served, client):
    other = f"Authorization: Bearer {OTHER_KEY}\r\n"
    served.set_keys(key_file([KEY, OTHER_KEY]))
    assert client.ask("GET", "/v1/models", headers=other).status == 200
    served.set_keys(key_file([KEY, OTHER_KEY], revoked=[OTHER_KEY]))
    assert client.ask("GET", "/v1/models", headers=other).status == 401
    assert client.ask("GET", "/v1/models").status == 200


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/chat/completions/", "/v1/embedding", "/V1/models", "/healthz/x", "*"]
)
def test_unknown_paths_are_404(served, client, path):
    assert error_of(client.ask("GET", path))["code"] == "not_found"


def test_a_query_and_the_absolute_form_lead_to_the_same_path(served, client):
    assert client.ask("GET", "/v1/models?limit=3").status == 200
    assert client.ask("GET", "http://gateway/v1/models").status == 200
    assert client.ask("GET", "http://gateway").status == 404


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", CHAT, "POST"),
        ("DELETE", CHAT, "POST"),
        ("POST", "/v1/models", "GET, HEAD"),
        ("PUT", "/healthz", "GET, HEAD"),
    ],
)
def test_a_wrong_method_is_405_and_names_the_right_ones(served, method, path, allow):
    with Client(served.port) as client:
        reply = client.ask(method, path)
        assert (reply.status, reply.headers["allow"]) == (405, allow)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b"{", None),
        (b"[]", None),
        (b"null", None),
        (b"{}", "model"),
        (b'{"model":7}', "model"),
        (b'{"model":"poet","stream":"yes"}', "stream"),
        (b'{"model":"poet","user":[]}', "user"),
        (b'{"model":"poet"} {}', None),
        (b'{"model":"poet","a":' + b"[" * 100_000, None),
        (b'{"model":"\\ud800"}', None),
        (b"\xff\xfe", None),
    ],
)
def test_a_body_that_cannot_be_meant_is_400_and_the_connection_goes_on(served, client, body, param):
    reply = client.ask(body=body)
    assert (reply.status, error_of(reply)["param"]) == (400, param)
    assert client.ask("GET", "/healthz").status == 200


def test_an_unknown_model_is_404_and_the_known_ones_are_named(served, client):
    reply = client.ask(body={"model": "gpt-4o"})
    assert (reply.status, error_of(reply)["code"]) == (404, "model_not_found")
    assert MODEL in error_of(reply)["message"]


def test_api_base_and_role_in_a_body_change_nothing(gateway, replica, client):
    one = replica()
    gateway.serve(one)
    body = {"model": MODEL, "api_base": "http://127.0.0.1:1/", "role": "admin", "base_url": "http://x"}
    assert client.ask(body=body).status == 200
    assert json.loads(one.asked[0].body) == body


def test_without_a_replica_the_answer_is_503_with_retry_after(gateway, client):
    for route in (None, ()):
        if route is not None:
            gateway.serve(*route)
        reply = client.ask()
        assert (reply.status, reply.headers["retry-after"]) == (503, "1")


def test_a_body_that_announces_too_much_is_413_before_it_is_sent(served, client):
    size = served.plane.body_limit + 1
    client.send(f"POST {CHAT} HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {KEY}\r\nContent-Length: {size}\r\n\r\n")
    reply = client.reply()
    assert (reply.status, reply.headers["connection"]) == (413, "close")
    assert client.ends() == b""


def test_a_client_that_sends_too_much_in_one_go_still_reads_the_413(served, client):
    body = b"x" * (served.plane.body_limit * 4)
    client.send(request(body=body))
    assert client.reply().status == 413


@pytest.mark.parametrize("size", [1, 4096])
def test_chunks_beyond_the_body_limit_are_413(served, client, size):
    client.send(f"POST {CHAT} HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {KEY}\r\nTransfer-Encoding: chunked\r\n\r\n")
    piece = b"%x\r\n%b\r\n" % (size, b" " * size)
    client.send(piece * (served.plane.body_limit // size + 2))
    assert client.reply().status == 413


def test_chunk_extensions_without_end_are_413(served, client):
    client.send(
        f"POST {CHAT} HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {KEY}\r\nTransfer-Encoding: chunked\r\n\r\n1;"
    )
    client.send(b"a" * (served.plane.body_limit + 500_000))
    assert client.reply().status == 413


def test_a_body_of_exactly_the_limit_is_taken(gateway, replica, client):
    one = replica()
    gateway.serve(one)
    frame = b'{"model":"poet","x":"%b"}'
    body = frame % (b"y" * (gateway.plane.body_limit - len(frame) + 2))
    assert client.ask(body=body).status == 200
    assert one.asked[0].body == body


def test_a_content_encoding_is_415_and_a_strange_expectation_417(served):
    for line, status in (("Content-Encoding: gzip\r\n", 415), ("Expect: miracle\r\n", 417)):
        with Client(served.port) as client:
            assert client.ask(headers=f"Authorization: Bearer {KEY}\r\n{line}").status == status


def test_expect_100_continue_is_met_before_the_body(served, client):
    body = json.dumps({"model": MODEL}).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {KEY}\r\nContent-Length: {len(body)}\r\n"
    client.send(head + "Expect: 100-continue\r\n\r\n")
    assert client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue"
    client.send(body)
    assert client.reply().status == 200


def test_a_refused_request_is_not_told_to_continue(served, client):
    client.send(f"POST {CHAT} HTTP/1.1\r\nHost: g\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
    assert client.reply().status == 401


def test_errors_of_our_own_carry_a_request_id(served, client):
    first, second = (client.ask(body=b"{").headers["x-request-id"] for _ in range(2))
    assert len(first) == len(second) == 48
    assert first != second


def test_http_1_0_is_closed_after_the_answer_unless_it_asks_to_stay(served):
    with Client(served.port) as client:
        client.send("GET /healthz HTTP/1.0\r\n\r\n")
        assert client.reply().headers["connection"] == "close"
        assert client.ends() == b""
    with Client(served.port) as client:
        for _ in range(2):
            client.send("GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            assert client.reply().headers["connection"] == "keep-alive"


def test_connection_close_is_honoured(served, client):
    reply = client.ask("GET", "/healthz", headers="Connection: close\r\n")
    assert reply.headers["connection"] == "close"
    assert client.ends() == b""
