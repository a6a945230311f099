"""Work in processes of their own, several at once: one that dies takes nothing with it.

A server process imports the module of the work once, and forks for each piece. Every process ends when we do.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterable
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, Protocol

import msgspec

from guideway.core.errors import GuidewayError
from guideway.pipeline.stages.threads import cores_of


class Reported(msgspec.Struct, frozen=True, tag="reported"):
    """A validation loss at one point of the work."""

    point: int
    loss: float


class Done(msgspec.Struct, frozen=True, tag="done"):
    """The work ran to its end, and this is what it found."""

    found: Any


class Died(msgspec.Struct, frozen=True, tag="died"):
    """The work failed, or its process was killed."""

    reason: str


Said = Reported | Done | Died
Report = Callable[[int, float], None]
Work = Callable[[Any, Report], Any]
"""A function of a module, given what is asked and a way to report."""


class Workers(Protocol):
    """Those who do pieces of work, several at once, wherever they are."""

    again: int
    """Pieces that were begun again because whoever did them was lost."""

    @property
    def busy(self) -> int:
        """How many pieces are worked on now."""

    @property
    def free(self) -> bool:
        """Is there room for one more?"""

    def start(self, number: int, asked: Any) -> None:
        """Start a piece of work under *number*. There must be room for it."""

    def hear(self) -> tuple[int, Said]:
        """Wait for the next thing that any of them says. After Done and Died its place is free."""

    def stop(self, number: int) -> None:
        """End a piece of work now, and free its place."""

    def close(self) -> None:
        """End all that is worked on."""


def free_slot(taken: Iterable[int]) -> int:
    """The first place that is not taken."""
    busy = set(taken)
    return next(number for number in itertools.count() if number not in busy)


class _Running(NamedTuple):
    process: Any
    voice: Connection
    slot: int


class Pool:
    """At most *size* pieces of *work* at once. Each gets its share of the cores, so that none waits for another."""

    again = 0
    """A process that dies here does so by its own work, and would again."""

    def __init__(self, work: Work, size: int) -> None:
        self._work, self._size = work, size
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([__name__, work.__module__])
        forkserver.ensure_running()  # it imports while we do something else
        self._running: dict[int, _Running] = {}

    @property
    def busy(self) -> int:
        """How many run now."""
        return len(self._running)

    @property
    def free(self) -> bool:
        """Is there room for one more?"""
        return self.busy < self._size

    def start(self, number: int, asked: Any) -> None:
        """Start a piece of work under *number*. There must be room for it."""
        slot = free_slot(one.slot for one in self._running.values())
        ours, theirs = self._context.Pipe(duplex=False)
        process = self._context.Process(
            target=_main, args=(theirs, self._work, asked, cores_of(slot, self._size)), daemon=True
        )
        process.start()
        theirs.close()
        self._running[number] = _Running(process, ours, slot)

    def hear(self) -> tuple[int, Said]:
        """Wait for the next thing that any of them says. After Done and Died its place is free."""
        by_voice = {one.voice: number for number, one in self._running.items()}
        number = min(by_voice[voice] for voice in wait(list(by_voice)))  # type: ignore[index]
        try:
            said: Said = self._running[number].voice.recv()
        except (EOFError, ConnectionResetError):
            process = self._running[number].process
            process.join()
            said = Died(_how(process.exitcode))
        if not isinstance(said, Reported):
            self.stop(number)
        return number, said

    def stop(self, number: int) -> None:
        """End a piece of work now, and free its place."""
        one = self._running.pop(number)
        one.process.kill()
        one.process.join()
        one.voice.close()

    def close(self) -> None:
        """End all that run."""
        for number in list(self._running):
            self.stop(number)


def _main(voice: Connection, work: Work, asked: Any, cores: set[int]) -> None:
    """What the process does."""
    _end_with_parent()
    os.sched_setaffinity(0, cores)
    with contextlib.suppress(OSError):  # when memory runs out, this process goes first, and nobody with it
        Path("/proc/self/oom_score_adj").write_text("800", encoding="ascii")
    voice.send(outcome(work, asked, lambda point, loss: voice.send(Reported(point, loss))))


def outcome(work: Work, asked: Any, report: Report) -> Done | Died:
    """Do the work; what it found, or why it failed. The trace of a failure is in the log."""
    try:
        return Done(work(asked, report))
    except Exception as error:
        traceback.print_exc()
        return Died(_why(error))


def _why(error: Exception) -> str:
    if isinstance(error, GuidewayError):
        return error.what
    if isinstance(error, MemoryError):
        return "not enough memory"
    first = str(error).splitlines()[0] if str(error) else ""
    return f"{type(error).__name__}: {first}"


def _how(status: int) -> str:
    """How a process ended that said nothing."""
    if status == -signal.SIGKILL:
        return "it was killed; perhaps memory ran out"
    return f"it ended by signal {-status}" if status < 0 else f"it ended with status {status}"


def _end_with_parent() -> None:
    """Work whose stage was killed must not go on."""
    parent = multiprocessing.parent_process()
    assert parent

    def watch() -> NoReturn:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
