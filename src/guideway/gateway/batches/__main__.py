"""``python -m guideway.gateway.batches --settings FILE``: started by the parent of a gateway, beside its workers."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import uvicorn
import uvloop

from guideway.core.errors import GuidewayError, SpecError, Unavailable
from guideway.core.route import GatewaySettings, KeyFile
from guideway.gateway.batches import credential
from guideway.gateway.batches.app import build
from guideway.gateway.batches.runner import Runner
from guideway.gateway.batches.sender import Address, Sender
from guideway.gateway.batches.service import Service, id_maker
from guideway.gateway.batches.shelf import Shelf
from guideway.gateway.follow import FollowedFile
from guideway.gateway.log import log
from guideway.gateway.settings import state_file
from guideway.kit.files import locked
from guideway.kit.unix import listening
from guideway.store import batches as rows
from guideway.store.database import Database

SOCKET = "batches.sock"
NICE = 10
QUEUE_SECONDS = 0.3
"""How long it serves on for those who connected before its name was gone, and whose requests are on their way."""
READY = b"R"
ANYWHERE = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}  # noqa: S104 - these are looked for, not bound


def main() -> int:
    """Serve until SIGTERM, or until the parent is gone; the exit code is that of the error, if there is one."""
    parser = argparse.ArgumentParser(prog="guideway.gateway.batches")
    parser.add_argument("--settings", required=True, type=Path)
    parser.add_argument("--control", type=int)
    asked = parser.parse_args()
    logging.getLogger("python_multipart").addHandler(logging.NullHandler())  # it repeats what clients send
    logging.getLogger("python_multipart").propagate = False
    with contextlib.suppress(OSError):
        os.nice(NICE)
    try:
        settings = msgspec.json.decode(asked.settings.read_bytes(), type=GatewaySettings)
        if not settings.folder:
            raise SpecError("the settings name no folder for batches", where=str(asked.settings))
        folder = Path(settings.folder)
        with locked(folder / "batches.lock", wait=False) as alone:
            if not alone:
                raise Unavailable("the batches of this gateway are served already", where=str(folder))
            control = socket.socket(fileno=asked.control) if asked.control is not None else None
            uvloop.run(serve(settings, asked.settings, control))
    except GuidewayError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


async def serve(settings: GatewaySettings, path: Path, control: socket.socket | None) -> None:
    """Serve the folder of *settings*; *path* is their file. *control* is told when it is ready, and ends it."""
    folder = Path(settings.folder)
    shelf = Shelf(folder / "batches")
    with Database(shelf.folder / "batches.db") as database, listening(folder / SOCKET) as listener:
        swept = shelf.sweep(rows.file_ids(database), {batch.id for batch in rows.unfinished(database)})
        sender = Sender(lambda: data_port(settings, path), _credentials(Path(settings.keys_file)), _seconds(settings))
        new_id = id_maker(os.urandom)
        runner = Runner(
            database,
            shelf,
            settings.options.batches,
            settings.options.body_megabytes * 1024 * 1024,
            sender,
            wall=time.time,
            clock=time.monotonic,
            new_id=new_id,
        )
        app = build(Service(database, shelf, settings.options.batches, runner, time.time, new_id))
        log("batches served", swept=swept)
        await _both(runner, _server(app), listener, folder / SOCKET, control)
        sender.close()


async def _both(
    runner: Runner, server: uvicorn.Server, listener: socket.socket, path: Path, control: socket.socket | None
) -> None:
    """Run batches while the pages are served. If the runner breaks, so does the service: its parent starts it anew.

    Told to leave, it first takes its name away, *path*, so that nobody else comes: workers wait for who follows.
    """

    def leave() -> None:
        server.should_exit = True

    def make_way() -> None:
        path.unlink(missing_ok=True)
        loop.call_later(QUEUE_SECONDS, leave)

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, make_way)
    for number in (signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, lambda: None)
    if control is not None:
        control.setblocking(False)
        loop.add_reader(control, leave)
        control.send(READY)
    running = asyncio.create_task(runner.run())
    running.add_done_callback(lambda _: leave())
    await server.serve(sockets=[listener])
    if control is not None:
        loop.remove_reader(control)
    runner.stop()
    await running


class _Pages(uvicorn.Server):
    """Uvicorn, without its signal handlers: they end the process before the runner has saved its answers."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


def _server(app: object) -> uvicorn.Server:
    return _Pages(
        uvicorn.Config(
            app,  # type: ignore[arg-type]
            http="httptools",
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            log_level="critical",
            server_header=False,
            timeout_graceful_shutdown=5,
        )
    )


def data_port(settings: GatewaySettings, path: Path) -> Address:
    """Where the gateway listens now: its parent tells the port in a file beside the settings.

    Raises:
        OSError, ValueError: that cannot be known yet.
    """
    port = settings.port or int(msgspec.json.decode(state_file(path).read_bytes())["port"])
    return Address(ANYWHERE.get(settings.host, settings.host), port, _tls(settings))


def _tls(settings: GatewaySettings) -> ssl.SSLContext | None:
    """Trust the gateway's own certificate alone. Its names are not looked at: it has none for the loopback address."""
    certificate = settings.options.tls.certificate
    if not certificate:
        return None
    context = ssl.create_default_context(cafile=certificate)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _seconds(settings: GatewaySettings) -> float:
    """How long an answer may take: the gateway gives up before."""
    return settings.options.routing.timeout + settings.options.admission.wait + 30.0


def _credentials(keys_file: Path) -> Callable[[str], str]:
    """Signs for keys, with the pepper that the keys file has at that time."""
    secret = b""

    def accept(data: bytes) -> None:
        nonlocal secret
        secret = credential.secret_of(bytes.fromhex(msgspec.json.decode(data, type=KeyFile).pepper))

    followed = FollowedFile(keys_file, accept, time.time_ns)

    def signed(key_id: str) -> str:
        followed.look()
        if not secret:
            raise ValueError("there is no pepper yet")
        return credential.sign(secret, key_id)

    return signed


if __name__ == "__main__":
    sys.exit(main())
