"""The Open Inference Protocol v2: its paths, its answers, its errors, and what reaches the replica."""

from __future__ import annotations

import json

import pytest
from gateway_paper import held, unary
from gateway_rig import CHAT, KEY, MODEL, OTHER_KEY, request, wait_for

from guideway.gateway import oip
from guideway.gateway.errors import NO_PATH, ApiError
from guideway.gateway.oip import Target

INFER = f"/v2/models/{MODEL}/infer"
ASK = {"id": "7", "inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a fine day"]}]}
ANSWER = {
    "model_name": MODEL,
    "id": "7",
    "outputs": [{"name": "label", "shape": [1], "datatype": "INT64", "data": [1]}],
}


def error_of(reply):
    assert reply.headers["content-type"] == "application/json"
    assert {"error"} <= set(reply.json()) <= {"error", "code"}
    assert isinstance(reply.json()["error"], str)
    return reply.json()["error"]


# Paths.


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (b"/v2/models/poet", Target("poet", "metadata")),
        (b"/v2/models/poet/ready", Target("poet", "ready")),
        (b"/v2/models/poet/infer", Target("poet", "infer")),
        (b"/v2/models/meta.Llama-3:8b_x/infer", Target("meta.Llama-3:8b_x", "infer")),
        (b"/v2/models/%70oet/infer", None),
        (b"/v2/models/../infer", None),
        (b"/v2/models/po\xc3\xabt", None),
        (b"/v2/models/", None),
        (b"/v2/models//infer", None),
        (b"/v2/models/poet/", None),
        (b"/v2/models/poet//infer", None),
        (b"/v2/models/poet/infer/", None),
        (b"/v2/models/poet/versions/1/infer", None),
        (b"/v2/models/poet/explain", None),
        (b"/v2/models", None),
        (b"/v2/health/live", None),
        (b"/v1/models/poet", None),
    ],
)
def test_a_path_names_a_model_and_a_purpose_or_is_none_of_the_protocol(path, found):
    assert oip.target(path) == found


def test_an_error_is_one_text_with_our_code_beside_it_if_there_is_one():
    assert json.loads(oip.error_body(NO_PATH)) == {"error": "there is no such path", "code": "not_found"}
    assert json.loads(oip.error_body(ApiError(400, "no"))) == {"error": "no"}


# Health and metadata.


def test_health_needs_no_key_and_readiness_follows_the_route(gateway, replica, client):
    assert client.ask("GET", "/v2/health/live", headers="").json() == {"live": True}
    reply = client.ask("GET", "/v2/health/ready", headers="")
    assert (reply.status, reply.json()) == (503, {"ready": False})
    gateway.serve(replica())
    reply = client.ask("GET", "/v2/health/ready", headers="")
    assert (reply.status, reply.json()) == (200, {"ready": True})


def test_the_server_tells_its_name_to_those_with_a_key(client):
    said = client.ask("GET", "/v2").json()
    assert (said["name"], said["extensions"]) == ("guideway", [])
    assert client.ask("GET", "/v2", headers="").status == 401


def test_a_model_is_ready_when_something_serves_it(gateway, replica, client):
    gateway.serve()
    reply = client.ask("GET", f"/v2/models/{MODEL}/ready")
    assert (reply.status, reply.json()) == (503, {"name": MODEL, "ready": False})
    gateway.serve(replica())
    assert client.ask("GET", f"/v2/models/{MODEL}/ready").json() == {"name": MODEL, "ready": True}


def test_the_metadata_of_a_model_come_from_its_replica(gateway, replica, client):
    said = {"name": MODEL, "versions": [], "platform": "onnxruntime", "inputs": [], "outputs": []}
    one = replica(unary(json.dumps(said).encode()))
    gateway.serve(one)
    reply = client.ask("GET", f"/v2/models/{MODEL}")
    assert (reply.status, reply.json()) == (200, said)
    assert one.asked[0].first == f"GET /v2/models/{MODEL} HTTP/1.1"
    assert client.ask("GET", f"/v2/models/{MODEL}/ready").status == 200, "the connection goes on"


# Inference.


def test_an_inference_reaches_the_replica_unchanged_and_its_answer_the_client(gateway, replica, client):
    one = replica(unary(json.dumps(ANSWER).encode()))
    gateway.serve(one)
    body = json.dumps(ASK, indent=1).encode()
    reply = client.ask(path=INFER, body=body)
    assert (reply.status, reply.json()) == (200, ANSWER)
    assert (one.asked[0].first, one.asked[0].body) == (f"POST {INFER} HTTP/1.1", body)
    assert len(reply.headers["x-request-id"]) == 48
    assert float(reply.headers["x-guideway-overhead-ms"]) >= 0
    assert len(reply.headers["x-guideway-release"]) == 12


def test_a_model_named_in_the_body_changes_nothing(gateway, replica, client):
    one = replica()
    gateway.serve(one)
    assert client.ask(path=INFER, body={**ASK, "model": "other", "model_name": "other"}).status == 200
    assert client.ask(path="/v2/models/other/infer", body={**ASK, "model": MODEL}).status == 404
    assert len(one.asked) == 1


def test_a_client_that_leaves_frees_the_replica(gateway, replica, client):
    one = replica(held(unary()))
    gateway.serve(one)
    client.send(request(path=INFER, body=ASK))
    wait_for(lambda: one.asked)
    client.socket.close()
    wait_for(lambda: one.closed == 1, 1.0)


# Errors.


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("POST", INFER, "", 401),
        ("GET", f"/v2/models/{MODEL}", "", 401),
        ("GET", f"/v2/models/{MODEL}/ready", "", 401),
        ("GET", f"/v2/models/{MODEL}/ready", f"Authorization: Bearer {OTHER_KEY}\r\n", 401),
        ("GET", "/v2/models/other/ready", None, 404),
        ("GET", "/v2/models/other", None, 404),
        ("POST", "/v2/models/other/infer", None, 404),
        ("GET", "/v2/nowhere", None, 404),
        ("GET", f"/v2/models/{MODEL}/versions/1", None, 404),
        ("GET", INFER, None, 405),
        ("POST", f"/v2/models/{MODEL}", None, 405),
        ("HEAD", f"/v2/models/{MODEL}", None, 405),
        ("POST", "/v2/health/live", None, 405),
    ],
)
def test_errors_have_the_shape_of_the_protocol(gateway, replica, client, method, path, headers, status):
    one = replica()
    gateway.serve(one)
    lines = f"Authorization: Bearer {KEY}\r\n" if headers is None else headers
    client.send(request(method, path, body=ASK if method == "POST" else None, headers=lines))
    reply = client.reply(bodiless=method == "HEAD")
    assert reply.status == status
    assert method == "HEAD" or error_of(reply)
    assert one.asked == []


@pytest.mark.parametrize("body", [b"{", b"[]", b"", b'{"id": 7}', b"[" * 10_000, b'{"inputs":[]}\x00\x00\x80\x3f'])
def test_a_body_that_is_no_inference_is_400(gateway, replica, client, body):
    one = replica()
    gateway.serve(one)
    reply = client.ask(path=INFER, body=body)
    assert reply.status == 400
    assert "JSON" in error_of(reply) or "not a request" in error_of(reply) or "deeply" in error_of(reply)
    assert one.asked == []


def test_failures_of_replicas_have_the_shape_of_the_protocol(gateway, replica, client):
    dead = replica()
    dead.die()
    gateway.serve(dead)
    reply = client.ask(path=INFER, body=ASK)
    assert reply.status == 503
    assert error_of(reply)
    gateway.serve()
    reply = client.ask(path=INFER, body=ASK)
    assert (reply.status, reply.headers["retry-after"]) == (503, "1")
    assert error_of(reply)


def test_an_error_of_the_replica_is_passed_on_as_it_is(gateway, replica, client):
    gateway.serve(replica(unary(b'{"error":"the shape does not fit"}', "400 Bad Request")))
    reply = client.ask(path=INFER, body=ASK)
    assert (reply.status, error_of(reply)) == (400, "the shape does not fit")


def test_the_other_api_keeps_its_shape_of_errors(gateway, client):
    gateway.serve()
    assert set(client.ask(path=CHAT).json()["error"]) == {"message", "type", "param", "code"}
