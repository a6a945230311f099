"""A process that has imported a module and computed nothing: its forks start without the cost of importing.

``python -m guideway.kit.forkserver SOCKET MODULE`` listens on a Unix socket. A request is one JSON line
``{"argv": [...], "env": {...}, "log": "..."}``; the fork calls ``MODULE.main(argv)``. The answer is
``{"pid": ..., "started": "..."}``. Children outlive the server.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import struct
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from guideway.kit.files import locked
from guideway.kit.process import spawn_detached, start_time

PATIENCE = 60.0
"""Seconds that a server gets to import its module."""


class ForkServerError(RuntimeError):
    """The server cannot be used; the caller starts cold instead."""


class ForkServer:
    """The client's side: a server that listens on *path*."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fork(self, argv: Sequence[str], env: Mapping[str, str], log: Path) -> tuple[int, str]:
        """Start ``MODULE.main(argv)`` in a fork; its pid and start time.

        Raises:
            ForkServerError: nobody listens, or the server refused.
        """
        answer = self._ask({"argv": list(argv), "env": dict(env), "log": str(log)})
        if "error" in answer:
            raise ForkServerError(answer["error"])
        return answer["pid"], answer["started"]

    def ping(self) -> int:
        """The pid of the server."""
        return int(self._ask({"ping": True})["pid"])

    def stop(self) -> None:
        """End the server. Its children go on."""
        with contextlib.suppress(ForkServerError):
            os.kill(self.ping(), signal.SIGTERM)

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            with socket.socket(socket.AF_UNIX) as connection, _short(self.path) as name:
                connection.settimeout(PATIENCE)
                connection.connect(name)
                connection.sendall(json.dumps(request).encode() + b"\n")
                answer: dict[str, Any] = json.loads(connection.makefile("rb").readline())
                return answer
        except (OSError, ValueError) as error:
            raise ForkServerError(str(error)) from None


def connect_or_start(path: Path, module: str, log: Path) -> ForkServer:
    """The fork server for *module* at *path*; started when nobody listens. Two callers start one server.

    Raises:
        ForkServerError: it does not come up, for instance because the module cannot be imported.
    """
    server = ForkServer(path)
    with locked(path.with_suffix(".lock")):
        with contextlib.suppress(ForkServerError):
            server.ping()
            return server
        path.unlink(missing_ok=True)
        argv = [sys.executable, "-P", "-m", "guideway.kit.forkserver", str(path), module]
        pid, started = spawn_detached(argv, dict(os.environ), log)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if start_time(pid) != started:
                raise ForkServerError(f"the fork server of {module} ended; see {log}")
            with contextlib.suppress(ForkServerError):
                server.ping()
                return server
            time.sleep(0.02)
    raise ForkServerError(f"the fork server of {module} does not answer")


def serve(path: Path, module: str) -> None:
    """Import *module*, then fork whenever asked, until SIGTERM."""
    with _short(path) as name, socket.socket(socket.AF_UNIX) as listener:
        imported = importlib.import_module(module)
        gc.freeze()  # what is imported stays shared: the collector of a child never writes to it
        listener.bind(name)
        path.chmod(0o600)
        listener.listen(16)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps our children
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        while True:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError, ValueError):
                _answer(connection, listener, imported)


def _answer(connection: socket.socket, listener: socket.socket, module: Any) -> None:
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    if struct.unpack("3i", credentials)[1] != os.getuid():
        return
    connection.settimeout(5.0)
    request = json.loads(connection.makefile("rb").readline())
    if "ping" in request:
        answer: dict[str, Any] = {"pid": os.getpid()}
    elif len(list(Path("/proc/self/task").iterdir())) > 1:
        answer = {"error": "the server has threads, so forking is not safe"}
    else:
        pid = os.fork()
        if pid == 0:
            listener.close()
            connection.close()
            _become(request, module)
        answer = {"pid": pid, "started": start_time(pid) or ""}
    connection.sendall(json.dumps(answer).encode() + b"\n")


def _become(request: dict[str, Any], module: Any) -> None:
    """In the child: a session, a log, an environment of its own; then the work. Never returns."""
    code = 1
    try:
        os.setsid()
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        Path(request["log"]).parent.mkdir(parents=True, exist_ok=True)
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ.clear()
        os.environ.update(request["env"])
        code = module.main(request["argv"])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


@contextlib.contextmanager
def _short(path: Path) -> Any:
    """A name for the socket that fits into the 108 bytes the kernel gives: through a short link if need be."""
    if len(os.fsencode(path)) < 100:
        yield str(path)
        return
    with tempfile.TemporaryDirectory(prefix="guideway-") as folder:
        link = Path(folder) / "d"
        link.symlink_to(path.parent)
        yield str(link / path.name)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), sys.argv[2])
