"""The process of a replica: read the release, load the model, listen, and drain when asked to stop."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import uvloop

from guideway.core.errors import GuidewayError, Unavailable
from guideway.core.release import ServeSettings
from guideway.kit.http1 import Refusal, Request, Response, Server
from guideway.replica.api import Service, refusal
from guideway.replica.backend import SLOTS, Backend
from guideway.replica.scheduler import Scheduler
from guideway.replica.settings import read_file
from guideway.replica.text import Text
from guideway.replica.worker import Outbox, Worker

GRACE = 10.0
"""Seconds that running answers get to end after SIGTERM."""
QUEUE = 64
"""Requests that may wait beyond those that have a slot."""

Open = Callable[[Path, int, int, int | None], Backend]
"""Loads the model in a folder: slots, threads, context."""


class Arguments(NamedTuple):
    """The command line of a replica. ``context`` shortens the model's own."""

    release: Path
    port: int
    host: str = "127.0.0.1"
    slots: int = SLOTS
    threads: int = 1
    context: int | None = None
    queue: int = QUEUE


def serve(prog: str, argv: Sequence[str], open_backend: Open) -> int:
    """Serve until SIGTERM or SIGINT; the exit code. Errors are one line on standard error."""
    arguments = parse(prog, argv)

    def load() -> Coroutine[Any, Any, int]:
        settings = read_settings(arguments.release)
        text = Text(arguments.release / "model", settings.template)
        backend = open_backend(arguments.release / "model", arguments.slots, arguments.threads, arguments.context)
        return _serve(arguments, settings, text, backend)

    return run(load)


def run(load: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """Load a model, then serve it; the exit code. Errors are one line on standard error."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        serving = load()
        gc.freeze()  # what is loaded stays: collecting must not walk through it between two tokens
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(serving)
    except GuidewayError as error:
        print(error, file=sys.stderr, flush=True)  # noqa: T201 - the log of the replica
        return error.exit_code


def read_settings(release: Path) -> ServeSettings:
    """``serve.json`` of a release folder.

    Raises:
        SpecError: it is not there or not what it should be.
    """
    return read_file(release, "serve.json", ServeSettings, "is this a release folder?")


async def _serve(arguments: Arguments, settings: ServeSettings, text: Text, backend: Backend) -> int:
    outbox = Outbox(asyncio.get_running_loop())
    worker = Worker(begun(backend, text, settings.system), outbox.send)
    service = Service(
        settings, text, worker.submit, outbox, context=backend.context, limit=arguments.slots + arguments.queue
    )
    worker.start()
    await until_told(arguments, settings.name, service, refusal)
    worker.stop()
    return 0


def begun(backend: Backend, text: Text, system: str) -> Scheduler:
    """A scheduler that has read how the conversations of this release begin: its template and its *system* prompt."""
    scheduler = Scheduler(backend)
    prefix = text.prefix(system)
    if 0 < len(prefix) < backend.context:
        scheduler.learn(prefix)
    return scheduler


class Answering(Protocol):
    """What answers requests, until it is told that it shall take no more."""

    draining: bool

    async def handle(self, request: Request) -> Response:
        """Answer one request."""


async def until_told(arguments: Arguments, name: str, service: Answering, refusal: Refusal) -> None:
    """Listen until SIGTERM or SIGINT, and let running answers end.

    Raises:
        Unavailable: the port is taken.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = Server(service.handle, refusal=refusal)
    try:
        await server.start(arguments.host, arguments.port)
    except OSError as error:
        place = f"{arguments.host}:{arguments.port}"
        raise Unavailable(f"cannot listen: {error.strerror}", where=place, try_this="another port") from None
    logging.info("%s listens on %s port %d", name, arguments.host, server.port)
    await stop.wait()
    service.draining = True
    logging.info("draining")
    await server.drain(GRACE)


def parse(prog: str, argv: Sequence[str]) -> Arguments:
    """The command line *argv* of a replica."""
    parser = argparse.ArgumentParser(prog=prog, description="Serve one release.")
    parser.add_argument("--release", type=Path, required=True, help="folder with serve.json and model/")
    parser.add_argument("--port", type=int, required=True, help="0 takes a free one; the log tells which")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--slots", type=_positive, default=SLOTS, help="requests computed at once")
    parser.add_argument("--threads", type=_positive, default=1, help="threads for one step")
    parser.add_argument("--context", type=_positive, help="tokens per slot, if fewer than the model's own")
    parser.add_argument("--queue", type=int, default=QUEUE, help="requests that may wait for a slot")
    return Arguments(**vars(parser.parse_args(list(argv))))


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number
