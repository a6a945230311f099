"""The parent: keeps the listening sockets, so that no worker that comes or goes loses a connection."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from guideway.gateway.log import log
from guideway.gateway.slot import Child, Seat, Slot, companion, worker
from guideway.kit.files import write_atomic
from guideway.kit.process import start_time

PATIENCE_SECONDS = 1.0


class Parent:
    """Starts, watches and replaces the workers of one gateway, one for each of *sockets*, and its *companions*.

    *settings* is the file that all of them read; the state of the gateway is told in a file beside it. Companions
    are named by their modules; they leave after the workers, which need them to drain.
    """

    def __init__(self, settings: Path, sockets: list[socket.socket], companions: Sequence[str] = ()) -> None:
        self.port: int = sockets[0].getsockname()[1]
        self._settings = settings
        self._state = settings.with_name(settings.name + ".state")
        self._slots = [Slot(one, number) for number, one in enumerate(sockets)]
        self._seats = [Seat(module) for module in companions]
        self._leaving: list[Child] = []
        self._to_replace: list[Slot] = []
        self._stopping = False
        self._told: list[int] = []
        self._selector = selectors.DefaultSelector()

    def run(self) -> None:
        """Run until a signal ends it and the last worker has left."""
        with _signals() as signals, self._selector:
            self._selector.register(signals, selectors.EVENT_READ)
            while not self._stopping or self._workers() or self._companions():
                self._start_what_is_due(time.monotonic())
                self._listen(signals)
                self._end_overdue(time.monotonic())
                self._tell()
        self._state.unlink(missing_ok=True)
        log("gateway stopped", port=self.port)

    def _workers(self) -> list[Child]:
        return [worker for slot in self._slots for worker in slot.workers] + self._leaving

    def _companions(self) -> list[Child]:
        return [seat.current for seat in self._seats if seat.current]

    # Starting.

    def _start_what_is_due(self, now: float) -> None:
        if self._stopping:
            self._dismiss(now)
            return
        for seat in self._seats:
            if not seat.current and seat.start_at <= now:
                self._start_companion(seat, now)
        for slot in self._slots:
            if not slot.workers and slot.start_at <= now:
                slot.current = self._start(slot, now)
        if self._to_replace and not any(slot.successor for slot in self._slots):
            slot = self._to_replace.pop(0)
            slot.successor = self._start(slot, now) if slot.current else None

    def _start(self, slot: Slot, now: float) -> Child | None:
        try:
            child = worker(self._settings, slot.listening, slot.number, now)
        except OSError as error:
            log("worker cannot be started", why=error.strerror)
            slot.start_at = now + PATIENCE_SECONDS
            return None
        self._selector.register(child.control, selectors.EVENT_READ, (slot, child))
        return child

    def _start_companion(self, seat: Seat, now: float) -> None:
        try:
            seat.current = companion(seat.module, self._settings, now)
        except OSError as error:
            log("companion cannot be started", module=seat.module, why=error.strerror)
            seat.start_at = now + PATIENCE_SECONDS
            return
        self._selector.register(seat.current.control, selectors.EVENT_READ, (seat, seat.current))

    def _dismiss(self, now: float) -> None:
        """Send the companions home once the last worker has left."""
        for one in self._companions():
            if not self._workers() and one.deadline == float("inf"):
                one.leave(now)

    # Listening to signals and workers.

    def _listen(self, signals: socket.socket) -> None:
        due = [slot.start_at for slot in self._slots if not slot.workers and not self._stopping]
        due += [seat.start_at for seat in self._seats if not seat.current and not self._stopping]
        due += [child.deadline for child in self._workers() + self._companions()]
        patience = min(due, default=0.0) - time.monotonic()
        for key, _ in self._selector.select(max(0.0, min(patience, PATIENCE_SECONDS))):
            if key.data is None:
                self._signalled(signals.recv(64))
            elif isinstance(key.data[0], Seat):
                self._companion_died(*key.data)
            else:
                self._heard(*key.data)

    def _signalled(self, numbers: bytes) -> None:
        for number in numbers:
            if number != signal.SIGHUP:
                self._stop()
            elif not self._stopping:
                self._to_replace = list(self._slots)

    def _stop(self) -> None:
        """Let the workers drain; asked again, end them."""
        now = time.monotonic()
        for one in self._companions() if self._stopping else []:
            one.kill()
        for child in self._workers():
            if self._stopping:
                child.kill()
            elif child not in self._leaving:
                child.leave(now)
        self._stopping = True
        for slot in self._slots:
            slot.listening.close()

    def _heard(self, slot: Slot, worker: Child) -> None:
        if worker.hear():
            if worker is slot.successor and (old := slot.succeed()):
                old.make_way(time.monotonic())
                self._leaving.append(old)
            return
        self._selector.unregister(worker.control)
        status = worker.bury()
        if worker in self._leaving:
            self._leaving.remove(worker)
        else:
            slot.died(worker, time.monotonic())
            if not self._stopping:
                log("worker died", worker=worker.pid, status=status)

    def _companion_died(self, seat: Seat, child: Child) -> None:
        self._selector.unregister(child.control)
        status = child.bury()
        seat.died(time.monotonic(), status)
        if not self._stopping:
            log("companion died", module=seat.module, companion=child.pid, status=status)

    def _end_overdue(self, now: float) -> None:
        for child in self._workers() + self._companions():
            if child.deadline <= now:
                log("process killed: it did not start or end in time", process=child.pid)
                child.deadline = now + PATIENCE_SECONDS
                child.kill()

    # Telling others.

    def _tell(self) -> None:
        """Write the state file whenever all sockets are served, by other workers than before."""
        serving = [slot.current.pid for slot in self._slots if slot.current and slot.current.ready]
        if len(serving) < len(self._slots) or serving == self._told or self._stopping:
            return
        pid = os.getpid()
        state = {"pid": pid, "started": start_time(pid), "port": self.port, "workers": serving}
        write_atomic(self._state, json.dumps(state).encode())
        log("gateway serves", port=self.port, workers=len(serving))
        self._told = serving


@contextlib.contextmanager
def _signals() -> Iterator[socket.socket]:
    """A socket from which the numbers of SIGTERM, SIGINT and SIGHUP can be read."""
    hear, wake = socket.socketpair()
    with hear, wake:
        wake.setblocking(False)
        before = signal.set_wakeup_fd(wake.fileno())
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: None)
        try:
            yield hear
        finally:
            signal.set_wakeup_fd(before)
