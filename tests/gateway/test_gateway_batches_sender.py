"""The sender against a data port with TLS, and against one that closes, stalls or talks nonsense."""

from __future__ import annotations

import asyncio
import ssl
import subprocess

import msgspec
import pytest
from gateway_paper import PaperReplica, http, raw, unary

from guideway.core.route import GatewaySettings
from guideway.core.spec.gateway import Gateway, Tls
from guideway.gateway.batches.__main__ import data_port
from guideway.gateway.batches.sender import Address, Broken, Sender, Unreachable


def certificate(folder, name):
    key, pem = folder / f"{name}.key", folder / f"{name}.pem"
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    argv += ["-subj", "/CN=models.example", "-days", "2", "-keyout", str(key), "-out", str(pem)]
    subprocess.run(argv, check=True, capture_output=True)
    return pem, key


def settings(port, pem="", host="127.0.0.1"):
    return GatewaySettings(host, port, 1, "", "", options=Gateway(tls=Tls(certificate=str(pem))))


def sender(loop, port, seconds=5.0):
    return Sender(lambda: Address("127.0.0.1", port), lambda key: key + ".mac", seconds)


def ask(loop, made):
    return loop.run(made.send("k", "/v1/embeddings", b"{}"))


def test_it_speaks_tls_with_the_gateway_own_certificate_and_with_no_other(loop, tmp_path):
    (pem, key), (other, _) = certificate(tmp_path, "a"), certificate(tmp_path, "b")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    served = []

    async def serve(reader, writer):
        try:
            served.append(await reader.readuntil(b"\r\n\r\n{}"))
            writer.write(http(b"{}"))
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = loop.run(asyncio.start_server(serve, "127.0.0.1", 0, ssl=context))
    port = server.sockets[0].getsockname()[1]
    good = Sender(lambda: data_port(settings(port, pem), tmp_path), str, 5.0)
    assert ask(loop, good).status == 200
    for wrong in (other, tmp_path / "missing.pem"):
        with pytest.raises(Unreachable):
            ask(loop, Sender(lambda wrong=wrong: data_port(settings(port, wrong), tmp_path), str, 5.0))
    loop.call(server.close)
    loop.call(good.close)
    assert len(served) == 1


def test_the_port_is_read_where_the_parent_tells_it(tmp_path):
    path = tmp_path / "gateway.json"
    with pytest.raises(OSError, match="No such file"):
        data_port(settings(0), path)
    (tmp_path / "gateway.json.state").write_bytes(msgspec.json.encode({"port": 4711}))
    assert data_port(settings(0, host="0.0.0.0"), path) == Address("127.0.0.1", 4711)
    assert data_port(settings(9, host="::"), path) == Address("::1", 9)


def test_a_connection_is_used_again_and_one_that_was_closed_meanwhile_is_replaced(loop, replica):
    paper = replica(unary(b"{}"))
    made = sender(loop, paper.port)
    assert [ask(loop, made).body for _ in range(3)] == [b"{}"] * 3
    assert paper.connections == 1
    loop.call(lambda: [writer.transport.abort() for writer in paper._writers])
    assert ask(loop, made).status == 200
    assert (paper.connections, len(paper.asked)) == (2, 4)
    loop.call(made.close)


@pytest.mark.parametrize(
    "answer", [raw(b"nonsense\r\n\r\n"), raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", close=True)]
)
def test_half_an_answer_is_none(loop, replica, answer):
    with pytest.raises(Broken):
        ask(loop, sender(loop, replica(answer).port))


def test_an_answer_that_does_not_come_is_given_up(loop, replica):
    async def never(replica, asked, reader, writer):
        await reader.read(1)
        raise ConnectionResetError

    with pytest.raises(Broken, match="in time"):
        ask(loop, sender(loop, replica(never).port, seconds=0.05))


def test_nobody_there_and_no_credential_are_the_same(loop):
    def none(key):
        raise ValueError

    with pytest.raises(Unreachable):
        ask(loop, sender(loop, 1))
    with pytest.raises(Unreachable):
        ask(loop, Sender(lambda: Address("127.0.0.1", 1), none, 1.0))


def test_how_long_to_wait_is_read_from_the_answer(loop, replica: type[PaperReplica]):
    for line, seconds in ((b"7", 7.0), (b"soon", None), (b"-1", None), (b"9" * 30, None)):
        head = f"Retry-After: {line.decode()}\r\nx-request-id: r7\r\n"
        made = sender(loop, replica(unary(b"{}", "429 Too Many Requests", head)).port)
        answer = ask(loop, made)
        assert (answer.status, answer.retry_after, answer.request_id) == (429, seconds, "r7")
        loop.call(made.close)
