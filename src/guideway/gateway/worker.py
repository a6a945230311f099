"""One worker process: serves one listening socket that its parent holds, until it is told to leave."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import math
import os
import signal
import socket
import sys
import time
from pathlib import Path

import msgspec
import uvloop

from guideway.core.route import GatewaySettings
from guideway.gateway import rlimits
from guideway.gateway.equip import equip
from guideway.gateway.exposure import identity_of
from guideway.gateway.follow import FollowedFile, TrustedFile
from guideway.gateway.log import log
from guideway.gateway.log import start as start_log
from guideway.gateway.metrics import Metrics
from guideway.gateway.plane import Plane
from guideway.gateway.server import Server

SWITCH_SECONDS = 0.001
"""How long a thread that masks a long text may keep the loop from going on; Python's own 5 ms are felt in streams."""
DRAIN_SECONDS = 10.0


def build(settings: GatewaySettings, slot: int, seed: int) -> Server:
    """A server that follows the files of *settings*; *seed* decides the draws of arms."""
    equipment = equip(settings, slot, seed)
    plane = equipment.plane
    keys = FollowedFile(Path(settings.keys_file), plane.set_keys, time.time_ns)
    route = FollowedFile(Path(settings.route_file), plane.set_route, time.time_ns)
    most = rlimits.connections(settings.options.connections)
    if most < settings.options.connections:
        log("fewer connections than the options say", most=most, why="limit of open files")
    trusted = TrustedFile(keys, plane.clock, plane.lose_keys)
    server = Server(plane, (trusted, route, *equipment.files), identity_of(settings), equipment, most=most)
    _count(plane.reports.metrics, server)
    return server


def _count(metrics: Metrics, server: Server) -> None:
    crowd = server.crowd
    metrics.gauge("connections", lambda: len(crowd.members))
    metrics.read_counter("crowded", lambda: crowd.closed, "closed")
    metrics.read_counter("crowded", lambda: crowd.refused, "refused")


async def serve(server: Server, listening: socket.socket, control: socket.socket) -> None:
    """Serve until SIGTERM, and without a lame duck's time until SIGUSR1 or until the parent is gone.

    *control* is told when the worker is ready: one byte, the whole seconds of a lame duck's time. It closes with the
    parent.
    """
    loop = asyncio.get_running_loop()
    leave, at_once = asyncio.Event(), asyncio.Event()

    def leave_at_once() -> None:
        loop.remove_reader(control)
        at_once.set()
        leave.set()

    loop.add_signal_handler(signal.SIGTERM, leave.set)
    loop.add_signal_handler(signal.SIGUSR1, leave_at_once)
    control.setblocking(False)
    loop.add_reader(control, leave_at_once)
    await server.listen(listening)
    gc.collect()
    gc.freeze()
    sys.setswitchinterval(SWITCH_SECONDS)
    lame_duck = server.plane.options.lame_duck
    control.send(bytes([math.ceil(lame_duck)]))
    await leave.wait()
    if lame_duck and not at_once.is_set():
        await _retire(server.plane, at_once, lame_duck)
    loop.remove_reader(control)
    cut = await server.drain(DRAIN_SECONDS)
    log("worker left", cut=cut)


async def _retire(plane: Plane, at_once: asyncio.Event, seconds: float) -> None:
    """Serve on, while health tells balancers to send no more."""
    plane.retiring = True
    log("worker leaves soon", seconds=seconds)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await at_once.wait()


def main() -> None:
    """``python -m guideway.gateway.worker``: started by the parent, never by hand."""
    parser = argparse.ArgumentParser(prog="guideway.gateway.worker")
    parser.add_argument("--settings", required=True, type=Path)
    parser.add_argument("--slot", type=int, default=0)
    parser.add_argument("--socket", required=True, type=int)
    parser.add_argument("--control", required=True, type=int)
    asked = parser.parse_args()
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    start_log()
    settings = msgspec.json.decode(asked.settings.read_bytes(), type=GatewaySettings)
    server = build(settings, asked.slot, int.from_bytes(os.urandom(8)))
    uvloop.run(serve(server, socket.socket(fileno=asked.socket), socket.socket(fileno=asked.control)))


if __name__ == "__main__":
    main()
