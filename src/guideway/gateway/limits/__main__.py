"""``python -m guideway.gateway.limits --settings FILE``: the limiter, a child of the gateway's parent."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import uvloop

from guideway.core.errors import GuidewayError, Unavailable
from guideway.gateway.limits.limiter import Limiter
from guideway.gateway.limits.start import socket_of, state_of
from guideway.gateway.settings import read_settings
from guideway.kit.files import locked


def main() -> int:
    """Grant leases until SIGTERM, or until the parent is gone, which closes the control socket."""
    parser = argparse.ArgumentParser(prog="guideway.gateway.limits", description="Keep the limits of one gateway.")
    parser.add_argument("--settings", required=True, type=Path, help="gateway settings, as JSON")
    parser.add_argument("--control", type=int, help="a socket that the parent holds the other end of")
    asked = parser.parse_args()
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    try:
        settings = read_settings(asked.settings)
        path = Path(socket_of(settings))
        path.parent.mkdir(mode=0o700, exist_ok=True)
        if path.parent.stat().st_uid != os.getuid():
            raise Unavailable("the folder of the socket belongs to somebody else", where=str(path.parent))
        with locked(path.with_name(path.name + ".lock"), wait=False) as alone:
            if not alone:
                raise Unavailable("a limiter runs for this gateway", where=str(path))
            control = None if asked.control is None else socket.socket(fileno=asked.control)
            uvloop.run(serve(Limiter(path, state_of(settings, os.environ)), control))
    except GuidewayError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


async def serve(limiter: Limiter, control: socket.socket | None) -> None:
    """Run *limiter* until it has to leave."""
    loop, leave = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, leave.set)
    if control is not None:
        control.setblocking(False)
        loop.add_reader(control, leave.set)
    await limiter.run(leave)
    if control is not None:
        loop.remove_reader(control)


if __name__ == "__main__":
    sys.exit(main())
