"""HAProxy and nginx in front of two gateways, with the configurations that we write."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
import threading
import time

import httpx
import msgspec
import openai
import pytest
from front_rig import WRITERS, Balancer, argv, configured, free_port
from gateway_paper import DONE, SSE_HEAD, chat_or_stream, chunk, event, held, raw, unary
from gateway_rig import (
    AUTHORIZED,
    CHAT,
    KEY,
    MODEL,
    STABLE,
    Client,
    Gateway,
    key_file,
    request,
    route,
    threads,
    wait_for,
)
from system_rig import Load

from guideway.core.errors import SpecError
from guideway.core.route import Endpoint, GatewaySettings
from guideway.core.spec.gateway import Cache, Routing
from guideway.core.spec.gateway import Gateway as Options
from guideway.gateway import certificate
from guideway.gateway.front.plan import Front, endpoint
from guideway.gateway.tls import Identity
from guideway.kit.files import write_atomic
from guideway.kit.process import is_alive

BOTH = pytest.mark.parametrize("name", list(WRITERS))
ASK = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}
TWO = [Endpoint("10.0.0.1", 8080), Endpoint("10.0.0.2", 8080)]


@pytest.fixture
def gateways(loop):
    """Two gateways."""
    made = [Gateway(loop, seed=seed) for seed in (1, 2)]
    yield made
    for one in made:
        one.close()


@pytest.fixture
def balancer(tmp_path):
    made = []

    def start(name, ports, /, **more):
        made.append(Balancer(name, tmp_path, ports, **more))
        return made[-1]

    yield start
    for one in made:
        one.stop()


@pytest.fixture
def fronted(gateways, replica, balancer):
    """Starts a balancer in front of the two gateways, which share one replica."""

    def start(name, answer=None):
        one = replica(answer)
        for gateway in gateways:
            gateway.serve(one)
        front = balancer(name, [gateway.port for gateway in gateways])
        front.replica = one
        return front

    return start


# The way through.


@BOTH
def test_requests_go_through_to_both_gateways_on_connections_that_are_kept(fronted, gateways, name):
    front = fronted(name)
    with Client(front.port) as client:
        replies = [client.ask() for _ in range(30)]
    assert {reply.status for reply in replies} == {200}
    assert len({reply.headers["x-request-id"] for reply in replies}) == 30
    assert {reply.headers["x-guideway-release"] for reply in replies} != {None}
    assert sum(len(gateway.server.connections) for gateway in gateways) <= 8, "a request does not cost a connection"
    with Client(front.port) as client:
        assert client.ask(headers="").status == 401
        assert client.ask("GET", "/healthz", headers="").status == 200
        assert client.ask("GET", f"/v1/models/{MODEL}").json()["id"] == MODEL
        assert client.ask("GET", "/v2/health/ready", headers="").json() == {"ready": True}
        assert client.ask(path=f"/v2/models/{MODEL}/infer", body={"inputs": []}).status == 200


@BOTH
def test_both_gateways_have_work(fronted, gateways, name):
    front = fronted(name, held(unary()))
    clients = [Client(front.port) for _ in range(8)]
    for client in clients:
        client.send(request())
    wait_for(lambda: len(front.replica.asked) == 8)
    assert all(gateway.server.connections for gateway in gateways)
    front.replica.release()
    assert [client.reply().status for client in clients] == [200] * 8
    for client in clients:
        client.socket.close()


@BOTH
def test_events_arrive_one_by_one_while_the_rest_is_not_yet_written(fronted, name):
    async def slow(replica, asked, reader, writer):
        writer.write(SSE_HEAD + chunk(event("first")))
        await writer.drain()
        await replica.go.wait()
        writer.write(chunk(event("second")) + chunk(DONE) + b"0\r\n\r\n")
        await writer.drain()

    front = fronted(name, slow)
    with Client(front.port) as client:
        client.send(request(body={**ASK, "stream": True}))
        status, headers = client.head()
        assert (status, headers["content-type"]) == (200, "text/event-stream")
        chunks = client.chunks()
        assert next(chunks) == event("first")
        front.replica.release()
        assert b"".join(chunks) == event("second") + DONE


@BOTH
def test_a_client_that_leaves_reaches_the_replica(fronted, name):
    front = fronted(name, held(unary()))
    with Client(front.port) as client:
        client.send(request())
        wait_for(lambda: front.replica.asked)
    wait_for(lambda: front.replica.closed == 1, 2.0)


@BOTH
def test_a_client_that_leaves_a_stream_reaches_the_replica(fronted, name):
    async def endless(replica, asked, reader, writer):
        writer.write(SSE_HEAD + chunk(event("a")))
        await held(unary())(replica, asked, reader, writer)

    front = fronted(name, endless)
    with Client(front.port) as client:
        client.send(request(body={**ASK, "stream": True}))
        client.until(b"data: ")
    wait_for(lambda: front.replica.closed == 1, 2.0)


@BOTH
def test_the_openai_client_works_through_it(fronted, name):
    front = fronted(name, chat_or_stream("a", " rose"))
    with openai.OpenAI(base_url=f"http://127.0.0.1:{front.port}/v1", api_key=KEY, max_retries=0) as client:
        assert client.chat.completions.create(**ASK).choices[0].message.content == "a rose"
        pieces = [piece.choices[0].delta.content for piece in client.chat.completions.create(**ASK, stream=True)]
        assert pieces == ["a", " rose"]
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.create(**{**ASK, "model": "other"})


@BOTH
def test_a_body_up_to_the_limit_goes_through_and_a_larger_one_is_413(fronted, name):
    front = fronted(name)
    with Client(front.port) as client:
        large = {**ASK, "more": "x" * 900_000}
        assert client.ask(body=large).status == 200
    assert len(front.replica.asked[0].body) > 900_000
    with Client(front.port) as client:
        client.send(f"POST {CHAT} HTTP/1.1\r\nHost: g\r\n{AUTHORIZED}Content-Length: {2 << 20}\r\n\r\n")
        reply = client.reply()
        assert (reply.status, reply.json()["error"]["code"]) == (413, "body_too_large")


@BOTH
def test_a_header_of_a_model_server_steers_nothing(fronted, name):
    lines = "Content-Type: application/json\r\nX-Accel-Redirect: /healthz\r\nX-Accel-Limit-Rate: 1\r\n"
    front = fronted(name, unary(b'{"mine": true}', headers=lines))
    with Client(front.port) as client:
        assert client.ask().json() == {"mine": True}


# What is refused.


@pytest.mark.catalogue("B23")
@BOTH
def test_no_admin_path_and_no_disguise_gets_through(fronted, name):
    front = fronted(name)
    targets = [
        "/admin",
        "/metrics",
        "/",
        "/v1",
        "//v1/models",
        "/v1//models",
        "/v1/../admin",
        "/v1/..",
        "/v1/%2e%2e/admin",
    ]
    targets += ["/v1/..%2fadmin", "/v1/..\\admin", "/v1/models;x", "/v1/%252e%252e/x", "/healthz/x", "/v2/../admin"]
    targets += ["/v1/models%00", "http://127.0.0.1/admin", "/V1/models", "/v1/chat/completions/../../admin"]
    for target in targets:
        for method in ("GET", "POST"):
            with Client(front.port) as client:
                client.send(request(method, target))
                reply = client.reply()
                assert reply.status in {400, 404}, f"{method} {target}"
                assert reply.status == 400 or reply.json()["error"]["code"] == "not_found"
    assert front.replica.asked == []


@pytest.mark.catalogue("B23")
@BOTH
@pytest.mark.parametrize(
    "lines",
    [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Content-Length: +5\r\n",
        "X: a\r\n Content-Length: 5\r\n",
    ],
)
def test_requests_that_two_readers_would_understand_differently_reach_no_model(fronted, name, lines):
    front = fronted(name)
    hidden = f"POST {CHAT} HTTP/1.1\r\nHost: g\r\n{AUTHORIZED}Content-Length: 16\r\n\r\n" + '{"model":"poet"}'
    with Client(front.port) as client:
        client.send(f"POST {CHAT} HTTP/1.1\r\nHost: g\r\n{AUTHORIZED}{lines}\r\n0\r\n\r\n{hidden}")
        said = client.ends() if name == "nginx" else client.until(b"\r\n")
    assert said[:12] in {b"HTTP/1.1 400", b"HTTP/1.1 501", b"HTTP/1.1 405", b"HTTP/1.1 411"}, said
    assert front.replica.asked == []


@BOTH
def test_a_connection_is_not_upgraded(fronted, name):
    front = fronted(name)
    with Client(front.port) as client:
        lines = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        client.send(request("GET", "/v1/models", headers=f"{AUTHORIZED}{lines}Sec-WebSocket-Version: 13\r\n"))
        assert client.reply().status == 400
    assert front.replica.asked == []
    with Client(front.port) as client:
        client.send(
            request(headers=f"{AUTHORIZED}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: A\r\n")
        )
        assert client.reply().status in {200, 400}, "either refused, or answered as if it had not been asked for"


# Gateways that come and go.


def accepts(port):
    try:
        with Client(port):
            return True
    except ConnectionError:
        return False


class Process:
    """A gateway in processes of its own, which can be killed."""

    def __init__(self, folder, ports, options=None):
        folder.mkdir()
        files = str(folder / "route.json"), str(folder / "keys.json")
        settings = GatewaySettings("127.0.0.1", free_port(), 1, *files, options or Options())
        self.port, self.file = settings.port, folder / "gateway.json"
        write_atomic(self.file, msgspec.json.encode(settings))
        write_atomic(folder / "keys.json", key_file())
        write_atomic(folder / "route.json", msgspec.json.encode(route(ports)))
        self.log = (folder / "log").open("wb")
        self.start()

    def start(self):
        argv = [sys.executable, "-m", "guideway.gateway", "--settings", str(self.file)]
        self.process = subprocess.Popen(argv, stderr=self.log, start_new_session=True)
        wait_for(self.healthy, 30, "the gateway being up")

    def healthy(self):
        try:
            with Client(self.port) as client:
                return client.ask("GET", "/healthz", headers="").status == 200
        except (ConnectionError, EOFError):
            return False

    def kill(self):
        workers = msgspec.json.decode(self.file.with_name("gateway.json.state").read_bytes())["workers"]
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)
        wait_for(lambda: not any(map(is_alive, workers)), 10, "its workers being gone, and with them their connections")
        wait_for(lambda: not accepts(self.port), 10, "its port being closed")

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(20)
        self.log.close()


@pytest.fixture
def processes(tmp_path, replica):
    one = replica(chat_or_stream("a", "b"))
    made = [Process(tmp_path / str(number), [one.port]) for number in range(2)]
    yield made
    for process in made:
        process.stop()


@BOTH
def test_a_killed_gateway_fails_no_new_request_and_is_used_again_when_it_is_back(processes, balancer, name):
    front = balancer(name, [one.port for one in processes])

    def statuses(count):
        found = []
        for _ in range(count):
            with Client(front.port) as client:
                found.append(client.ask().status)
        return found

    assert statuses(10) == [200] * 10
    processes[0].kill()
    assert statuses(40) == [200] * 40, "a connection that cannot be made is made to the other gateway"
    processes[1].kill()
    with Client(front.port) as client:
        reply = client.ask()
        assert (reply.status, reply.headers["retry-after"]) == (503 if name == "haproxy" else 502, "1")
        assert reply.json()["error"]["code"] == "no_gateway"
    processes[0].start()
    wait_for(lambda: statuses(4) == [200] * 4, 20, "the first gateway being used again")


def test_a_gateway_that_retires_behind_haproxy_and_then_stops_fails_no_request(gateways, fronted):
    front = fronted("haproxy", chat_or_stream("a", "b"))
    gateways[0].serve(front.replica, candidate=[front.replica], weight=1.0)  # so that its answers name another release
    answered, enough = [], threading.Event()

    def work(number):
        while not enough.is_set():
            with Client(front.port) as client:
                for _ in range(3):
                    reply = client.ask(body={**ASK, "stream": bool(number % 2)})
                    assert reply.status == 200, reply.body
                    answered.append(reply.headers["x-guideway-release"])

    def of_both(count):
        return len(set(answered[-count:])) == 2 or wrong

    def of_one(count):
        return (len(answered) > count and set(answered[-count:]) == {STABLE[7:19]}) or wrong

    with threads(4, work) as wrong:
        try:
            wait_for(lambda: of_both(30), 15, "answers of both")
            gateways[0].plane.retiring = True
            with Client(gateways[0].port) as client:
                assert client.ask("GET", "/healthz", headers="").status == 503
                assert client.ask().status == 200, "who asks is served still"
            wait_for(lambda: of_one(60), 15, "the balancer leaving it alone")
            gateways[0].close()
            seen = len(answered)
            wait_for(lambda: len(answered) > seen + 60 or wrong, 15, "further answers")
        finally:
            enough.set()
    assert wrong == []


@pytest.mark.thorough
def test_sigterm_to_one_of_two_gateways_behind_haproxy_fails_no_request_though_haproxy_tries_none_again(
    tmp_path, replica, balancer
):
    one = replica(chat_or_stream("a", "b"))
    options = Options(lame_duck=4.0, cache=Cache(store="off"))
    two = [Process(tmp_path / str(number), [one.port], options) for number in range(2)]
    front = balancer("haproxy", [gateway.port for gateway in two], without="retries|retry-on|option redispatch")
    try:
        with Load(front.port, clients=6) as load:
            two[0].process.terminate()
            wait_for(lambda: not two[0].healthy())
            with Client(two[0].port) as client:
                assert client.ask().status == 200, "who comes is served still"
            wait_for(lambda: two[0].process.poll() == 0 or load.wrong, 20, "the gateway being gone")
            load.more(100)
        assert load.wrong == []
    finally:
        for gateway in two:
            gateway.stop()


@BOTH
def test_a_request_that_was_sent_is_never_sent_again(replica, balancer, name):
    """Gateways of paper, which read a request and die of it."""

    async def deadly(replica, asked, reader, writer):
        if asked.first.startswith("GET /healthz"):
            await unary()(replica, asked, reader, writer)
        else:
            await raw(b"", close=True)(replica, asked, reader, writer)

    papers = [replica(deadly), replica(deadly)]
    front = balancer(name, [paper.port for paper in papers])
    with Client(front.port) as client:
        reply = client.ask()
        assert reply.status in {502, 503}
        assert reply.json()["error"]["type"] == "server_error"
    posts = [asked for paper in papers for asked in paper.asked if asked.first.startswith("POST")]
    assert len(posts) == 1


def test_haproxy_gives_no_new_work_to_a_gateway_that_is_not_healthy(gateways, replica, balancer):
    one = replica()
    gateways[0].serve(one)
    gateways[1].serve()
    front = balancer("haproxy", [gateway.port for gateway in gateways])

    def statuses():
        found = []
        for _ in range(8):
            with Client(front.port) as client:
                found.append(client.ask().status)
        return found

    wait_for(lambda: statuses() == [200] * 8, 15, "the check finding out")
    gateways[1].serve(one)
    gateways[0].serve()
    wait_for(lambda: statuses() == [200] * 8, 15, "the check finding out")


@BOTH
def test_an_answer_under_way_outlives_the_end_of_the_balancer(fronted, name):
    front = fronted(name, held(unary(b'{"late": true}')))
    with Client(front.port) as client:
        client.send(request())
        wait_for(lambda: front.replica.asked)
        front.process.send_signal(signal.SIGUSR1 if name == "haproxy" else signal.SIGQUIT)
        wait_for(lambda: not accepts(front.port), 10, "no new connections")
        front.replica.release()
        assert client.reply().json() == {"late": True}
    assert front.process.wait(15) == 0


# TLS.


def certified(folder, names):
    path = folder / f"{names[0]}.pem"
    path.write_bytes(certificate.make(names, time.time()))
    path.chmod(0o600)
    return str(path)


@BOTH
def test_tls_from_the_client_and_tls_to_the_gateways(loop, replica, balancer, tmp_path, name):
    shown, inner = certified(tmp_path, ("localhost",)), certified(tmp_path, ("gateway.test",))
    pair = certificate.Pair(inner, inner)
    pair = msgspec.structs.replace(pair, certificate=tmp_path / "gateway.test.pem", key=tmp_path / "gateway.test.pem")
    made = [Gateway(loop, identity=Identity(lambda: pair, time.time)) for _ in range(2)]
    one = replica(chat_or_stream("a", "b"))
    for gateway in made:
        gateway.serve(one)
    ports = [gateway.port for gateway in made]
    try:
        front = balancer(name, ports, certificate=shown, ca=inner, name="gateway.test")
        context = ssl.create_default_context(cafile=shown)
        with httpx.Client(verify=context, base_url=f"https://localhost:{front.port}") as client:
            headers = {"Authorization": f"Bearer {KEY}"}
            assert [client.post(CHAT, json=ASK, headers=headers).status_code for _ in range(6)] == [200] * 6
            assert client.post(CHAT, json={**ASK, "stream": True}, headers=headers).text.endswith("[DONE]\n\n")
        for version in ("-tls1_1", "-tls1"):
            argv = ["openssl", "s_client", "-connect", f"127.0.0.1:{front.port}", version, "-cipher", "ALL:@SECLEVEL=0"]
            ended = subprocess.run(argv, input="", capture_output=True, text=True, timeout=20, check=False)
            assert ended.returncode != 0
        other = balancer(name, ports, ca=inner, name="other.test")
        with Client(other.port) as client:
            assert client.ask().status in {502, 503}, "a gateway whose certificate has another name is not trusted"
        stranger = balancer(name, ports, ca=shown, name="gateway.test")
        with Client(stranger.port) as client:
            assert client.ask().status in {502, 503}, "a certificate that nobody vouches for is not trusted"
    finally:
        for gateway in made:
            gateway.close()
    assert len(one.asked) == 7


# The text.


@BOTH
@pytest.mark.parametrize("tls", ["none", "clients", "both"])
@pytest.mark.parametrize("hosts", [TWO, [Endpoint("fd00::1", 1), Endpoint("gw-1.internal", 65535), TWO[0]]])
def test_the_balancer_itself_finds_the_configuration_sound(tmp_path, name, tls, hosts):
    files = {"certificate": certified(tmp_path, ("localhost",))} if tls != "none" else {}
    files |= {"ca": files["certificate"], "name": "gateway.test"} if tls == "both" else {}
    hosts = [msgspec.structs.replace(one, host="localhost" if "internal" in one.host else one.host) for one in hosts]
    file = configured(name, tmp_path, hosts, Front(listen=f"127.0.0.1:{free_port()}", **files), Options())
    ended = subprocess.run(argv(name, file, check=True), capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "warn" not in (ended.stdout + ended.stderr).lower()


@BOTH
def test_the_figures_follow_the_spec(name):
    options = Options(body_megabytes=9, routing=Routing(timeout=120.0))
    text = WRITERS[name](TWO, Front(), options)
    assert "10.0.0.1:8080" in text and "10.0.0.2:8080" in text
    assert "130s" in text, "a balancer waits longer than the gateway does"
    assert ("9m" if name == "nginx" else str(9 << 20)) in text
    assert text == WRITERS[name](TWO, Front(), options)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("10.0.0.1:8080", Endpoint("10.0.0.1", 8080)),
        ("[fd00::1]:80", Endpoint("fd00::1", 80)),
        ("gw-1.internal:1", Endpoint("gw-1.internal", 1)),
    ],
)
def test_a_host_and_a_port_are_read(text, found):
    assert endpoint(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10.0.0.1",
        ":80",
        "a:b",
        "a:",
        "a:0",
        "a:65536",
        "a:٣",
        "fd00::1:80",
        "[::1%lo]:80",
        "a b:80",
        "a;b:80",
        "a\nserver x:80",
        "-a:80",
        "a{}:80",
        "http://a:80",
    ],
)
def test_what_is_no_host_and_port_is_refused(text):
    with pytest.raises(SpecError):
        endpoint(text)


@BOTH
@pytest.mark.parametrize(
    ("hosts", "front", "says"),
    [
        ([], Front(), "there is no gateway"),
        ([TWO[0], TWO[0]], Front(), "named twice"),
        ([Endpoint("a;}", 1)], Front(), "neither a name nor an address"),
        (TWO, Front(certificate="/a b"), "cannot stand in a configuration"),
        (TWO, Front(certificate="/a;\n"), "cannot stand in a configuration"),
        (TWO, Front(listen="x"), "is not HOST:PORT"),
        (TWO, Front(key="/k"), "key"),
        (TWO, Front(ca="/ca"), "must have one name"),
        ([TWO[0]], Front(ca="/ca"), "must have one name"),
        (TWO, Front(ca="/ca", name="a b"), "is no name"),
        (TWO, Front(name="a"), "of use with TLS"),
    ],
)
def test_what_cannot_be_meant_is_refused(name, hosts, front, says):
    with pytest.raises(SpecError, match=says):
        WRITERS[name](hosts, front, Options())


def test_haproxy_cannot_be_given_a_key_in_another_file():
    with pytest.raises(SpecError, match="reads the key from the file of the certificate"):
        WRITERS["haproxy"](TWO, Front(certificate="/a.pem", key="/b.pem"), Options())
    assert "crt /a.pem" in WRITERS["haproxy"](TWO, Front(certificate="/a.pem", key="/a.pem.key"), Options())
