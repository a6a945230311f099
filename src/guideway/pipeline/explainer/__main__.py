"""``python -m guideway.pipeline.explainer --settings FILE``: started by the parent of a gateway, where it is wanted.

It follows the route to the stable release, whose files were verified when its replicas were started. It is no replica:
nothing that it computes stands in the way of a request, and its process has the lowest priority.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from pathlib import Path

import msgspec

from guideway.core.errors import SpecError
from guideway.core.route import GatewaySettings, Route
from guideway.kit.http1 import Response, Server
from guideway.kit.unix import listening
from guideway.pipeline.explainer.desk import Desk, Model, Serving, refusal
from guideway.pipeline.explaining import ReleaseExplainer

SOCKET = "explain.sock"
NICE = 19
GRACE = 5.0
"""Seconds that running explanations get to end."""
BODY_LIMIT = 256 * 1024


def main() -> int:
    """Serve until SIGTERM; the exit code."""
    parser = argparse.ArgumentParser(prog="guideway.pipeline.explainer")
    parser.add_argument("--settings", required=True, type=Path)
    with contextlib.suppress(OSError):
        os.nice(NICE)
    settings = msgspec.json.decode(parser.parse_args().settings.read_bytes(), type=GatewaySettings)
    if not settings.folder or settings.options.explain is None:
        sys.stderr.write("these settings ask for no explanations\n")
        return SpecError.exit_code
    with listening(Path(settings.folder) / SOCKET) as listener, ThreadPoolExecutor(1) as work:
        desk = Desk(settings.options.explain, partial(serving, Path(settings.route_file)), work, time.monotonic)
        asyncio.run(_serve(desk, listener))
        work.shutdown(wait=False, cancel_futures=True)
    return 0


async def _serve(desk: Desk, listener: socket.socket) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    server = Server(desk.handle, refusal=_refused, body_limit=BODY_LIMIT)
    await server.start_on(listener)
    await stop.wait()
    await server.drain(GRACE)


def serving(route_file: Path) -> Serving | None:
    """The stable release of the route in *route_file*; None when nothing serves."""
    try:
        route = msgspec.json.decode(route_file.read_bytes(), type=Route)
    except (OSError, msgspec.DecodeError):
        return None
    if route.stable is None or not route.stable.terms.tokenizer:
        return None
    folder = Path(route.stable.terms.tokenizer).parent.parent
    return Serving(route.model, route.stable.release, partial(_opened, folder))


def _opened(folder: Path) -> Model:
    return ReleaseExplainer(folder)


def _refused(status: int) -> Response:
    return refusal(status, HTTPStatus(status).phrase.lower(), "invalid_request")


if __name__ == "__main__":
    sys.exit(main())
