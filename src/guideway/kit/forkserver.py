"""A process that has imported a module and computed nothing: its forks start without the cost of importing.

``python -m guideway.kit.forkserver --socket PATH --preload MODULE`` listens on a Unix socket for one JSON line a
connection: ``{"do": "ping" | "fork", "argv": [...], "env": {...}, "log": "...", "cwd": "..."}``. A fork calls
``MODULE.main(argv)`` and ends with its result. The answer is ``{"pid": ..., "started": "..."}`` or
``{"error": "..."}``. Children outlive the server, which ends on SIGTERM, when nobody asked for a while, and when its
socket was removed.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import io
import json
import os
import select
import selectors
import signal
import socket
import stat
import struct
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from guideway.kit.files import locked
from guideway.kit.process import last_words, open_log, spawn_detached, start_time, terminate
from guideway.kit.unix import short

PATIENCE = 60.0
"""Seconds that a server gets to import its module, and a client waits for an answer."""
IDLE = 900.0
"""Seconds without a request after which a server ends."""
LOOK = 15.0
"""Seconds between two looks at whether the socket is still there."""
REQUEST_TIMEOUT = 5.0
REQUEST_LIMIT = 4 * 1024 * 1024


class ForkServerError(RuntimeError):
    """The server cannot be used; the caller starts cold instead."""


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a client asks. ``argv`` holds the arguments of ``MODULE.main``; ``env`` is the whole environment."""

    do: Literal["ping", "fork"]
    argv: tuple[str, ...] = ()
    env: dict[str, str] = {}
    log: str = "/dev/null"
    cwd: str = "/"


# The client's side.


class ForkServer:
    """A server that listens on *path*."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fork(self, argv: Sequence[str], env: Mapping[str, str], log: Path) -> tuple[int, str]:
        """Start ``MODULE.main(argv)`` in a fork, in our working folder; its pid and start time.

        Raises:
            ForkServerError: nobody listens, or the server refused.
        """
        request = {"do": "fork", "argv": [*argv], "env": {**env}, "log": str(log.absolute()), "cwd": _working_folder()}
        answer = self._ask(request)
        return int(answer["pid"]), str(answer["started"])

    def ping(self) -> int:
        """The pid of the server.

        Raises:
            ForkServerError: nobody listens, or a file that it imported has changed since.
        """
        answer = self._ask({"do": "ping"})
        if answer["stale"]:
            raise ForkServerError(f"{answer['stale']} has changed since it was imported")
        return int(answer["pid"])

    def stop(self) -> None:
        """End the server, if there is one. Its children go on."""
        with contextlib.suppress(ForkServerError):
            answer = self._ask({"do": "ping"})
            terminate(answer["pid"], answer["started"], REQUEST_TIMEOUT)

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            with socket.socket(socket.AF_UNIX) as connection, short(self.path) as name:
                connection.settimeout(PATIENCE)
                connection.connect(name)
                if _peer(connection) != os.geteuid():
                    raise ForkServerError(f"somebody else listens on {self.path}")
                connection.sendall(json.dumps(request).encode() + b"\n")
                answer: dict[str, Any] = json.loads(connection.makefile("rb").readline())
        except (OSError, ValueError) as error:
            raise ForkServerError(f"no answer on {self.path.name}: {error}") from None
        if "error" in answer:
            raise ForkServerError(answer["error"])
        return answer


def _working_folder() -> str:
    try:
        return str(Path.cwd())
    except FileNotFoundError:  # it was removed under us
        return "/"


def connect_or_start(path: Path, module: str, log: Path, *, idle: float = IDLE) -> ForkServer:
    """The fork server for *module* at *path*; started when nobody listens there, or when its code is out of date.

    Two callers start one server. The folder of *path* is made private to us.

    Raises:
        ForkServerError: it does not come up, for instance because the module cannot be imported.
    """
    server = ForkServer(path)
    try:
        _make_private(path.parent)
        with locked(path.with_suffix(".lock")):
            with contextlib.suppress(ForkServerError):
                server.ping()
                return server
            server.stop()
            _start(path, module, log, idle)
    except OSError as error:
        raise ForkServerError(f"the fork server of {module} cannot be started: {error}") from None
    return server


def _start(path: Path, module: str, log: Path, idle: float) -> None:
    """Start a server and wait until it listens."""
    hear, speak = os.pipe()
    try:
        argv = [sys.executable, "-P", "-m", "guideway.kit.forkserver", "--socket", str(path), "--preload", module]
        try:
            pid, started = spawn_detached(
                [*argv, "--idle", str(idle), "--ready", str(speak)], dict(os.environ), log, pass_fds=(speak,)
            )
        finally:
            os.close(speak)
        poll = select.poll()
        poll.register(hear, select.POLLIN)
        if not poll.poll(PATIENCE * 1000):
            terminate(pid, started, 0.0)
            raise ForkServerError(f"the fork server of {module} did not come up within {PATIENCE:.0f} s")
        if not os.read(hear, 1):
            raise ForkServerError(f"the fork server of {module} ended: {last_words(log)}")
    finally:
        os.close(hear)


# The server's side.


def main(argv: Sequence[str]) -> int:
    """Serve until told to stop; in a fork, do the work that was asked for. The exit code of either."""
    options = _parse(argv)
    before = set(os.environ)
    module = importlib.import_module(options.preload)
    work = module.main
    kept = {name: value for name, value in os.environ.items() if name not in before}
    server = _Server(options.socket, options.idle)
    os.chdir("/")
    gc.collect()
    gc.freeze()  # what is imported stays shared: the collector of a child never writes to it
    request = server.serve(options.ready)
    if request is None:
        return 0
    _become(request, kept)
    code: int = work(list(request.argv)) or 0
    return code


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="guideway.kit.forkserver", description="Fork what is imported already.")
    parser.add_argument("--socket", required=True, type=Path, help="where to listen")
    parser.add_argument("--preload", required=True, help="the module whose main() the forks call")
    parser.add_argument("--idle", type=float, default=IDLE, help="seconds without a request after which it ends")
    parser.add_argument("--ready", type=int, help="a descriptor that is told when it listens")
    return parser.parse_args(argv)


class _Server:
    """Listens, forks and reaps in one thread: a fork of a process with threads may inherit a lock that never opens."""

    def __init__(self, path: Path, idle: float) -> None:
        self._path, self._idle = path, idle
        self._stopping = False
        self._modules = _imported()

    def serve(self, ready: int | None) -> Request | None:
        """None when it ended; in a fork, the request to do."""
        with (
            self._listening() as listener,
            self._signals() as woken,
            selectors.DefaultSelector() as selector,
        ):
            selector.register(listener, selectors.EVENT_READ)
            selector.register(woken, selectors.EVENT_READ)
            if ready is not None:
                os.write(ready, b"1")
                os.close(ready)
            asked = time.monotonic()
            while not self._stopping and self._reachable() and time.monotonic() < asked + self._idle:
                for key, _ in selector.select(min(LOOK, self._idle)):
                    if key.fileobj is woken:
                        woken.recv(64)
                        _reap_children()
                        continue
                    asked = time.monotonic()
                    if request := self._accept(listener):
                        return request
        return None

    @contextlib.contextmanager
    def _listening(self) -> Iterator[socket.socket]:
        """Our socket, for nobody else; its name is removed when we end, never when a fork leaves."""
        owner = os.getpid()
        self._path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listener:
            mask = os.umask(0o177)
            with short(self._path) as name:
                listener.bind(name)
            os.umask(mask)
            listener.listen(64)
            self._name = self._identity()
            try:
                yield listener
            finally:
                if os.getpid() == owner and self._reachable():
                    self._path.unlink()

    def _reachable(self) -> bool:
        return self._identity() == self._name

    def _identity(self) -> tuple[int, int] | None:
        """What tells our socket from one that took its place: an inode's number alone may be used again."""
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns

    @contextlib.contextmanager
    def _signals(self) -> Iterator[socket.socket]:
        """A socket that wakes us on SIGTERM and when a child ends; a fork gets the usual signals back."""
        hear, wake = socket.socketpair()
        with hear, wake:
            wake.setblocking(False)
            signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
            signal.signal(signal.SIGTERM, self._stop)
            signal.signal(signal.SIGCHLD, lambda *_: None)
            try:
                yield hear
            finally:
                signal.set_wakeup_fd(-1)
                for number in (signal.SIGTERM, signal.SIGCHLD):
                    signal.signal(number, signal.SIG_DFL)

    def _stop(self, *_: object) -> None:
        self._stopping = True

    def _accept(self, listener: socket.socket) -> Request | None:
        """Answer one client; the request when we are the fork that it asked for."""
        with contextlib.suppress(OSError):  # a client that left, or came too slowly
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(REQUEST_TIMEOUT)
                if _peer(connection) != os.geteuid():
                    return None
                request = _read(connection)
                answer = self._answer(request) if request else {"error": "this is no request"}
                if answer is None:
                    return request
                connection.sendall(json.dumps(answer).encode() + b"\n")
        return None

    def _answer(self, request: Request) -> dict[str, Any] | None:
        """What to tell the client; None in the fork."""
        if request.do == "ping":
            stale = next((path for path, written in self._modules.items() if _written(path) != written), "")
            return {"pid": os.getpid(), "started": start_time(os.getpid()), "stale": stale}
        if (threads := len(list(Path("/proc/self/task").iterdir()))) > 1:
            return {"error": f"the fork server has {threads} threads, so forking it is not safe"}
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            pid = os.fork()
        except OSError as error:
            return {"error": f"cannot fork: {error.strerror}"}
        return {"pid": pid, "started": start_time(pid) or ""} if pid else None


def _read(connection: socket.socket) -> Request | None:
    try:
        return msgspec.convert(json.loads(connection.makefile("rb").readline(REQUEST_LIMIT)), Request)
    except ValueError:
        return None


def _become(request: Request, kept: Mapping[str, str]) -> None:
    """Be a process like one that was started cold: a session, a log, an environment and a folder of its own.

    *kept* is what the module set in the environment while it was imported: libraries read it later too.
    """
    os.setsid()
    quiet, log = os.open(os.devnull, os.O_RDONLY), open_log(Path(request.log))
    for source, target in ((quiet, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.close(quiet)
    os.close(log)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)
    os.environ.clear()
    os.environ.update({**kept, **request.env})
    os.chdir(request.cwd)
    sys.argv[1:] = request.argv


def _reap_children() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _imported() -> dict[str, int]:
    """Every file that was imported, and when it was written."""
    files = (getattr(module, "__file__", None) for module in tuple(sys.modules.values()))
    return {file: _written(file) for file in files if file}


def _written(path: str) -> int:
    try:
        return Path(path).stat().st_mtime_ns
    except OSError:
        return 0


# What both sides need.


def _peer(connection: socket.socket) -> int:
    """The user on the other side."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[1])


def _make_private(folder: Path) -> None:
    """Make *folder*, or make it ours alone.

    Raises:
        PermissionError: it belongs to somebody else.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.stat()
    if found.st_uid != os.geteuid():
        raise PermissionError(f"{folder} belongs to somebody else")
    if stat.S_IMODE(found.st_mode) & 0o077:
        folder.chmod(0o700)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
