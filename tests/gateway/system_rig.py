"""A gateway as it runs: parent, workers, limiter, admin plane and batches as processes, with a state folder."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import httpx
import msgspec
import pytest
from gateway_rig import KEY, MODEL, OPTIONS, Client, key_file, request, route, threads, wait_for

from guideway.core.route import GatewaySettings
from guideway.core.spec.gateway import Gateway
from guideway.fleet import orders
from guideway.fleet.project import project_keys
from guideway.gateway.keys import key_digest
from guideway.kit.files import write_atomic
from guideway.signing.keys import pepper
from guideway.store.database import Database
from guideway.store.home import Home

DRILLS = bool(os.environ.get("GUIDEWAY_DRILLS"))
"""The large form of tests that repeat something: all seeds, 20 restarts, a million requests."""
HERE = Path(__file__).parent


def drill(small: int, large: int) -> int:
    return large if DRILLS else small


def bearer(key: str = KEY) -> str:
    return f"Authorization: Bearer {key}\r\n"


class Running:
    """A gateway of real processes."""

    def __init__(self, folder, workers=2, port=0, options=None, environment=""):
        self.folder, self.settings = folder, folder / "gateway.json"
        self.route_file, self.keys_file = folder / "route.json", folder / "keys.json"
        self.revision = 0
        settings = GatewaySettings(
            host="127.0.0.1",
            port=port,
            workers=workers,
            route_file=str(self.route_file),
            keys_file=str(self.keys_file),
            options=options or Gateway(body_megabytes=1),
            environment=environment,
            folder=str(folder) if environment else "",
        )
        self.wanted = settings
        self.settings.write_bytes(msgspec.json.encode(settings))
        self.prepare()
        self.log = (folder / "gateway.log").open("ab")
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.argv, stderr=self.log)

    def want(self, **changes):
        """Write other settings down, as the next generation; *options* are changes of the options."""
        options = msgspec.structs.replace(self.wanted.options, **changes.pop("options", {}))
        generation = self.wanted.generation + 1
        self.wanted = msgspec.structs.replace(self.wanted, options=options, generation=generation, **changes)
        write_atomic(self.settings, msgspec.json.encode(self.wanted), durable=False)

    def change(self, **changes):
        """Ask for other settings, and wait until they are taken up or refused; the state."""
        self.want(**changes)
        self.signal(signal.SIGHUP)
        wait_for(self.answered, 60, "an answer to the settings that are wanted")
        return self.state()

    def answered(self):
        """Does the gateway serve what is wanted, or say that it cannot?"""
        state, wanted = self.state(), self.wanted.generation
        return state["generation"] == wanted or (state["refused"] or {}).get("generation") == wanted

    def prepare(self):
        self.keys(key_file())

    @property
    def argv(self):
        return [sys.executable, "-m", "guideway.gateway", "--settings", str(self.settings)]

    def keys(self, data):
        write_atomic(self.keys_file, data, mode=0o600, durable=False)

    def routes(self, *arguments, **options):
        self.revision += 1
        data = msgspec.json.encode(route(*arguments, revision=self.revision, **options))
        write_atomic(self.route_file, data, durable=False)

    def state(self):
        try:
            return json.loads((self.folder / "gateway.json.state").read_text())
        except FileNotFoundError:
            return None

    def up(self):
        wait_for(self.state, 30, "the gateway being up")
        wait_for(lambda: all(self.probe() == 200 for _ in range(8)), 30, "the gateway being healthy")
        return self

    def probe(self):
        with Client(self.port) as client:
            return client.ask("GET", "/healthz").status

    @property
    def port(self):
        return self.state()["port"]

    @property
    def workers(self):
        return self.state()["workers"]

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self):
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.log.close()


class System(Running):
    """All of a gateway: keys are rows of a state database, and the companions run."""

    def __init__(self, root, options=OPTIONS, workers=2):
        self.home = Home(root / ".guideway")
        for one in (self.home.oci, self.home.run, self.home.logs, self.home.keys):
            one.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder = self.home.environment("dev")
        folder.mkdir(parents=True, exist_ok=True)
        self.replicas = []
        options = msgspec.structs.replace(options, workers=workers)
        super().__init__(folder, workers, options=options, environment="dev")

    def prepare(self):
        with Database(self.home.database) as database:
            project_keys(self.home, database, "dev")
        self.key = self.new_key("tests")

    @property
    def argv(self):
        return ["env", "-u", "GUIDEWAY_STATE", "-u", "GUIDEWAY_HOME", *super().argv]

    def new_key(self, label="", **facts):
        """A key, made as `guideway keys` makes it."""
        with Database(self.home.database) as database:
            return orders.make_key(self.home, database, "dev", label, clock=time.time, **facts)

    def id_of(self, key):
        return key_digest(pepper(self.home.keys), key)[:8]

    def revoke(self, key):
        with Database(self.home.database) as database:
            orders.revoke_key(self.home, database, "dev", self.id_of(key), clock=time.time)

    def serve(self, *replicas, **options):
        """Route to *replicas*; return when workers and companions are up."""
        self.replicas = list(replicas)
        self.routes([one.port for one in replicas], **options)
        self.up()
        wait_for(self.admin_answers, 60, "the admin plane being up")
        return self

    def admin_answers(self):
        try:
            return self.admin("/healthz").status_code == 200
        except httpx.TransportError:
            return False

    def companion(self, name):
        """The process id of a companion, or None."""
        module = f"guideway.gateway.{name}".encode()
        for path in Path("/proc").iterdir():
            try:
                words = (path / "cmdline").read_bytes().split(b"\0")
                ours = any(word.startswith(str(self.settings).encode()) for word in words)
                if module in words and ours and b"guideway.gateway.companion" in words:
                    return int(path.name)
            except (OSError, ValueError):
                continue
        return None

    def admin(self, path):
        handle = os.open(self.folder, os.O_RDONLY)  # the whole path may be too long for a socket
        try:
            transport = httpx.HTTPTransport(uds=f"/proc/self/fd/{handle}/admin.sock")
            with httpx.Client(transport=transport, timeout=20) as client:
                return client.get("http://localhost" + path)
        finally:
            os.close(handle)

    def metric(self, name, **labels):
        """The sum of a metric over all its labels, but for those that are named."""
        total = 0.0
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        for line in self.admin("/metrics").text.splitlines():
            if line.startswith((name + "{", name + " ")) and all(one in line for one in wanted):
                total += float(line.split("}")[-1].split()[0] if "}" in line else line.split()[1])
        return total

    def settled(self):
        """Does nobody run, and nobody wait?"""
        return not self.metric("guideway_gateway_in_flight") + self.metric("guideway_gateway_queue")

    def client(self, receive_buffer=None):
        return Client(self.port, receive_buffer=receive_buffer)

    def memory(self):
        """Resident bytes of the workers, by process id."""
        return {pid: resident(pid) for pid in self.workers}

    def said(self):
        return (self.folder / "gateway.log").read_text(errors="replace")


def connections_of(pid, clients):
    """For each client: does the process *pid* hold the other end?"""
    held = {str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir() if fd.is_symlink()}
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ports = {int(row[2].partition(":")[2], 16) for row in rows if f"socket:[{row[9]}]" in held}
    return [client.socket.getsockname()[1] in ports for client in clients]


def resident(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))


class ReplicaProcess:
    """A replica of paper in a process of its own."""

    def __init__(self, seconds=0.0, places=1_000_000, text="hello"):
        words = [sys.executable, str(HERE / "replica_process.py"), str(seconds), str(places), text]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())

    def counts(self):
        with Client(self.port) as client:
            return client.ask("GET", "/counts").json()

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        self.process.kill()
        self.process.wait(10)
        self.process.stdout.close()


class Load:
    """Clients that keep their connections and forgive nothing, unless *allowed* says which statuses are no failure.

    *ask* gives what the body of the n-th request of a client has besides.
    """

    def __init__(self, port, clients=4, streams=True, key=KEY, allowed=(200,), pause=0.0, ask=None):
        self.port, self.clients, self.streams, self.headers = port, clients, streams, bearer(key)
        self.allowed, self.pause = set(allowed), pause
        self.ask = ask or (lambda number: {})
        self.answers = 0
        self.statuses = Counter()
        self.releases = set()
        self.stop = threading.Event()
        self._lock = threading.Lock()

    def __enter__(self):
        self._running = threads(self.clients, self._work)
        self.wrong = self._running.__enter__()
        self.more(20)
        return self

    def __exit__(self, *error):
        self.stop.set()
        self._running.__exit__(*error)

    def more(self, count):
        """Wait until *count* further answers came, whatever happens meanwhile."""
        goal = self.answers + count
        wait_for(lambda: self.answers >= goal or self.wrong, 30 + count / 100, f"{count} more answers")
        assert self.wrong == [], self.wrong

    def _work(self, number):
        client, turn = None, 0
        stream = self.streams and number % 2 == 1
        body = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "stream": stream}
        while not self.stop.is_set():
            if client is None or select.select([client.socket], [], [], 0)[0]:
                if client is not None:
                    client.socket.close()
                client = Client(self.port)
            turn += 1
            reply = client.ask(body={**body, **self.ask(turn)}, headers=self.headers)
            self._note(reply, stream)
            if reply.status != 200 and self.pause:
                self.stop.wait(self.pause)
            if reply.headers.get("connection") == "close":
                client.socket.close()
                client = None
        if client:
            client.socket.close()

    def _note(self, reply, stream):
        assert reply.status in self.allowed, (reply.status, reply.body)
        whole = b"[DONE]\n\n" if stream and reply.status == 200 else b"}"
        assert reply.body.endswith(whole), reply.body
        with self._lock:
            self.answers += 1
            self.statuses[reply.status] += 1
            self.releases.add(reply.headers.get("x-guideway-release"))


def chat(key=KEY, **changes):
    """The bytes of a chat request with *key*."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], **changes}
    return request(body=body, headers=bearer(key))


def at_once(port, count, data):
    """*count* connections; all requests are sent before the first answer is read."""
    clients = [Client(port) for _ in range(count)]
    try:
        for client in clients:
            client.send(data)
        return [client.reply() for client in clients]
    finally:
        for client in clients:
            client.socket.close()


@pytest.fixture(scope="module")
def replicas():
    """Makes replicas in processes of their own, for the tests of one module."""
    made = []

    def make(*arguments, **options):
        made.append(ReplicaProcess(*arguments, **options))
        return made[-1]

    yield make
    for one in made:
        one.kill()


@pytest.fixture
def system(tmp_path, replicas):
    """Makes whole gateways, in front of one quick replica unless others are named."""
    made = []

    def make(*behind, **options):
        made.append(System(tmp_path / str(len(made)), **options))
        return made[-1].serve(*(behind or [replicas()]))

    yield make
    for one in made:
        one.stop()


@pytest.fixture(scope="module")
def shared(tmp_path_factory, replicas):
    """One whole gateway of two workers for all tests of a module that leave it as it was."""
    made = System(tmp_path_factory.mktemp("shared"))
    yield made.serve(replicas())
    made.stop()
