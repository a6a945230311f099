"""The paths of the data port: each needs a key unless it tells of health, and no spelling of a path leads elsewhere."""

from __future__ import annotations

import pytest
from gateway_rig import AUTHORIZED, CHAT, MODEL, Client, request

from guideway.gateway import paths

EVERY = [path.decode() for path in paths.PATHS] + [
    f"/v1/models/{MODEL}",
    f"/v2/models/{MODEL}",
    f"/v2/models/{MODEL}/ready",
    f"/v2/models/{MODEL}/infer",
]
ADMIN = ["/admin", "/metrics", "/keys", "/admin/keys", "/routes", "/drain", "/debug", "/docs", "/openapi.json"]
DISGUISES = [
    "//",
    "//v1/models",
    "/v1//models",
    "/v1/models/",
    "/v1/models//poet",
    "/v1/models/poet/",
    "/v1/models/poet/x",
    "/v1/models/../models",
    "/v1/models/..",
    "/v1/models/%2e%2e",
    "/v1/models/%2e%2e%2fadmin",
    "/v1/models/%70oet",
    "/v1/models/po\u00ebt",
    "/v1/models/poet%00",
    "/v1/models/poet;x=1",
    "/v1/../admin",
    "/v1/../healthz",
    "/v1/./models",
    "/v1/%2e%2e/admin",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/v1/%252e%252e/admin",
    "/v1/..%2fadmin",
    "/v1/..%5cadmin",
    "/v1\\..\\admin",
    "\\admin",
    "/v1/models%00",
    "/v1/models%0d%0aX: y",
    "/v1/models;admin",
    "/v1/models%3fadmin",
    "/%76%31/models",
    "/v1/chat/completions/../../../admin",
    "/v1/chat%2fcompletions",
    "/v1/chat/completions%20",
    "/V1/CHAT/COMPLETIONS",
    "/v2/../admin",
    "/v2/models/../../admin/infer",
    "/v2/models/%2e%2e/infer",
    "/v2/models/../infer",
    "/v2/models/poet/../infer",
    "/v2/models/poet%2finfer",
    "/v2/health/../models",
    "/healthz/../v1/models",
    "/healthz/",
    "/healthz;",
    "/healthz/../admin",
    "http://127.0.0.1/admin",
    "http://127.0.0.1:1/",
    "http://[::1]/admin",
    "http://admin@gateway/admin",
    "http://gateway//v1/models",
    "http:///v1/../admin",
    "https://gateway/admin",
    "file:///etc/passwd",
    "unix:/run/admin.sock",
    "admin",
    "*",
]
SOUND = {400, 404}


@pytest.fixture
def guarded(gateway, replica):
    gateway.one = replica()
    gateway.serve(gateway.one)
    return gateway


@pytest.mark.catalogue("B17")
@pytest.mark.parametrize("path", EVERY)
def test_every_path_without_a_key_is_401_and_only_health_is_exempt(guarded, path):
    methods = paths.methods(path.encode())
    for method in sorted(methods):
        with Client(guarded.port) as client:
            client.send(request(method.decode(), path, headers=""))
            reply = client.reply(bodiless=method == b"HEAD")
        assert reply.status == (200 if path.encode() in paths.OPEN else 401)
    assert guarded.one.asked == []


def test_only_health_is_exempt():
    assert {b"/healthz", b"/v2/health/live", b"/v2/health/ready"} == paths.OPEN


@pytest.mark.catalogue("B23")
@pytest.mark.parametrize("host", ["gateway", "127.0.0.1", "admin", "localhost:1"])
@pytest.mark.parametrize("path", ADMIN)
def test_nothing_of_the_admin_plane_is_here_whatever_the_host(guarded, path, host):
    for method in ("GET", "POST"):
        with Client(guarded.port) as client:
            reply = client.ask(
                method, path, headers=f"{AUTHORIZED}X-Forwarded-Host: {host}\r\nX-Original-URL: {path}\r\n"
            )
            assert reply.status == 404
    assert guarded.one.asked == []


@pytest.mark.catalogue("B11")
@pytest.mark.catalogue("B23")
@pytest.mark.parametrize("target", DISGUISES)
def test_a_disguised_path_leads_nowhere(guarded, target):
    for method in ("GET", "POST"):
        with Client(guarded.port) as client:
            client.send(request(method, target))
            reply = client.reply()
        assert reply.status in SOUND, f"{method} {target}: {reply.body!r}"
        assert {"error"} <= set(reply.json()) <= {"error", "code"}
    assert guarded.one.asked == []


@pytest.mark.catalogue("B23")
@pytest.mark.parametrize("byte", [*range(0x20), 0x7F, 0x80, 0xFF])
def test_no_control_byte_or_foreign_byte_in_a_target_leads_anywhere(guarded, byte):
    for place in (b"/v1/mod%bels", b"/v1/models%b", b"%b/v1/models", b"/v1/models/poet%b"):
        with Client(guarded.port) as client:
            client.send(b"GET " + place % bytes([byte]) + f" HTTP/1.1\r\nHost: g\r\n{AUTHORIZED}\r\n".encode())
            said = client.ends() if byte in {0x0A, 0x0D} else b"HTTP/1.1 %d " % client.reply().status
        assert said[:12] in {b"HTTP/1.1 400", b"HTTP/1.1 404", b"HTTP/1.1 505", b""}, (place, said)
    assert guarded.one.asked == []


@pytest.mark.catalogue("B23")
def test_a_request_hidden_in_the_body_of_another_is_not_seen(guarded):
    hidden = f"GET /admin HTTP/1.1\r\nHost: g\r\n{AUTHORIZED}\r\n"
    head = f"POST {CHAT} HTTP/1.1\r\nHost: g\r\n{AUTHORIZED}Content-Length: {len(hidden)}\r\n"
    with Client(guarded.port) as client:
        client.send(f"{head}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}")
        assert client.reply().status == 400
        assert client.ends() == b"", "the connection is closed, and nothing more is answered"
    assert guarded.one.asked == []
