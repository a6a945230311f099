"""One listening socket and the worker processes that serve it, as the parent sees them."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from pathlib import Path

START_SECONDS = 30.0
DRAIN_SECONDS = 12.0
QUICK_SECONDS = 5.0
BACKOFF_SECONDS = (0.05, 5.0)


class Worker:
    """A worker process. ``control`` becomes readable when it is ready, and again when it is gone.

    ``deadline`` is when it is killed unless it is ready, or gone, by then.
    """

    def __init__(self, settings: Path, listening: socket.socket, now: float) -> None:
        self.control, theirs = socket.socketpair()
        self.started, self.deadline = now, now + START_SECONDS
        self.ready = False
        fds = (listening.fileno(), theirs.fileno())
        argv = [sys.executable, "-P", "-m", "guideway.gateway.worker", "--settings", str(settings)]
        argv += ["--socket", str(fds[0]), "--control", str(fds[1])]
        with theirs:
            self.process = subprocess.Popen(argv, pass_fds=fds, stdin=subprocess.DEVNULL)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def hear(self) -> bool:
        """Read what it says. False: it is gone."""
        with contextlib.suppress(ConnectionError):
            if self.control.recv(1):
                self.ready, self.deadline = True, float("inf")
                return True
        return False

    def leave(self, now: float) -> None:
        """Ask it to drain and to go."""
        self.deadline = now + DRAIN_SECONDS
        self.process.terminate()

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()

    def bury(self) -> int:
        """Collect its exit status once it is gone."""
        self.control.close()
        try:
            return self.process.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


class Slot:
    """A listening socket, the worker that serves it, and at times the one that is to follow."""

    def __init__(self, listening: socket.socket) -> None:
        self.listening = listening
        self.current: Worker | None = None
        self.successor: Worker | None = None
        self.start_at = 0.0
        self._quick_deaths = 0

    @property
    def workers(self) -> list[Worker]:
        """Those that run on this socket and were not asked to leave."""
        return [worker for worker in (self.current, self.successor) if worker]

    def died(self, worker: Worker, now: float) -> None:
        """*worker* is gone. After quick deaths the next one waits longer and longer."""
        if worker is self.successor:
            self.successor = None
        elif worker is self.current:
            self.current = None
        quick = now - worker.started < QUICK_SECONDS
        self._quick_deaths = self._quick_deaths + 1 if quick else 0
        first, longest = BACKOFF_SECONDS
        self.start_at = now + min(first * 2.0 ** min(self._quick_deaths, 20), longest) if quick else now

    def succeed(self) -> Worker | None:
        """The successor takes over; returns the one that is to leave."""
        old, self.current, self.successor = self.current, self.successor, None
        return old
