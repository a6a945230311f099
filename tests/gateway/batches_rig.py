"""The service for files and batches as a process, a proxy that plays the worker, and a port that plays the gateway."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import msgspec
import openai
import pytest
from gateway_paper import PaperReplica, completion, http
from gateway_rig import MODEL, PEPPER, Client, Loop, Reply, key_file, wait_for

from guideway.core.route import GatewaySettings
from guideway.core.spec.gateway import Batches, Gateway
from guideway.gateway.batches import credential

SECRET = credential.secret_of(PEPPER)
OWNERS = {"key-a": "tenant-a", "key-a2": "tenant-a", "key-b": "tenant-b"}
FINAL = {"failed", "completed", "expired", "cancelled"}
CHAT = "/v1/chat/completions"


class WorkerOfPaper:
    """A proxy to the service's socket that authenticates as a worker does, and adds its headers."""

    def __init__(self, loop: Loop, path: Path) -> None:
        self.path, self.models = path, ""
        self._tasks: set[asyncio.Task] = set()  # a loop alone does not keep its tasks alive
        self._writers: set[asyncio.StreamWriter] = set()
        self._server = loop.run(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]
        self._loop = loop

    def close(self) -> None:
        def end() -> None:
            self._server.close()
            for writer in self._writers:
                writer.transport.abort()

        self._loop.call(end)
        wait_for(lambda: not self._tasks, what="the end of the proxy")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._tasks.add(task)
        try:
            await self._pass_on(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            self._tasks.discard(task)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        upstream, sink = await asyncio.open_unix_connection(str(self.path))
        self._writers |= {writer, sink}
        sink.write(self._rewritten(head))
        forth, back = asyncio.ensure_future(_pipe(reader, sink)), asyncio.ensure_future(_pipe(upstream, writer))
        await asyncio.wait({forth, back}, return_when=asyncio.FIRST_COMPLETED)
        if not back.done() and not forth.result():
            await asyncio.wait({back})  # the service refuses to read on: what it says must still get through
        for one in (forth, back):
            one.cancel()
        await asyncio.gather(forth, back, return_exceptions=True)
        await writer.drain()
        self._writers -= {writer, sink}
        sink.transport.abort()

    def _rewritten(self, head: bytes) -> bytes:
        first, *lines = head[:-4].split(b"\r\n")
        names = [(line.partition(b":")[0].lower(), line) for line in lines]
        key = next(line for name, line in names if name == b"authorization").decode().split()[-1]
        kept = [line for name, line in names if name not in {b"authorization", b"connection"}]
        own = f"x-guideway-owner: {OWNERS[key]}|x-guideway-key: {key}|x-guideway-models: {self.models}"
        own += "|x-request-id: r1|connection: close"
        return b"\r\n".join([first, *kept, *own.encode().split(b"|")]) + b"\r\n\r\n"


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Pass on what comes. True: until the end; False: until nobody took it any more."""
    while True:
        try:
            data = await reader.read(65536)
        except ConnectionError:
            return True
        if not data:
            return True
        try:
            writer.write(data)
            await writer.drain()
        except ConnectionError:
            return False


class GatewayOfPaper(PaperReplica):
    """Plays the gateway's data port. ``now`` and ``most`` count the requests that are under way at once."""

    def __init__(self, loop: Loop, port: int = 0) -> None:
        super().__init__(loop, self._reply, port)
        self.now = self.most = 0
        self.statuses: dict[str, list[tuple[str, str]]] = {}
        self.hold: set[str] = set()

    async def _reply(self, replica, asked, reader, writer) -> None:
        assert credential.check(SECRET, asked.headers[credential.HEADER]) in OWNERS
        self.now, self.most = self.now + 1, max(self.most, self.now + 1)
        try:
            await self._answer(json.loads(asked.body), writer)
        finally:
            self.now -= 1

    async def _answer(self, body, writer) -> None:
        text = body["messages"][0]["content"]
        await asyncio.sleep(0)
        while text in self.hold or "*" in self.hold:
            await asyncio.sleep(0.005)
        planned = self.statuses.get(text) or self.statuses.get("*")
        if planned:
            status, lines = planned.pop(0)
            if status == "break":
                writer.transport.abort()
                return
            writer.write(http(b'{"error": {"message": "no"}}', status, lines))
        else:
            writer.write(http(completion("re: " + text), headers="x-request-id: up-1\r\n"))
        await writer.drain()

    @property
    def texts(self) -> list[str]:
        """What was asked, in order."""
        return [json.loads(asked.body)["messages"][0]["content"] for asked in self.asked]


class Running:
    """The service as a process, in a folder of its own."""

    def __init__(self, loop: Loop, folder: Path, data_port: GatewayOfPaper, **batches) -> None:
        self.folder, self.data_port = folder, data_port
        self.settings = folder / "gateway.json"
        self.log = folder / "log"
        keys = folder / "keys.json"
        keys.write_bytes(key_file(()))
        settings = GatewaySettings(
            host="127.0.0.1",
            port=data_port.port,
            workers=1,
            route_file="",
            keys_file=str(keys),
            options=Gateway(batches=Batches(**batches), body_megabytes=1),
            folder=str(folder),
        )
        self.settings.write_bytes(msgspec.json.encode(settings))
        self.socket = folder / "batches.sock"
        self.process: subprocess.Popen[bytes] | None = None
        self.worker = WorkerOfPaper(loop, self.socket)
        self.clients: list[openai.OpenAI] = []

    def start(self, *command: str, ready: bool = True) -> Running:
        argv = [*command, sys.executable, "-P", "-m", "guideway.gateway.batches", "--settings", str(self.settings)]
        ours, theirs = socket.socketpair()
        with theirs, self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*argv, "--control", str(theirs.fileno())], pass_fds=[theirs.fileno()], stderr=log
            )
        self.control = ours
        ours.settimeout(30)
        if ready:
            assert ours.recv(1) == b"R", self.log.read_text()
        return self

    def kill(self, number: int = signal.SIGKILL) -> int:
        self.process.send_signal(number)
        status = self.process.wait(20)
        self.control.close()
        return status

    def close(self) -> None:
        for client in self.clients:
            client.close()
        self.worker.close()
        if self.process and self.process.poll() is None:
            self.kill()

    def client(self, key: str = "key-a") -> openai.OpenAI:
        made = openai.OpenAI(base_url=f"http://127.0.0.1:{self.worker.port}/v1", api_key=key, max_retries=0)
        self.clients.append(made)
        return made

    def raw(self, data: bytes | str, *, to: str = "worker") -> Reply:
        """Send bytes through the worker of paper, or past it."""
        if to == "worker":
            with Client(self.worker.port) as client:
                client.send(data)
                return client.reply()
        client = Client.__new__(Client)
        client.socket, client.rest = socket.socket(socket.AF_UNIX), b""
        with client:
            client.socket.settimeout(10)
            client.socket.connect(str(self.socket))
            client.send(data)
            return client.reply()

    def memory(self) -> int:
        """The most bytes that the process ever held."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))

    def shelf(self, part: str) -> list[str]:
        return sorted(path.name for path in (self.folder / "batches" / part).iterdir())


def line(number: int | str, text: str | None = None, **changes) -> bytes:
    """A line of an input file."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": text or f"line {number}"}]}
    whole = {"custom_id": f"id-{number}", "method": "POST", "url": CHAT, "body": body}
    return json.dumps({**whole, **changes}).encode() + b"\n"


def begin(client: openai.OpenAI, data: bytes, **options):
    """Upload *data* and make a batch of it."""
    file = client.files.create(file=("input.jsonl", data), purpose="batch")
    whole = {"input_file_id": file.id, "endpoint": CHAT, "completion_window": "24h", **options}
    return client.batches.create(**whole)


def ended(client: openai.OpenAI, batch_id: str, seconds: float = 30.0):
    """The batch, once it is at its end."""
    wait_for(lambda: client.batches.retrieve(batch_id).status in FINAL, seconds, "the end of the batch")
    return client.batches.retrieve(batch_id)


def reached(client: openai.OpenAI, batch_id: str, status: str) -> None:
    wait_for(lambda: client.batches.retrieve(batch_id).status == status, what=status)


def results(client: openai.OpenAI, file_id: str | None) -> list[dict]:
    """The lines of a result file."""
    return [json.loads(one) for one in client.files.content(file_id).text.splitlines()] if file_id else []


@pytest.fixture
def gateway_port(loop):
    made = GatewayOfPaper(loop)
    yield made
    made.die()


@pytest.fixture
def batch_service(loop, tmp_path, gateway_port):
    made = Running(loop, tmp_path, gateway_port, concurrent=3).start()
    yield made
    made.close()


@pytest.fixture
def batch_client(batch_service):
    return batch_service.client()
