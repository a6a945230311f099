"""Files and batches pass through to the process beside the workers, as fast as the slower side reads."""

from __future__ import annotations

import asyncio
import json

import msgspec
import pytest
from gateway_rig import AUTHORIZED, KEY, OPTIONS, PEPPER, Client, request, wait_for

from guideway.core.route import ApiKey, KeyFile
from guideway.core.spec.gateway import Explanations
from guideway.gateway import side
from guideway.gateway.keys import key_digest


class Service:
    """A paper service on a Unix socket: keeps the heads that it saw, and counts the bytes that it read."""

    def __init__(self, loop, path):
        self.loop, self.heads, self.read, self.path = loop, [], 0, str(path)
        self.gate, self.closed = asyncio.Event(), 0
        self.gate.set()
        self.answer_early = False
        self.server = loop.run(self._listen())

    async def _listen(self):
        return await asyncio.start_unix_server(self._serve, self.path, limit=1 << 16)

    async def _serve(self, reader, writer):
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            self.heads.append(head)
            if not self.answer_early:
                await self._body(reader, head)
            body = json.dumps({"target": head[0].split()[1], "read": self.read}).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body))
            writer.write(body)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, ValueError):
            pass
        finally:
            self.closed += 1
            writer.close()

    async def _body(self, reader, head):
        lower = [line.lower() for line in head]
        length = next((int(line.split(":")[1]) for line in lower if line.startswith("content-length")), 0)
        if "transfer-encoding: chunked" in lower:
            while size := int(await reader.readline(), 16):
                self.read += len(await reader.readexactly(size))
                await reader.readline()
            return
        while length > 0:
            await self.gate.wait()
            data = await reader.read(min(length, 65536))
            if not data:
                raise ConnectionError
            self.read, length = self.read + len(data), length - len(data)


@pytest.fixture
def service(loop, gateway, tmp_path):
    made = Service(loop, tmp_path / "s")
    gateway.plane.batches, gateway.plane.file_limit = made.path, 64 << 20
    yield made
    loop.call(made.server.close)


def post(path, length, extra=""):
    return (
        f"POST {path} HTTP/1.1\r\nHost: g\r\n{AUTHORIZED}Content-Type: multipart/form-data; boundary=x\r\n"
        f"{extra}Content-Length: {length}\r\n\r\n"
    )


def test_a_request_about_files_reaches_the_service_with_its_query_and_who_asks(service, client):
    reply = client.ask("GET", "/v1/files?limit=3", headers=AUTHORIZED + "x-guideway-owner: somebody-else\r\n")
    assert reply.status == 200
    assert reply.json()["target"] == "/v1/files?limit=3"
    owners = [line for line in service.heads[0] if line.startswith("x-guideway-owner")]
    assert len(owners) == 1
    assert "somebody-else" not in owners[0]
    assert not any("Bearer" in line for line in service.heads[0]), "the key stays here"


@pytest.mark.parametrize("path", ["/v1/files", "/v1/files/file-1", "/v1/files/file-1/content", "/v1/batches/b/cancel"])
def test_every_path_below_needs_a_key(service, client, path):
    assert client.ask("GET", path, headers="").status == 401
    assert service.heads == []


def test_a_path_that_only_begins_alike_is_404(service, client):
    assert client.ask("GET", "/v1/filesystem").status == 404


def test_a_body_larger_than_the_limit_of_other_requests_passes(service, gateway, client):
    size = gateway.plane.body_limit * 3
    client.send(post("/v1/files", size))
    client.send(b"x" * size)
    assert client.reply().json()["read"] == size


def test_a_chunked_body_passes(service, client):
    head = post("/v1/files", 0).replace("Content-Length: 0", "Transfer-Encoding: chunked")
    client.send(head + "5\r\nhello\r\n3\r\nyou\r\n0\r\n\r\n")
    assert client.reply().json()["read"] == 8


def test_a_client_that_waits_for_leave_to_send_gets_it(service, client):
    client.send(post("/v1/files", 2, "Expect: 100-continue\r\n"))
    assert client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue"
    client.send("hi")
    assert client.reply().json()["read"] == 2


def test_a_slow_service_slows_its_client_and_fills_no_memory(service, gateway, client):
    service.loop.call(service.gate.clear)
    size = 32 << 20
    client.send(post("/v1/files", size))
    client.socket.setblocking(False)
    sent = 0
    (connection,) = gateway.server.connections
    while connection._reading or sent < 1 << 20:
        try:
            sent += client.socket.send(b"x" * 65536)
        except BlockingIOError:
            if connection._held:
                break
    client.socket.settimeout(20)
    assert sent < size / 2
    service.loop.call(service.gate.set)
    client.send(b"x" * (size - sent))
    assert client.reply().json()["read"] == size


def test_a_file_that_says_it_is_too_large_is_413_before_it_is_sent(service, client):
    client.send(post("/v1/files", 65 << 20))
    assert client.reply().status == 413


def test_a_body_that_breaks_the_rules_is_400_and_the_service_is_let_go(service, client):
    head = post("/v1/files", 0).replace("Content-Length: 0", "Transfer-Encoding: chunked")
    client.send(head + "5\r\nhello\r\n")
    wait_for(lambda: service.read == 5)
    client.send("zz\r\n")
    assert client.reply().status == 400
    wait_for(lambda: service.closed == 1)


def test_an_early_answer_is_read_although_the_client_still_sends(service, client):
    service.answer_early = True
    client.send(post("/v1/files", 8 << 20))
    client.send(b"x" * 100_000)
    assert client.reply().status == 200
    client.ends()


def test_a_client_that_leaves_frees_the_service(service, gateway):
    service.loop.call(service.gate.clear)
    with Client(gateway.port) as client:
        client.send(post("/v1/files", 1000))
        wait_for(lambda: service.heads)
    service.loop.call(service.gate.set)
    wait_for(lambda: service.closed == 1)


def test_a_request_waits_for_a_service_that_is_exchanged(gateway, client, loop, tmp_path):
    gateway.plane.batches = str(tmp_path / "later")
    client.send(request("GET", "/v1/batches"))
    wait_for(lambda: gateway.server.connections)
    made = Service(loop, tmp_path / "later")
    made_known = client.reply()
    assert (made_known.status, made_known.json()["target"]) == (200, "/v1/batches")
    loop.call(made.server.close)


def test_without_the_service_the_answer_is_503(gateway, client, tmp_path, monkeypatch):
    monkeypatch.setattr(side, "PATIENCE_SECONDS", 0.1)
    gateway.plane.batches = str(tmp_path / "nothing")
    reply = client.ask("GET", "/v1/batches")
    assert reply.status == 503
    assert "retry-after" in reply.headers
    assert str(tmp_path) not in reply.body.decode()


# Explanations


@pytest.fixture
def explainer(loop, made, tmp_path):
    """A gateway that wants explanations, and a paper service that makes them."""
    gateway = made(msgspec.structs.replace(OPTIONS, explain=Explanations()))
    service = Service(loop, tmp_path / "e")
    gateway.plane.explains = service.path
    yield gateway, service
    loop.call(service.server.close)


def of_role(gateway, role):
    digest = key_digest(PEPPER, KEY)
    keys = KeyFile(pepper=PEPPER.hex(), keys=(ApiKey(id="k", digest=digest, role=role),))
    gateway.set_keys(msgspec.json.encode(keys))


def explain(gateway, headers=AUTHORIZED):
    with Client(gateway.port) as client:
        return client.ask("POST", "/v1/explain", body=b'{"text": "why"}', headers=headers)


@pytest.mark.parametrize("role", ["operator", "admin"])
def test_an_operator_has_answers_explained_by_a_process_of_its_own(explainer, role):
    gateway, service = explainer
    of_role(gateway, role)
    reply = explain(gateway)
    assert (reply.status, reply.json()) == (200, {"target": "/v1/explain", "read": 15})
    assert "x-guideway-key: k" in service.heads[0]


def test_a_user_and_a_stranger_have_nothing_explained(explainer):
    gateway, service = explainer
    of_role(gateway, "user")
    reply = explain(gateway)
    assert (reply.status, reply.json()["error"]["code"]) == (403, "insufficient_role")
    assert explain(gateway, headers="").status == 401 and service.heads == []


def test_explanations_are_not_there_unless_they_are_asked_for(gateway):
    of_role(gateway, "admin")
    assert gateway.plane.explains == "" and explain(gateway).status == 404
