"""The parent: keeps the listening sockets, so that no worker that comes or goes loses a connection."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from guideway.gateway.log import log
from guideway.gateway.slot import Slot, Worker
from guideway.kit.files import write_atomic
from guideway.kit.process import start_time

PATIENCE_SECONDS = 1.0


class Parent:
    """Starts, watches and replaces the workers of one gateway, one for each of *sockets*.

    *settings* is the file that workers read; the state of the gateway is told in a file beside it.
    """

    def __init__(self, settings: Path, sockets: list[socket.socket]) -> None:
        self.port: int = sockets[0].getsockname()[1]
        self._settings = settings
        self._state = settings.with_name(settings.name + ".state")
        self._slots = [Slot(one) for one in sockets]
        self._leaving: list[Worker] = []
        self._to_replace: list[Slot] = []
        self._stopping = False
        self._told: list[int] = []
        self._selector = selectors.DefaultSelector()

    def run(self) -> None:
        """Run until a signal ends it and the last worker has left."""
        with _signals() as signals, self._selector:
            self._selector.register(signals, selectors.EVENT_READ)
            while not self._stopping or self._workers():
                self._start_what_is_due(time.monotonic())
                self._listen(signals)
                self._end_overdue(time.monotonic())
                self._tell()
        self._state.unlink(missing_ok=True)
        log("gateway stopped", port=self.port)

    def _workers(self) -> list[Worker]:
        return [worker for slot in self._slots for worker in slot.workers] + self._leaving

    # Starting.

    def _start_what_is_due(self, now: float) -> None:
        if self._stopping:
            return
        for slot in self._slots:
            if not slot.workers and slot.start_at <= now:
                slot.current = self._start(slot, now)
        if self._to_replace and not any(slot.successor for slot in self._slots):
            slot = self._to_replace.pop(0)
            slot.successor = self._start(slot, now) if slot.current else None

    def _start(self, slot: Slot, now: float) -> Worker | None:
        try:
            worker = Worker(self._settings, slot.listening, now)
        except OSError as error:
            log("worker cannot be started", why=error.strerror)
            slot.start_at = now + PATIENCE_SECONDS
            return None
        self._selector.register(worker.control, selectors.EVENT_READ, (slot, worker))
        return worker

    # Listening to signals and workers.

    def _listen(self, signals: socket.socket) -> None:
        due = [slot.start_at for slot in self._slots if not slot.workers and not self._stopping]
        due += [worker.deadline for worker in self._workers()]
        patience = min(due, default=0.0) - time.monotonic()
        for key, _ in self._selector.select(max(0.0, min(patience, PATIENCE_SECONDS))):
            if key.data is None:
                self._signalled(signals.recv(64))
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
        for worker in self._workers():
            if self._stopping:
                worker.kill()
            elif worker not in self._leaving:
                worker.leave(now)
        self._stopping = True
        for slot in self._slots:
            slot.listening.close()

    def _heard(self, slot: Slot, worker: Worker) -> None:
        if worker.hear():
            if worker is slot.successor and (old := slot.succeed()):
                old.leave(time.monotonic())
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

    def _end_overdue(self, now: float) -> None:
        for worker in self._workers():
            if worker.deadline <= now:
                log("worker killed: it did not start or end in time", worker=worker.pid)
                worker.deadline = float("inf")
                worker.kill()

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
