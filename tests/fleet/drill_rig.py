"""An environment to drill in: the real controller as a process, the real gateway, model servers that stand in."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from fleet_rig import NEW, OLD, Fleet

from guideway.core.events import Event
from guideway.core.launch import Launch, Probe, Process
from guideway.core.rollout import EnvironmentState
from guideway.core.spec import SpecFile, load
from guideway.fleet.drills.hold import Held, hold
from guideway.fleet.drills.site import Asked
from guideway.fleet.host import Host
from guideway.kit.files import locked
from guideway.kit.process import free_port, spawn_detached
from guideway.pipeline.workshop import Workshop, open_workshop
from guideway.store import api_keys
from guideway.store.home import Home
from guideway.targets.local import LocalTarget

T = TypeVar("T")
CONTROLLER = Path(__file__).with_name("drill_controller.py")
SPEC = "guideway: 1\nname: m\ndata: {sources: [{path: x}]}\nrollout: {bake: 0}\n"

MODEL = r"""
import asyncio, json, sys
port, seconds = int(sys.argv[1]), float(sys.argv[2])
places = asyncio.Semaphore(4)
USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
def message(text):
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return json.dumps({"id": "1", "object": "chat.completion", "choices": [choice], "usage": USAGE}).encode()
def piece(text):
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    data = b"data: " + json.dumps({"id": "1", "object": "chat.completion.chunk", "choices": [choice]}).encode()
    return b"%x\r\n%b\r\n" % (len(data) + 2, data + b"\n\n")
async def serve(reader, writer):
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
            asked = json.loads(await reader.readexactly(length) or b"{}")
            async with places:
                if asked.get("stream"):
                    await stream(writer)
                    continue
                await asyncio.sleep(seconds)
            body = message("hello")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                         b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()
async def stream(writer):
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    for number in range(4):
        writer.write(piece(f"word {number} "))
        await writer.drain()
        await asyncio.sleep(seconds / 4)
    done = b"data: [DONE]\n\n"
    writer.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(done), done))
async def main():
    async with await asyncio.start_server(serve, "127.0.0.1", port) as server:
        await server.serve_forever()
asyncio.run(main())
"""
ASKED = '{"model": "x", "max_tokens": 1, "temperature": 0, "messages": [{"role": "user", "content": "Hello"}]}'


class StandIns(Host):
    """Starts servers that answer after ``SECONDS`` (an environment variable), four at a time."""

    def start(self, state: EnvironmentState, release: str, id: str) -> tuple[Launch, Process]:
        port = free_port()
        argv = (sys.executable, "-I", "-S", "-c", MODEL, str(port), os.environ.get("SECONDS_AN_ANSWER", "0.02"))
        launch = Launch(argv, port, Probe("/v1/chat/completions", ASKED))
        return launch, LocalTarget(self.home.run).start(launch, self.log(state.name, id))


def start_controller(home: Home) -> None:
    """Start the controller of the rig unless one runs; what it starts sees neither our state nor our home."""
    with locked(home.controller, wait=False) as free:
        if not free:
            return
    path = os.pathsep.join([str(CONTROLLER.parent), *sys.path])
    argv = [sys.executable, str(CONTROLLER), "guideway.fleet", str(home.path)]
    spawn_detached(argv, {**os.environ, "PYTHONPATH": path}, home.logs / "controller.log")


class Ground(Fleet):
    """A fleet whose controller is a process; ``drill`` holds a drill in ``dev``."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        (folder / "guideway.yaml").write_text(SPEC)
        self.file: SpecFile = load(folder / "guideway.yaml", "dev", {})
        self.shop: Workshop = open_workshop(self.home)
        self.said: list[Event] = []

    def until(self, condition: Callable[[], T], seconds: float = 30.0) -> T:
        """Wait until *condition* holds: the controller acts by itself."""
        start_controller(self.home)
        deadline = time.monotonic() + seconds
        while not (value := condition()):
            assert time.monotonic() < deadline, self.words()
            self.controller.stopping.wait(0.02)
        return value

    def words(self) -> str:
        """What the controller said."""
        log = self.home.logs / "controller.log"
        return log.read_text() if log.exists() else "no controller"

    def two_releases(self, **changes) -> None:
        """The release OLD, and then NEW, with OLD still warm."""
        self.served(OLD, **changes)
        self.served(NEW, **changes)

    def drill(self, name: str, **asked) -> Held:
        return hold(self.shop, self.file, name, Asked(**asked), self.said.append, start_controller=start_controller)

    def keys_that_work(self) -> list[str]:
        return [key.label for key in api_keys.all_of(self.database, "dev") if not key.revoked]

    def end(self) -> None:
        self.shop.database.close()
        super().end()
