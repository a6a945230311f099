"""``python -m guideway.gateway.admin --settings FILE``: the admin plane of one gateway, started by its parent."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import uvicorn
import uvloop
from starlette.types import ASGIApp

from guideway.core.errors import GuidewayError, SpecError, Unavailable
from guideway.core.route import GatewaySettings
from guideway.gateway import log as lines
from guideway.gateway.admin.access import Access
from guideway.gateway.admin.app import build
from guideway.gateway.admin.desk import Desk
from guideway.gateway.follow import FollowedFile, TrustedFile
from guideway.gateway.listen import bind
from guideway.gateway.log import log
from guideway.gateway.settings import read_settings
from guideway.kit.files import locked
from guideway.kit.unix import short
from guideway.store.home import Home

SOCKET = "admin.sock"
LOOPBACK = "127.0.0.1"
FOLLOW_SECONDS = 0.1
COMMIT_SECONDS = 5.0
LOG_SECONDS = 60.0
CONNECTIONS = 64


def main() -> int:
    """Serve until SIGTERM; the exit code is that of the error, if there is one."""
    parser = argparse.ArgumentParser(prog="guideway.gateway.admin", description="The admin plane of one gateway.")
    parser.add_argument("--settings", required=True, type=Path, help="gateway settings, as JSON")
    path: Path = parser.parse_args().settings.absolute()
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    lines.start()
    logging.getLogger("uvicorn").addHandler(logging.NullHandler())  # it repeats what clients send
    logging.getLogger("uvicorn").propagate = False
    try:
        settings = read_settings(path)
        home, folder = home_of(settings), Path(settings.folder)
        with locked(folder / "admin.lock", wait=False) as alone:
            if not alone:
                raise Unavailable("the admin plane of this gateway is served already", where=str(folder))
            uvloop.run(serve(path, settings, home))
    except GuidewayError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


async def serve(path: Path, settings: GatewaySettings, home: Home) -> None:
    """Serve the gateway that was started with *settings*, which *path* holds, until SIGTERM."""
    desk = Desk(path, settings, home, time.time)
    access = Access(time.time)
    file = FollowedFile(Path(settings.keys_file), access.set_keys, time.time_ns)
    keys = TrustedFile(file, time.monotonic, access.lose_keys)
    keys.look()
    with listening(Path(settings.folder)) as unix:
        servers = [_server(build(desk, None), [unix])]
        if settings.options.admin:
            servers.append(_server(build(desk, access), bind(LOOPBACK, settings.options.admin, 1)))
        leave = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, leave.set)
        chores = [asyncio.create_task(one) for one in (_follow(keys), _commit(desk), _keep_log_short())]
        serving = [asyncio.create_task(server.serve(sockets)) for server, sockets in servers]
        log("admin plane serves", port=settings.options.admin)
        left = asyncio.create_task(leave.wait())
        await asyncio.wait([left, *serving, *chores], return_when=asyncio.FIRST_COMPLETED)
        left.cancel()
        for chore in chores:
            chore.cancel()
        for server, _ in servers:
            server.should_exit = True
        await asyncio.gather(*serving, *chores, return_exceptions=True)


def home_of(settings: GatewaySettings) -> Home:
    """The state folder that the gateway's folder ``run/env/NAME`` lies in.

    Raises:
        SpecError: it lies elsewhere.
    """
    folder = Path(settings.folder).absolute()
    if folder.parts[-3:-1] != ("run", "env"):
        raise SpecError("the gateway's folder is not 'run/env/NAME' of a state folder", where=str(folder))
    return Home(folder.parents[2], os.environ.get("GUIDEWAY_STATE", ""))


class _Server(uvicorn.Server):
    """A server that leaves signals to us: there are two of them in one loop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _server(app: ASGIApp, sockets: list[socket.socket]) -> tuple[_Server, list[socket.socket]]:
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=2,
        h11_max_incomplete_event_size=16 * 1024,
    )
    return _Server(config), sockets


@contextlib.contextmanager
def listening(folder: Path) -> Iterator[socket.socket]:
    """The Unix socket, which its owner alone can open; one that a killed process left is replaced."""
    path = folder / SOCKET
    path.unlink(missing_ok=True)
    before = os.umask(0o177)
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with short(path) as name:
            one.bind(name)
        one.listen(CONNECTIONS)
    except OSError as error:
        one.close()
        raise Unavailable(f"cannot listen: {error.strerror or error}", where=str(path)) from None
    finally:
        os.umask(before)
    try:
        yield one
    finally:
        one.close()
        path.unlink(missing_ok=True)


async def _follow(keys: TrustedFile) -> None:
    while True:
        keys.look()
        await asyncio.sleep(FOLLOW_SECONDS)


async def _commit(desk: Desk) -> None:
    """Make rows of feedback; while the state is away, say so once and go on trying."""
    complaint = ""
    while True:
        try:
            await asyncio.to_thread(desk.commit_feedback)
            complaint = ""
        except (GuidewayError, OSError) as error:
            if str(error) != complaint:
                log("feedback waits", why=str(error))
            complaint = str(error)
        await asyncio.sleep(COMMIT_SECONDS)


async def _keep_log_short() -> None:
    while True:
        with contextlib.suppress(OSError):
            await asyncio.to_thread(lines.keep_short)
        await asyncio.sleep(LOG_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
