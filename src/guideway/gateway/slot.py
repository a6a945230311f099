"""The processes of a gateway as its parent sees them: workers on listening sockets, and companions beside them."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

START_SECONDS = 30.0
DRAIN_SECONDS = 12.0
QUICK_SECONDS = 5.0
BACKOFF_SECONDS = (0.05, 5.0)
KILLED_SECONDS = 0.1
"""The longest pause after a companion that somebody killed: it is not what makes it die, and clients wait for it."""


class Child:
    """A process of ours. ``control`` becomes readable when it is ready, and again when it is gone.

    ``deadline`` is when it is killed unless it is ready, or gone, by then. ``lingers`` is the number of seconds for
    which it goes on before it drains when it is asked to leave, as it says itself.
    """

    def __init__(self, argv: Sequence[str], now: float, *, passed: tuple[int, ...] = ()) -> None:
        self.control, theirs = socket.socketpair()
        self.started, self.deadline = now, now + START_SECONDS
        self.ready, self.lingers = False, 0
        fds = (theirs.fileno(), *passed)
        whole = [sys.executable, "-P", *(part.replace("{control}", str(fds[0])) for part in argv)]
        with theirs:
            self.process = subprocess.Popen(whole, pass_fds=fds, stdin=subprocess.DEVNULL)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def hear(self) -> bool:
        """Read what it says. False: it is gone."""
        with contextlib.suppress(ConnectionError):
            if said := self.control.recv(1):
                self.ready, self.lingers, self.deadline = True, said[0], float("inf")
                return True
        return False

    def leave(self, now: float) -> None:
        """Ask it to let balancers know, to drain, and to go."""
        self.deadline = now + self.lingers + DRAIN_SECONDS
        self.process.terminate()

    def make_way(self, now: float) -> None:
        """Ask it to drain and to go at once: another one serves its socket."""
        self.deadline = now + DRAIN_SECONDS
        self.process.send_signal(signal.SIGUSR1)

    def go(self) -> None:
        """Tell one that stands by that its time has come."""
        self.deadline = float("inf")
        with contextlib.suppress(OSError):
            self.control.send(b"G")

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


def worker(settings: Path, listening: socket.socket, number: int, now: float) -> Child:
    """A process that serves *listening*, the socket with this *number*."""
    fd = listening.fileno()
    argv = ["-m", "guideway.gateway.worker", "--settings", str(settings), "--slot", str(number)]
    return Child([*argv, "--socket", str(fd), "--control", "{control}"], now, passed=(fd,))


def companion(module: str, settings: Path, now: float, *, stand_by: bool = False) -> Child:
    """A process that runs *module* beside the workers; it counts as ready at once, for no client waits for it.

    On *stand_by* it loads what it needs, says that it is ready, and waits until it is told to go.
    """
    waits = ("--stand-by",) if stand_by else ()
    argv = ("-m", "guideway.gateway.companion", "--control", "{control}", *waits, module, "--settings", str(settings))
    child = Child(argv, now)
    if not stand_by:
        child.ready, child.deadline = True, float("inf")
    return child


class Seat:
    """The place of one companion: who sits there now, who is to follow, and when the next one may after it died."""

    def __init__(self, module: str) -> None:
        self.module = module
        self.current: Child | None = None
        self.successor: Child | None = None
        self.renew = False
        self.start_at = 0.0
        self._quick_deaths = 0

    @property
    def companions(self) -> list[Child]:
        """Those that run."""
        return [child for child in (self.current, self.successor) if child]

    def due(self, now: float) -> bool:
        """Is it time to start somebody?"""
        wanting = self.current is None or self.renew
        return wanting and self.successor is None and self.start_at <= now

    def take(self, child: Child) -> None:
        """*child* was started for this place: at once, or as the successor of whoever sits there."""
        if self.current is None:
            self.current, self.renew = child, False
        else:
            self.successor = child

    def empty(self, now: float) -> None:
        """Nobody is wanted here."""
        self.renew = False
        if self.current and self.current.deadline == float("inf"):
            self.current.leave(now)
        if self.successor:
            self.successor.kill()

    def settle(self, now: float) -> None:
        """Let a successor that is ready have the place: as soon as it is free, for both cannot hold it."""
        if self.successor is None or not self.successor.ready:
            return
        if self.current is None:
            self.current, self.successor, self.renew = self.successor, None, False
            self.current.go()
        elif self.current.deadline == float("inf"):
            self.current.leave(now)

    def died(self, child: Child, now: float, status: int) -> None:
        """*child* is gone, with the exit *status*. After quick deaths the next one waits longer and longer."""
        if child is self.successor:
            self.successor = None
        else:
            self.current = None
        quick = now - child.started < QUICK_SECONDS
        self._quick_deaths = self._quick_deaths + 1 if quick else 0
        pause = _pause(self._quick_deaths)
        self.start_at = now + (min(pause, KILLED_SECONDS) if status == -signal.SIGKILL else pause)


def _pause(quick_deaths: int) -> float:
    first, longest = BACKOFF_SECONDS
    return min(first * 2.0 ** min(quick_deaths, 20), longest) if quick_deaths else 0.0


class Slot:
    """A listening socket, and the worker that serves it."""

    def __init__(self, listening: socket.socket, number: int = 0) -> None:
        self.listening, self.number = listening, number
        self.current: Child | None = None
        self.start_at = 0.0
        self._quick_deaths = 0

    def died(self, worker: Child, now: float) -> None:
        """*worker* is gone. After quick deaths the next one waits longer and longer."""
        self.current = None
        quick = now - worker.started < QUICK_SECONDS
        self._quick_deaths = self._quick_deaths + 1 if quick else 0
        self.start_at = now + _pause(self._quick_deaths)
