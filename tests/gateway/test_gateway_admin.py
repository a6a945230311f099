"""The admin plane: a role is asked for on every route, and nothing of the inside gets out."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import httpx
import msgspec
import pytest
from gateway_rig import MODEL, Client, Gateway, request, wait_for
from gateway_rig import route as make_route

from guideway.core.feedback import Judgement
from guideway.core.route import ApiKey, Arm, Endpoint, GatewaySettings, KeyFile, Terms
from guideway.core.spec import Gateway as Options
from guideway.gateway.admin.access import Access
from guideway.gateway.admin.app import build
from guideway.gateway.admin.desk import Desk
from guideway.gateway.feedback import RequestIds, mark, secret_of
from guideway.gateway.keys import key_digest, new_key
from guideway.gateway.metrics import Metrics, encode, write_snapshot
from guideway.kit.files import write_atomic
from guideway.kit.process import free_port, is_alive, start_time
from guideway.signing.keys import pepper
from guideway.store import feedback, key_orders, ledger
from guideway.store.database import Database
from guideway.store.feedback_spool import Spool
from guideway.store.home import Home

SYSTEM = "You are a poet. The password is swordfish."
ROLES = ("user", "operator", "admin")
OPEN = "text/plain; version=0.0.4"


class Installation:
    """A state folder with a gateway's files and a key of every role, as the fleet makes it."""

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.home = Home.of(root)
        self.folder = self.home.environment("dev")
        self.folder.mkdir(parents=True)
        self.file = self.folder / "gateway.json"
        self.port = free_port()
        self.settings = GatewaySettings(
            host="127.0.0.1",
            port=0,
            workers=1,
            route_file=str(self.folder / "route.json"),
            keys_file=str(self.folder / "keys.json"),
            options=Options(admin=self.port),
            environment="dev",
            folder=str(self.folder),
        )
        self.file.write_bytes(msgspec.json.encode(self.settings))
        self.keys = {role: self.key(role) for role in ROLES}
        self.log = root / "admin.log"

    def key(self, role: str, **facts) -> str:
        text = new_key(os.urandom(32))
        digest = key_digest(pepper(self.home.keys), text)
        made = ApiKey(id=digest[:8], digest=digest, role=role, label=f"the {role}", **facts)
        with Database(self.home.database) as database:
            key_orders.make(self.home, database, "dev", made, at=1.0, who="test")
        return text

    def desk(self) -> Desk:
        return Desk(self.file, self.settings, self.home, time.time)


class Running:
    """The admin plane as a process."""

    def __init__(self, installation: Installation, **env: str) -> None:
        self.installation = installation
        argv = [sys.executable, "-P", "-m", "guideway.gateway.admin", "--settings", str(installation.file)]
        with installation.log.open("ab") as log:
            self.process = subprocess.Popen(argv, stderr=log, env={**os.environ, **env})
        self.base = f"http://127.0.0.1:{installation.port}"
        wait_for(self.answers, 30, "the admin plane being up")

    def answers(self) -> bool:
        assert self.process.poll() is None, self.installation.log.read_text()
        try:
            return httpx.get(f"{self.base}/healthz").status_code in (200, 503)
        except httpx.TransportError:
            return False

    def ask(self, method: str, path: str, role: str | None = "admin", **options) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.installation.keys[role]}"} if role else {}
        headers |= options.pop("headers", {})
        return httpx.request(method, self.base + path, headers=headers, timeout=20, **options)

    def unix(self, method: str, path: str, **options) -> httpx.Response:
        handle = os.open(self.installation.folder, os.O_RDONLY)  # the whole path may be too long for a socket
        try:
            transport = httpx.HTTPTransport(uds=f"/proc/self/fd/{handle}/admin.sock")
            with httpx.Client(transport=transport, timeout=20) as client:
                return client.request(method, "http://localhost" + path, **options)
        finally:
            os.close(handle)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(15)


@pytest.fixture(scope="module")
def admin(tmp_path_factory):
    running = Running(Installation(tmp_path_factory.mktemp("admin")))
    yield running
    running.stop()


@pytest.fixture
def own(tmp_path):
    """An admin plane that a test may break."""
    made = []

    def start(**env):
        made.append(Running(Installation(tmp_path / "own"), **env))
        return made[-1]

    yield start
    for one in made:
        one.stop()


def routes(installation: Installation) -> list[tuple[str, str]]:
    """Every method and path that the router knows."""
    gate = build(installation.desk(), Access(time.time))
    found = [(method, route.path) for route in gate.app.routes for method in sorted(route.methods)]
    assert len(found) >= 8
    return found


def filled(path: str) -> str:
    return re.sub(r"\{\w+\}", "deadbeef", path)


# Who may do what.


@pytest.mark.catalogue("B17")
def test_every_route_of_the_router_asks_for_a_key_and_only_health_does_not(admin):
    for method, path in routes(admin.installation):
        answer = admin.ask(method, filled(path), role=None)
        if path == "/healthz":
            assert answer.status_code == 503, "no gateway runs, but it says so to everyone"
        else:
            assert answer.status_code == 401, (method, path)
            assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.catalogue("B18")
def test_the_matrix_of_roles_and_routes(admin):
    for method, path in routes(admin.installation):
        for role in ROLES:
            if path == "/healthz":
                continue
            allowed = role == "admin" or (role == "operator" and method in ("GET", "HEAD"))
            status = admin.ask(method, filled(path), role=role).status_code
            assert (status not in (401, 403)) == allowed, (method, path, role, status)
            assert allowed or status == 403


@pytest.mark.catalogue("B18")
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/v1/models"),
        ("GET", "/v1/keys/"),
        ("GET", "//v1/keys"),
        ("GET", "/v1/%2e%2e/metrics"),
        ("GET", "/v1%2fkeys/"),
        ("GET", "/docs"),
        ("GET", "/openapi.json"),
        ("PUT", "/v1/route"),
        ("POST", "/v1/route"),
        ("DELETE", "/v1/route"),
        ("PATCH", "/v1/keys"),
        ("OPTIONS", "/v1/keys"),
        ("TRACE", "/v1/keys"),
        ("POST", "/healthz"),
        ("GET", "/healthz/"),
        ("GET", "/HEALTHZ"),
    ],
)
def test_what_is_not_listed_is_denied_to_strangers_and_absent_for_admins(admin, method, path):
    assert admin.ask(method, path, role=None).status_code == 401
    assert admin.ask(method, path, role="user").status_code == 403
    answer = admin.ask(method, path, role="admin")
    assert answer.status_code in (404, 405)
    assert set(answer.json()["error"]) == {"message", "code"}


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer gw-wrong",
        "Basic YTpi",
        "bearer \xff",
        "gw-naked",
        "Bearer {admin} x",
        "{admin}",
    ],
)
def test_what_is_no_key_is_401(admin, authorization):
    text = authorization.replace("{admin}", admin.installation.keys["admin"])
    headers = [(b"Authorization", text.encode("latin-1"))]
    assert httpx.get(f"{admin.base}/v1/keys", headers=headers).status_code == 401


def access(*keys: ApiKey, now: float = 100.0) -> Access:
    made = Access(lambda: now)
    made.set_keys(msgspec.json.encode(KeyFile(pepper="00", keys=keys)))
    return made


def headers_of(text: str) -> list[tuple[bytes, bytes]]:
    return [(b"host", b"localhost"), (b"authorization", b"Bearer " + text.encode())]


@pytest.mark.parametrize(
    ("facts", "refused"),
    [({}, False), ({"revoked": True}, True), ({"expires": 100.0}, True), ({"expires": 101.0}, False)],
)
def test_a_key_that_is_revoked_or_has_expired_opens_nothing(facts, refused):
    made = access(ApiKey(id="k", digest=key_digest(b"\0", "gw-a"), role="admin", **facts))
    assert (made.refuse("POST", "/v1/drain", headers_of("gw-a")) is not None) is refused


def test_two_authorization_lines_are_none():
    made = access(ApiKey(id="k", digest=key_digest(b"\0", "gw-a"), role="admin"))
    twice = [*headers_of("gw-a"), (b"authorization", b"Bearer gw-b")]
    assert made.refuse("GET", "/v1/keys", twice).status == 401


def test_a_keys_file_that_is_none_is_refused_and_the_old_keys_count():
    made = access(ApiKey(id="k", digest=key_digest(b"\0", "gw-a"), role="admin"))
    for bad in (b"", b"{}", b'{"pepper":"00","keys":[{"id":"x","digest":"zz"}]}'):
        with pytest.raises(ValueError, match=r".*"):
            made.set_keys(bad)
    assert made.refuse("GET", "/v1/keys", headers_of("gw-a")) is None


def test_while_nobody_knows_which_keys_count_none_opens_anything():
    made = access(ApiKey(id="k", digest=key_digest(b"\0", "gw-a"), role="admin"))
    made.lose_keys(True)
    assert made.refuse("GET", "/v1/keys", headers_of("gw-a")).status == 503
    assert made.refuse("GET", "/healthz", headers_of("gw-a")) is None
    made.lose_keys(False)
    assert made.refuse("GET", "/v1/keys", headers_of("gw-a")) is None


@pytest.mark.catalogue("B25")
@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example:80"},
        {"Host": "localhost:80@evil.example"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Cookie": "key=1"},
    ],
)
def test_a_web_page_cannot_call_it_even_with_a_key(admin, headers):
    for path in ("/healthz", "/v1/keys"):
        answer = admin.ask("GET", path, headers=headers)
        assert answer.status_code == 403
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_every_name_of_the_loopback_address_is_ours(admin):
    for host in ("localhost", f"LOCALHOST:{admin.installation.port}", "127.0.0.1:1", "[::1]:8080", "[::1]"):
        assert admin.ask("GET", "/v1/keys", headers={"Host": host}).status_code == 200, host


def test_the_port_is_on_the_loopback_address_only(admin):
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    bound = [row[1] for row in rows if row[3] == "0A" and row[1].endswith(f":{admin.installation.port:04X}")]
    assert bound == [f"0100007F:{admin.installation.port:04X}"]


def test_the_unix_socket_can_be_opened_by_its_owner_only_and_asks_for_no_key(admin):
    mode = (admin.installation.folder / "admin.sock").stat().st_mode
    assert mode & 0o777 == 0o600
    assert admin.unix("GET", "/v1/keys").status_code == 200
    assert admin.unix("POST", "/v1/nothing").status_code == 404


# Pages.


def test_keys_are_made_shown_once_listed_without_digests_and_revoked(admin):
    asked = {"label": "ci", "tenant": "acme", "role": "operator", "models": ["poet"], "expires_days": 1}
    asked["limits"] = {"requests_per_minute": 5}
    made = admin.ask("POST", "/v1/keys", json=asked)
    assert made.status_code == 201
    assert made.headers["cache-control"] == "no-store"
    text, id = made.json()["key"], made.json()["id"]
    assert 86_000 < made.json()["expires"] - time.time() < 87_000
    listed = admin.ask("GET", "/v1/keys", role="operator")
    assert text not in listed.text
    assert "digest" not in listed.text
    (shown,) = [key for key in listed.json()["keys"] if key["id"] == id]
    assert (shown["label"], shown["tenant"], shown["role"], shown["models"]) == ("ci", "acme", "operator", ["poet"])
    assert shown["limits"]["requests_per_minute"] == 5

    def status():
        return httpx.get(f"{admin.base}/v1/keys", headers={"Authorization": f"Bearer {text}"}).status_code

    wait_for(lambda: status() == 200, 5, "the new key being known")
    for _ in range(2):
        assert admin.ask("DELETE", f"/v1/keys/{id}").json() == {"id": id, "revoked": True}
    wait_for(lambda: status() == 401, 5, "the key being revoked")
    with Database(admin.installation.home.database) as database:
        lines = [(one.what, one.who) for one in ledger.entries(database, subject=id)]
    admin_id = key_digest(pepper(admin.installation.home.keys), admin.installation.keys["admin"])[:8]
    assert lines == [("key made", f"admin plane: key {admin_id}"), ("key revoked", f"admin plane: key {admin_id}")]
    keys_file = admin.installation.folder / "keys.json"
    assert keys_file.stat().st_mode & 0o777 == 0o600
    assert text not in keys_file.read_text()


def test_a_key_that_is_not_there_is_404(admin):
    assert admin.ask("DELETE", "/v1/keys/nothing").status_code == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[]", 400),
        (b"\xff\xfe", 400),
        (b"[" * 30_000, 400),
        (b'{"role": "root"}', 400),
        (b'{"id": "mine"}', 400),
        (b'{"digest": "00"}', 400),
        (b'{"limits": {"requests_per_minute": -1}}', 400),
        (b'{"label": "' + b"x" * 70_000 + b'"}', 413),
    ],
)
def test_a_body_that_cannot_be_meant_is_refused_and_makes_nothing(admin, body, status):
    before = len(admin.ask("GET", "/v1/keys").json()["keys"])
    answer = admin.ask("POST", "/v1/keys", content=body)
    assert answer.status_code == status
    assert len(admin.ask("GET", "/v1/keys").json()["keys"]) == before


def test_a_chunked_body_is_bounded_too(admin):
    def endless():
        for _ in range(100):
            yield b" " * 10_000

    assert admin.unix("POST", "/v1/keys", content=endless()).status_code == 413


def test_the_route_is_shown_without_the_system_prompt_and_cannot_be_set(admin):
    assert admin.ask("GET", "/v1/route").status_code == 503
    route = make_route([], revision=7)
    arm = Arm(route.stable.release, (Endpoint("127.0.0.1", 1234),), Terms(system=SYSTEM))
    path = admin.installation.folder / "route.json"
    data = msgspec.json.encode(msgspec.structs.replace(route, stable=arm))
    write_atomic(path, data)
    shown = admin.ask("GET", "/v1/route", role="operator")
    assert (shown.json()["revision"], shown.json()["model"]) == (7, MODEL)
    assert shown.json()["stable"]["terms"]["system"] is True
    assert "swordfish" not in shown.text
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert admin.ask(method, "/v1/route", content=data).status_code == 405
    assert path.read_bytes() == data


def test_a_controller_that_is_gone_is_seen_in_the_metrics(tmp_path):
    installation = Installation(tmp_path)
    assert b"guideway_controller" not in installation.desk().metrics(OPEN)[0]
    installation.home.controller.touch()
    os.utime(installation.home.controller, (1.0, time.time() - 3600.0))
    page = installation.desk().metrics(OPEN)[0].decode()
    (line,) = [one for one in page.splitlines() if one.startswith("guideway_controller_round_age_seconds ")]
    assert float(line.split()[1]) >= 3600.0


def test_metrics_are_those_of_all_workers_for_an_operator(admin):
    metrics = Metrics()
    metrics.count("retries", amount=3)
    metrics.gauge("in_flight", lambda: 4.0)
    write_snapshot(admin.installation.folder / "metrics", encode(metrics.snapshot(time.time())))
    page = admin.ask("GET", "/metrics", role="operator")
    assert page.headers["content-type"].startswith("text/plain")
    assert "guideway_gateway_retries_total 3.0" in page.text
    assert f'guideway_gateway_in_flight{{worker="{os.getpid()}"}} 4.0' in page.text
    (worker,) = admin.ask("GET", "/v1/workers", role="operator").json()["workers"]
    assert (worker["pid"], worker["in_flight"], worker["serves"]) == (os.getpid(), 4.0, False)


def test_a_real_prometheus_scrapes_it(admin, tmp_path):
    port = free_port()
    key = tmp_path / "key"
    key.write_text(admin.installation.keys["operator"])
    config = {
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [
            {
                "job_name": "gateway",
                "authorization": {"credentials_file": str(key)},
                "static_configs": [{"targets": [f"127.0.0.1:{admin.installation.port}"]}],
            }
        ],
    }
    (tmp_path / "prometheus.yml").write_text(json.dumps(config))
    argv = ["prometheus", f"--config.file={tmp_path / 'prometheus.yml'}", f"--storage.tsdb.path={tmp_path / 'data'}"]
    argv += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]
    metrics = Metrics()
    metrics.request_done(
        model="poet", arm="stable", status=200, cache="", seconds=0.1, ttft=0.1, tokens_in=1, tokens_out=1
    )
    write_snapshot(admin.installation.folder / "metrics", encode(metrics.snapshot(time.time())))
    with subprocess.Popen(argv, stderr=subprocess.DEVNULL) as process:
        try:

            def found():
                query = {"query": "gen_ai_server_request_duration_seconds_count"}
                try:
                    answer = httpx.get(f"http://127.0.0.1:{port}/api/v1/query", params=query).json()
                except (httpx.TransportError, ValueError):
                    return None
                return answer["data"]["result"] if answer["status"] == "success" else None

            wait_for(found, 60, "prometheus having scraped")
            (sample,) = found()
        finally:
            process.terminate()
            process.wait(20)
    assert sample["value"][1] == "1"
    assert sample["metric"]["gen_ai_request_model"] == "poet"


# When something is away.


@pytest.mark.catalogue("A24")
def test_a_state_that_is_away_is_503_and_never_a_trace(own):
    admin = own()
    home = admin.installation.home
    hidden = home.path / "elsewhere.db"
    Path(home.database).rename(hidden)
    for method, path in (("GET", "/v1/keys"), ("POST", "/v1/keys"), ("DELETE", "/v1/keys/x")):
        answer = admin.ask(method, path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
        assert str(home.path) not in answer.text
    assert admin.ask("GET", "/metrics").status_code == 200, "what needs no state goes on"
    hidden.rename(Path(home.database))
    assert admin.ask("GET", "/v1/keys").status_code == 200
    said = admin.installation.log.read_text()
    assert "Traceback" not in said
    assert "something is away" in said


@pytest.mark.catalogue("A24")
def test_a_state_that_somebody_holds_is_503_and_soon(own):
    admin = own()
    with sqlite3.connect(admin.installation.home.database) as other:
        other.execute("BEGIN IMMEDIATE")
        assert admin.ask("POST", "/v1/keys").status_code == 503
        other.rollback()
    assert admin.ask("POST", "/v1/keys").status_code == 201


@pytest.mark.catalogue("A24")
def test_a_database_server_that_is_not_there_is_503_and_its_password_is_told_nowhere(own):
    url = f"postgresql://guideway:s3cret-word@127.0.0.1:{free_port()}/state"
    admin = own(GUIDEWAY_STATE=url)
    answer = admin.ask("GET", "/v1/keys")
    assert answer.status_code == 503
    assert "s3cret-word" not in answer.text + admin.installation.log.read_text()


def test_a_fault_of_ours_is_500_and_tells_nothing(own, tmp_path):
    admin = own()
    (admin.installation.folder / "metrics").write_text("not a folder")
    (admin.installation.folder / "gateway.json.state").mkdir()
    answer = admin.ask("GET", "/v1/workers")
    assert answer.status_code == 500
    assert answer.json() == {"error": {"message": "that failed here", "code": "internal"}}
    assert "Traceback" not in admin.installation.log.read_text()


# The process.


def test_feedback_that_waits_becomes_rows(own):
    admin = own()
    spool = Spool(admin.installation.folder / feedback.FOLDER, "worker")
    spool.append(msgspec.msgpack.encode(Judgement("r1", "k1", "acme", "dev", "", "", 1.0, thumb="up")))
    spool.close()

    def rows():
        with Database(admin.installation.home.database) as database:
            return feedback.all_of(database, "dev")

    wait_for(rows, 20, "the rows")


def test_a_second_admin_plane_is_refused_and_the_first_goes_on(admin):
    argv = [sys.executable, "-m", "guideway.gateway.admin", "--settings", str(admin.installation.file)]
    second = subprocess.run(argv, capture_output=True, timeout=30, check=False)
    assert second.returncode == 5
    assert b"served already" in second.stderr
    assert admin.unix("GET", "/v1/keys").status_code == 200


def test_sigterm_ends_it_and_a_socket_that_a_killed_one_left_is_replaced(own):
    admin = own()
    admin.process.kill()
    admin.process.wait(10)
    path = admin.installation.folder / "admin.sock"
    assert path.exists()
    again = Running(admin.installation)
    try:
        assert again.unix("GET", "/v1/keys").status_code == 200
        again.process.send_signal(signal.SIGTERM)
        assert again.process.wait(15) == 0
        assert not path.exists()
    finally:
        again.stop()


def test_a_port_that_is_taken_ends_it_with_one_line(tmp_path):
    installation = Installation(tmp_path / "own")
    argv = [sys.executable, "-m", "guideway.gateway.admin", "--settings", str(installation.file)]
    with socket.create_server(("127.0.0.1", installation.port)):
        ended = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 5
    assert "is in use" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_path_that_is_too_long_for_a_socket_is_served_all_the_same(tmp_path):
    admin = Running(Installation(tmp_path / ("x" * 100)))
    try:
        assert admin.unix("GET", "/v1/keys").status_code == 200
    finally:
        admin.stop()


@pytest.fixture
def gateway_process(own):
    """A real gateway of one worker beside an admin plane."""
    admin = own()
    argv = [sys.executable, "-P", "-m", "guideway.gateway", "--settings", str(admin.installation.file)]
    process = subprocess.Popen(argv, stderr=subprocess.DEVNULL)
    wait_for(lambda: admin.ask("GET", "/healthz").status_code == 200, 30, "the gateway being up")
    yield admin, process
    if process.poll() is None:
        process.terminate()
        process.wait(20)


def test_drain_replaces_every_worker_or_stops_the_gateway(gateway_process):
    admin, process = gateway_process
    state = admin.installation.folder / "gateway.json.state"

    def workers():
        return json.loads(state.read_text())["workers"]

    before = workers()
    answer = admin.ask("POST", "/v1/drain")
    assert (answer.status_code, answer.json()) == (202, {"then": "replace", "pid": process.pid, "workers": before})
    wait_for(lambda: not set(before) & set(workers()), 30, "the workers being replaced")
    assert admin.ask("POST", "/v1/drain", json={"then": "nothing"}).status_code == 400
    assert admin.ask("POST", "/v1/drain", role="operator").status_code == 403
    assert admin.ask("POST", "/v1/drain", json={"then": "stop"}).status_code == 202
    assert process.wait(30) == 0
    assert admin.ask("GET", "/healthz").status_code == 503
    assert admin.ask("POST", "/v1/drain").status_code == 503


def test_a_key_that_is_made_here_opens_the_data_port_until_it_is_revoked_here(gateway_process):
    admin, _ = gateway_process
    port = json.loads((admin.installation.folder / "gateway.json.state").read_text())["port"]
    made = admin.unix("POST", "/v1/keys").json()

    def status():
        with Client(port) as client:
            return client.ask("GET", "/v1/models", headers=f"Authorization: Bearer {made['key']}\r\n").status

    wait_for(lambda: status() == 200, 5, "the new key opening the data port")
    assert admin.unix("DELETE", f"/v1/keys/{made['id']}").status_code == 200
    wait_for(lambda: status() == 401, 5, "the revoked key opening nothing")
    (worker,) = admin.ask("GET", "/v1/workers").json()["workers"]
    assert worker["serves"] is True


@pytest.mark.parametrize("folder", ["", "/tmp", "/srv/elsewhere/dev"])
def test_settings_of_another_kind_of_folder_are_one_line_and_exit_code_2(tmp_path, folder):
    path = tmp_path / "gateway.json"
    path.write_bytes(msgspec.json.encode(GatewaySettings("127.0.0.1", 0, 1, "r", "k", folder=folder)))
    argv = [sys.executable, "-m", "guideway.gateway.admin", "--settings", str(path)]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert (ended.returncode, len(ended.stderr.splitlines())) == (2, 1)


def test_a_state_file_of_another_process_drains_nobody(admin):
    state = admin.installation.folder / "gateway.json.state"
    told = {"pid": os.getpid(), "started": "another", "port": 1, "workers": []}
    assert is_alive(os.getpid(), start_time(os.getpid()))
    state.write_text(json.dumps(told))
    try:
        assert admin.ask("POST", "/v1/drain").status_code == 503
    finally:
        state.unlink()


# The data port.


@pytest.mark.catalogue("B23")
@pytest.mark.parametrize(
    "path", ["/metrics", "/v1/keys", "/v1/route", "/v1/drain", "/v1/workers", "//v1/keys", "/v1/keys/x"]
)
@pytest.mark.parametrize("host", ["gateway", "localhost", "admin", "127.0.0.1"])
def test_no_management_can_be_reached_through_the_data_port(gateway: Gateway, path, host):
    for method in ("GET", "POST", "DELETE"):
        with Client(gateway.port) as client:
            client.send(request(method, path).replace(b"Host: gateway", f"Host: {host}".encode()))
            assert client.reply().status == 404


@pytest.mark.catalogue("B23")
def test_a_request_that_is_hidden_in_the_body_of_another_never_runs(gateway: Gateway):
    hidden = b"GET /v1/keys HTTP/1.1\r\nHost: admin\r\n\r\n"
    both = b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n"
    with Client(gateway.port) as client:
        head = request("GET", "/v1/models").replace(b"\r\n\r\n", b"\r\n" + both + b"\r\n")
        client.send(head + b"0\r\n\r\n" + hidden)
        said = client.ends()
    assert said.startswith(b"HTTP/1.1 400 ")
    assert said.count(b"HTTP/1.1 ") == 1


# The ids of requests lead nowhere here.


def test_the_key_of_request_ids_is_none_of_the_other_secrets(admin):
    secret = secret_of(pepper(admin.installation.home.keys), "dev")
    assert secret != pepper(admin.installation.home.keys)
    assert RequestIds(secret).check(RequestIds(secret).make(bytes(8), mark(1, "", ""), "k").decode(), "k")
