"""TLS on the data port: what is spoken, what is refused, whose certificate, and that a new one is taken up."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import subprocess
import sys
import time
from contextlib import contextmanager

import httpx
import msgspec
import openai
import pytest
from gateway_paper import chat_or_stream, held, unary
from gateway_rig import AUTHORIZED, KEY, MODEL, Client, Gateway, key_file, request, wait_for

from guideway.core.errors import SpecError
from guideway.core.route import GatewaySettings
from guideway.core.spec.gateway import Gateway as Options
from guideway.core.spec.gateway import Tls
from guideway.gateway import certificate, server
from guideway.gateway.certificate import Pair
from guideway.gateway.exposure import identity_of, rooted, trust, url, warning
from guideway.gateway.tls import RENEWAL_SECONDS, Identity

DAY = 86400.0
LOCAL = ("localhost", "127.0.0.1", "::1")
ASK = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}


def written(folder, names=LOCAL, now=None, name="server"):
    """A certificate and a key in two files, as people have them."""
    text = certificate.make(names, time.time() if now is None else now)
    middle = text.index(b"-----BEGIN CERTIFICATE")
    pair = Pair(folder / f"{name}.crt", folder / f"{name}.key")
    pair.certificate.write_bytes(text[middle:])
    pair.key.write_bytes(text[:middle])
    pair.key.chmod(0o600)
    return pair


class Clock:
    """The time, and what a test adds to it."""

    skew = 0.0

    def __call__(self):
        return time.time() + self.skew


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def pair(tmp_path):
    return written(tmp_path)


@pytest.fixture
def secure(loop, pair, clock):
    """A gateway that speaks TLS."""
    identity = Identity(lambda: pair, clock)
    made = Gateway(loop, identity=identity)
    made.identity, made.pair = identity, pair
    yield made
    made.close()


def trusting(pair):
    return ssl.create_default_context(cafile=str(pair.certificate))


class SecureClient(Client):
    """The unforgiving client, over TLS."""

    def __init__(self, port, context, name="localhost"):
        super().__init__(port)
        self.socket = context.wrap_socket(self.socket, server_hostname=name)


def presented(port):
    """The certificate that the port shows, as PEM without line ends."""
    return ssl.get_server_certificate(("127.0.0.1", port)).encode().split()


def looked(secure):
    """What the port shows after a look, which the tick of the worker may have taken before."""
    secure.loop.call(secure.identity.look)
    return presented(secure.port)


# What is spoken.


@pytest.mark.parametrize("name", LOCAL)
def test_requests_go_over_tls_to_a_name_that_is_in_the_certificate(secure, replica, name):
    secure.serve(replica(chat_or_stream("a", "b")))
    with SecureClient(secure.port, trusting(secure.pair), name) as client:
        assert client.socket.version() == "TLSv1.3"
        assert [client.ask().status for _ in range(3)] == [200] * 3
        reply = client.ask(body={**ASK, "stream": True})
        assert reply.body.endswith(b"[DONE]\n\n")


def test_a_name_that_is_not_in_the_certificate_is_refused_by_the_client(secure):
    with pytest.raises(ssl.SSLCertVerificationError):
        SecureClient(secure.port, trusting(secure.pair), "example.com")


def test_tls_1_2_is_spoken_with_forward_secrecy_only(secure):
    context = trusting(secure.pair)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with SecureClient(secure.port, context) as client:
        name, version, _ = client.socket.cipher()
        assert version == "TLSv1.2"
        assert name.startswith("ECDHE-") and ("GCM" in name or "CHACHA20" in name)
        assert client.socket.compression() is None


@pytest.mark.parametrize("version", ["-tls1_1", "-tls1"])
def test_older_versions_are_refused(secure, version):
    argv = ["openssl", "s_client", "-connect", f"127.0.0.1:{secure.port}", version, "-cipher", "ALL:@SECLEVEL=0"]
    ended = subprocess.run(argv, input="", capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode != 0
    assert "Cipher is (NONE)" in ended.stdout
    argv[4:] = ["-tls1_2"]
    ended = subprocess.run(argv, input="", capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode == 0, "the same question with TLS 1.2 is answered"


@pytest.mark.parametrize("cipher", ["AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA", "NULL-SHA256", "aNULL"])
def test_ciphers_without_forward_secrecy_or_authentication_are_refused(secure, cipher):
    context = trusting(secure.pair)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(f"{cipher}:@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        SecureClient(secure.port, context)


def test_the_protocol_agreed_on_is_http_1_1(secure):
    context = trusting(secure.pair)
    context.set_alpn_protocols(["h2", "http/1.1"])
    with SecureClient(secure.port, context) as client:
        assert client.socket.selected_alpn_protocol() == "http/1.1"


def test_plain_http_gets_no_answer_on_a_port_with_tls(secure, replica):
    one = replica()
    secure.serve(one)
    with Client(secure.port) as client:
        client.send(request())
        assert b"HTTP/" not in client.ends()
    assert one.asked == []


def test_a_client_that_does_not_shake_hands_is_sent_away(loop, pair, clock, monkeypatch):
    monkeypatch.setattr(server, "HANDSHAKE_SECONDS", 0.2)
    made = Gateway(loop, identity=Identity(lambda: pair, clock))
    try:
        with Client(made.port) as silent:
            assert silent.ends() == b""
    finally:
        made.close()


def test_a_refused_body_is_answered_over_tls_too(secure, replica):
    secure.serve(replica())
    with SecureClient(secure.port, trusting(secure.pair)) as client:
        client.send(f"POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\n{AUTHORIZED}Content-Length: 99999999\r\n\r\n")
        client.send(b"x" * 100_000)
        reply = client.reply()
        assert (reply.status, reply.headers["connection"]) == (413, "close")


def test_a_client_that_leaves_over_tls_frees_the_replica(secure, replica):
    one = replica(held(unary()))
    secure.serve(one)
    with SecureClient(secure.port, trusting(secure.pair)) as client:
        client.send(request())
        wait_for(lambda: one.asked)
    wait_for(lambda: one.closed == 1, 1.0)


def test_a_worker_that_leaves_lets_an_answer_over_tls_end(secure, replica):
    one = replica(held(unary(b'{"late":true}')))
    secure.serve(one)
    with (
        SecureClient(secure.port, trusting(secure.pair)) as client,
        SecureClient(secure.port, trusting(secure.pair)) as idle,
    ):
        client.send(request())
        wait_for(lambda: one.asked)
        drained = asyncio.run_coroutine_threadsafe(secure.server.drain(10.0), secure.loop.loop)
        wait_for(lambda: secure.plane.draining)
        one.release()
        reply = client.reply()
        assert (reply.json(), reply.headers["connection"]) == ({"late": True}, "close")
        assert idle.ends() == b""
        assert drained.result(15) == 0


def test_a_slow_reader_over_tls_holds_the_replica_back(secure, replica):
    size = 64 << 20

    async def much(replica, asked, reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size >> 16):
            writer.write(bytes(1 << 16))
            await writer.drain()
            replica.written += 1 << 16

    one = replica(much)
    secure.serve(one)
    with SecureClient(secure.port, trusting(secure.pair)) as client:
        client.send(request())
        status, headers = client.head()
        assert (status, int(headers["content-length"])) == (200, size)
        marks = []

        def stands_still():
            marks.append(one.written)
            return one.written and len(marks) > 20 and len(set(marks[-20:])) == 1

        wait_for(stands_still)
        assert one.written < size
        left = size - len(client.rest)
        while left:
            left -= len(client.socket.recv(1 << 20))


# Clients that people use.


def test_the_openai_client_over_tls(secure, replica):
    secure.serve(replica(chat_or_stream("a", " rose")))
    with (
        httpx.Client(verify=trusting(secure.pair)) as http,
        openai.OpenAI(base_url=f"https://localhost:{secure.port}/v1", api_key=KEY, http_client=http) as client,
    ):
        assert client.chat.completions.create(**ASK).choices[0].message.content == "a rose"
        pieces = [piece.choices[0].delta.content for piece in client.chat.completions.create(**ASK, stream=True)]
        assert pieces == ["a", " rose"]


def test_curl_over_tls_with_the_certificate_and_not_without(secure, replica):
    secure.serve(replica())
    argv = ["curl", "-sS", f"https://localhost:{secure.port}/v1/models", "-H", f"Authorization: Bearer {KEY}"]
    trusted = subprocess.run([*argv, "--cacert", str(secure.pair.certificate)], capture_output=True, check=True)
    assert msgspec.json.decode(trusted.stdout)["data"][0]["id"] == MODEL
    assert subprocess.run(argv, capture_output=True, check=False).returncode == 60


# A new certificate.


def test_a_new_certificate_is_shown_to_new_connections_and_old_ones_live_on(secure, replica, tmp_path):
    secure.serve(replica())
    with SecureClient(secure.port, trusting(secure.pair)) as old:
        assert old.ask().status == 200
        before = presented(secure.port)
        written(tmp_path)
        assert looked(secure) == secure.pair.certificate.read_bytes().split() != before
        assert old.ask().status == 200


def test_the_tick_of_the_worker_takes_up_a_new_certificate(secure, tmp_path):
    before = presented(secure.port)
    written(tmp_path)
    wait_for(lambda: presented(secure.port) != before, 10.0)


def test_a_certificate_that_changes_before_its_key_leaves_the_old_pair_in_force(secure, tmp_path, capfd):
    before, key = presented(secure.port), secure.pair.key.read_bytes()
    written(tmp_path)
    new_key = secure.pair.key.read_bytes()
    secure.pair.key.write_bytes(key)
    assert [looked(secure) for _ in range(3)] == [before] * 3
    secure.pair.key.write_bytes(new_key)
    assert looked(secure) == secure.pair.certificate.read_bytes().split()
    said = capfd.readouterr().err
    assert said.count("the key does not belong to the certificate") == 1, "a complaint is said once"
    assert "PRIVATE" not in said


@pytest.mark.parametrize("harm", [lambda path: path.unlink(), lambda path: path.write_text("half a fi")])
def test_files_that_vanish_or_break_leave_the_old_pair_in_force(secure, harm):
    before = presented(secure.port)
    harm(secure.pair.certificate)
    assert looked(secure) == before


def test_an_expired_certificate_is_not_taken_up(secure, tmp_path):
    before = presented(secure.port)
    written(tmp_path, now=time.time() - 200 * DAY)
    assert looked(secure) == before


def rsa(pair, bits):
    argv = ["openssl", "req", "-x509", "-newkey", f"rsa:{bits}", "-nodes", "-days", "9", "-subj", "/CN=localhost"]
    argv += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(pair.key), "-out", str(pair.certificate)]
    subprocess.run(argv, check=True, capture_output=True)
    pair.key.chmod(0o600)


def test_a_key_of_another_kind_replaces_the_old_one_for_every_client(secure):
    rsa(secure.pair, 2048)
    wait_for(lambda: looked(secure) == secure.pair.certificate.read_bytes().split())
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = trusting(secure.pair)
        context.minimum_version = context.maximum_version = version
        with SecureClient(secure.port, context) as client:
            assert client.ask("GET", "/healthz").status == 503


# Pairs that cannot be used.


def broken(change):
    """What is said about a pair after *change*."""

    def of(folder):
        pair = written(folder)
        return change(pair, folder) or pair

    return of


def _other_key(pair, folder):
    return Pair(pair.certificate, written(folder, name="other").key)


def _encrypted(pair, folder):
    argv = ["openssl", "pkcs8", "-topk8", "-in", str(pair.key), "-out", str(folder / "e.key"), "-passout", "pass:abcd"]
    subprocess.run(argv, check=True, capture_output=True)
    return Pair(pair.certificate, folder / "e.key")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda pair, folder: pair.certificate.unlink(), r"server\.crt: the certificate cannot be read: no such file"),
        (lambda pair, folder: pair.key.unlink(), r"server\.key: the key cannot be read: no such file"),
        (lambda pair, folder: Pair(folder, pair.key), "the certificate cannot be read: is a directory"),
        (lambda pair, folder: pair.key.chmod(0o644), r"open to other users \(chmod 600 .*server\.key\)"),
        (lambda pair, folder: pair.key.chmod(0o660), "open to other users"),
        (lambda pair, folder: pair.key.write_text("x") and None, "there is no private key in PEM form"),
        (lambda pair, folder: pair.certificate.write_text("x") and None, "there is no certificate in PEM form"),
        (lambda pair, folder: Pair(pair.key, pair.key), "there is no certificate in PEM form"),
        (
            lambda pair, folder: Pair(pair.certificate, pair.certificate),
            r"server\.crt: there is a certificate without its key \(set gateway\.tls\.key",
        ),
        (_other_key, "the key does not belong to the certificate"),
        (_encrypted, "the private key is encrypted"),
        (lambda pair, folder: written(folder, now=time.time() - 91 * DAY), r"expired on 20\d\d-\d\d-\d\d \(renew it\)"),
        (lambda pair, folder: written(folder, now=time.time() + 9 * DAY), "not valid before 20"),
    ],
)
def test_a_pair_that_cannot_be_used_is_one_clear_line(tmp_path, change, says):
    pair = broken(change)(tmp_path)
    with pytest.raises(SpecError, match=says) as caught:
        Identity(lambda: pair, time.time)
    assert "PRIVATE" not in str(caught.value)


def test_a_key_that_the_group_may_read_is_accepted_as_debian_does_it(tmp_path):
    pair = written(tmp_path)
    pair.key.chmod(0o640)
    assert Identity(lambda: pair, time.time).expires > time.time()


def test_a_weak_key_is_refused(tmp_path):
    pair = Pair(tmp_path / "w.crt", tmp_path / "w.key")
    rsa(pair, 1024)
    with pytest.raises(SpecError, match="OpenSSL refuses the certificate: EE_KEY_TOO_SMALL"):
        Identity(lambda: pair, time.time)


def test_what_is_loaded_does_not_show_its_key(pair):
    assert "PRIVATE" not in repr(certificate.load(pair, time.time()))


# The certificate for development.


def mode(path):
    return path.stat().st_mode & 0o777


def test_a_certificate_for_development_is_made_once_and_only_its_owner_can_read_the_key(tmp_path):
    folder, now = tmp_path / "env" / "tls", time.time()
    pair = certificate.development(folder, LOCAL, now)
    assert (mode(folder), mode(pair.key), mode(folder / "certificate.pem")) == (0o700, 0o600, 0o644)
    assert b"PRIVATE" not in (folder / "certificate.pem").read_bytes()
    found = certificate.load(pair, now)
    assert set(found.names) == set(LOCAL)
    assert 89.9 * DAY < found.expires - now <= 90 * DAY
    before = pair.key.read_bytes()
    assert certificate.development(folder, LOCAL, now + 82 * DAY) == pair
    assert pair.key.read_bytes() == before


@pytest.mark.parametrize(
    ("names", "days", "harm"),
    [
        (LOCAL, 83.5, lambda folder: None),
        ((*LOCAL, "gateway.test"), 0, lambda folder: None),
        (LOCAL, 0, lambda folder: (folder / "server.pem").write_text("half")),
        (LOCAL, 0, lambda folder: (folder / "server.pem").chmod(0o644)),
    ],
)
def test_it_is_made_anew_when_it_ends_within_a_week_or_does_not_fit(tmp_path, names, days, harm):
    now = time.time()
    before = certificate.load(certificate.development(tmp_path, LOCAL, now), now)
    harm(tmp_path)
    later = now + days * DAY
    after = certificate.load(certificate.development(tmp_path, names, later), later)
    assert after.fingerprint != before.fingerprint
    assert after.expires >= later + 89 * DAY
    assert (tmp_path / "certificate.pem").read_bytes() in (tmp_path / "server.pem").read_bytes()


def test_a_crash_between_the_two_files_is_mended(tmp_path):
    now = time.time()
    certificate.development(tmp_path, LOCAL, now)
    (tmp_path / "certificate.pem").write_text("of the one before")
    certificate.development(tmp_path, LOCAL, now)
    assert (tmp_path / "certificate.pem").read_bytes() in (tmp_path / "server.pem").read_bytes()


def test_a_running_worker_renews_it_in_time(tmp_path, clock):
    identity = Identity(lambda: certificate.development(tmp_path, LOCAL, clock()), clock)
    first = identity.expires
    clock.skew = RENEWAL_SECONDS
    assert not identity.look()
    clock.skew = 84 * DAY
    assert identity.look()
    assert identity.expires > first


@contextmanager
def process(folder, tls, host="127.0.0.1"):
    settings = GatewaySettings(host, 0, 1, str(folder / "r"), str(folder / "k"), Options(tls=tls), "dev", str(folder))
    path = folder / "gateway.json"
    path.write_bytes(msgspec.json.encode(settings))
    (folder / "k").write_bytes(key_file())
    with (folder / "log").open("wb") as log:
        running = subprocess.Popen([sys.executable, "-m", "guideway.gateway", "--settings", str(path)], stderr=log)
    try:
        yield running, path.with_name("gateway.json.state")
    finally:
        running.terminate()
        running.wait(20)


def test_a_gateway_of_processes_makes_its_certificate_and_serves(tmp_path):
    with process(tmp_path, Tls(development=True)) as (_, state):
        wait_for(state.exists, 30)
        port = msgspec.json.decode(state.read_bytes())["port"]
        context = ssl.create_default_context(cafile=str(tmp_path / "tls" / "certificate.pem"))
        for name in (*LOCAL, socket.gethostname()):
            with SecureClient(port, context, name) as client:
                assert client.ask("GET", "/v1/models").status == 200


def test_a_gateway_with_a_bad_certificate_is_one_line_and_exit_code_2(tmp_path):
    pair = written(tmp_path)
    pair.key.chmod(0o604)
    with process(tmp_path, Tls(certificate=str(pair.certificate), key=str(pair.key))) as (running, _):
        assert running.wait(30) == 2
    (line,) = (tmp_path / "log").read_text().splitlines()
    assert "open to other users" in line


# What the spec says.


def settings(tls, folder="/nowhere"):
    return GatewaySettings("127.0.0.1", 0, 1, "r", "k", Options(tls=tls), folder=str(folder))


def test_plain_http_needs_no_identity_and_no_library_for_it():
    assert identity_of(settings(Tls())) is None
    code = "import sys, guideway.gateway.worker; sys.exit('cryptography' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=os.environ, check=False).returncode == 0


@pytest.mark.parametrize(
    ("tls", "says"),
    [
        (Tls(certificate="a", development=True), "asks for a certificate of ours and names one of yours"),
        (Tls(key="a"), "names a key without a certificate"),
    ],
)
def test_keys_that_contradict_each_other_are_refused(tls, says):
    with pytest.raises(SpecError, match=says):
        identity_of(settings(tls))


def test_one_file_may_hold_both(tmp_path):
    path = tmp_path / "both.pem"
    path.write_bytes(certificate.make(LOCAL, time.time()))
    path.chmod(0o600)
    assert identity_of(settings(Tls(certificate=str(path)))) is not None


def test_relative_files_start_at_the_folder_of_the_spec(tmp_path):
    made = rooted(Options(tls=Tls(certificate="tls/a.pem", key="/etc/b.pem")), tmp_path)
    assert (made.tls.certificate, made.tls.key) == (str(tmp_path / "tls" / "a.pem"), "/etc/b.pem")
    assert rooted(Options(), tmp_path) == Options()
    assert rooted(Options(corrections="fixes.jsonl"), tmp_path).corrections == str(tmp_path / "fixes.jsonl")


@pytest.mark.parametrize(
    ("options", "warned"),
    [
        (Options(), False),
        (Options(host="::1"), False),
        (Options(host="localhost"), False),
        (Options(host="0.0.0.0"), True),
        (Options(host="::"), True),
        (Options(host="10.0.0.7"), True),
        (Options(host="gateway.test"), True),
        (Options(host="0.0.0.0", tls=Tls(development=True)), False),
        (Options(host="0.0.0.0", tls=Tls(certificate="a", key="b")), False),
    ],
)
def test_an_address_for_others_without_tls_is_warned_of(options, warned):
    said = warning(options)
    assert (said is not None) is warned
    assert not said or (options.host in said and "in clear" in said)


def test_the_url_says_what_a_client_must_type():
    assert url("127.0.0.1", 80, Tls()) == "http://127.0.0.1:80/v1"
    assert url("0.0.0.0", 80, Tls(development=True)) == "https://127.0.0.1:80/v1"
    assert url("::", 80, Tls(certificate="a")) == "https://[::1]:80/v1"


def test_the_lines_of_trust_name_the_file(tmp_path):
    assert all(str(tmp_path) in line for line in trust(tmp_path))
