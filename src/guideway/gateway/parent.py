"""The parent: keeps the listening sockets, so that no worker that comes or goes loses a connection.

Settings that are wanted anew are taken up beside those that serve: workers with the new ones start, and only when all
of them are ready the old ones leave. What cannot be taken up leaves everything as it was, and the state file says why.
"""

from __future__ import annotations

import contextlib
import math
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence

import msgspec

from guideway.core.errors import GuidewayError, SpecError
from guideway.core.route import GatewaySettings
from guideway.gateway.generation import Generation, check, effective, generation_of, sockets_for
from guideway.gateway.listen import steer, steer_no_more
from guideway.gateway.log import log
from guideway.gateway.settings import Versions, read_settings, same
from guideway.gateway.slot import START_SECONDS, Child, Seat, Slot, companion, worker
from guideway.kit.files import write_atomic
from guideway.kit.process import start_time

PATIENCE_SECONDS = 1.0
STEER_SECONDS = 1.0
"""How long a socket that is to go is still served after new connections are steered away: some are on their way."""
EXPLAINER = "guideway.pipeline.explainer"
"""What explains, by name: it knows models, and the gateway does not."""
READERS = ("guideway.gateway.admin", "guideway.gateway.batches", EXPLAINER)
"""The companions that read more of the settings than where they lie, which never changes."""


class Refusal(msgspec.Struct, frozen=True):
    """Settings that could not be taken up, by their generation, and why."""

    generation: int
    why: str


class Told(msgspec.Struct, frozen=True):
    """What the state file says: where and by whom ``generation`` is served, what is taken up, what was refused."""

    port: int
    workers: tuple[int, ...]
    generation: int
    taking: int | None
    refused: Refusal | None


class Parent:
    """Starts, watches and replaces the workers of one gateway, one for each of *sockets*, and its *companions*.

    They read *settings* from a file of *versions*. *refused*: what is wanted could not even be started with.
    Companions are named by their modules; they leave after the workers, which need them to drain.
    """

    def __init__(
        self,
        versions: Versions,
        settings: GatewaySettings,
        sockets: list[socket.socket],
        companions: Sequence[str] = (),
        refused: Refusal | None = None,
    ) -> None:
        self._versions = versions
        self._serving = generation_of(settings, sockets, versions)
        self._coming: Generation | None = None
        self._refused = refused
        self._seats = [Seat(module) for module in companions]
        self._leaving: list[Child] = []
        self._later: list[tuple[float, Callable[[float], None]]] = []
        self._asked = self._stopping = False
        self._told: Told | None = None
        self._selector = selectors.DefaultSelector()

    @property
    def port(self) -> int:
        """Where clients connect."""
        return self._serving.port

    def run(self) -> None:
        """Run until a signal ends it and the last worker has left."""
        with _signals() as signals, self._selector:
            self._selector.register(signals, selectors.EVENT_READ)
            while not self._stopping or self._workers() or self._companions():
                self._start_what_is_due(time.monotonic())
                self._listen(signals)
                self._end_overdue(time.monotonic())
                self._tell()
        self._versions.state.unlink(missing_ok=True)
        log("gateway stopped", port=self.port)

    def _workers(self) -> list[Child]:
        coming = self._coming.workers if self._coming else []
        return self._serving.workers + coming + self._leaving

    def _companions(self) -> list[Child]:
        return [child for seat in self._seats for child in seat.companions]

    # Starting.

    def _start_what_is_due(self, now: float) -> None:
        for due, work in [one for one in self._later if one[0] <= now]:
            self._later.remove((due, work))
            work(now)
        if self._stopping:
            self._dismiss(now)
            return
        if self._asked and not self._later:
            self._take_up(now)
        for seat in self._seats:
            if not _wanted(seat, self._serving.settings):
                seat.empty(now)
                continue
            seat.settle(now)
            if seat.due(now):
                self._start_companion(seat, now)
        for slot in self._serving.slots:
            if not slot.current and slot.start_at <= now:
                self._start(self._serving, slot, now)
        if self._coming is not None:
            self._start_next(self._coming, now)

    def _start_next(self, coming: Generation, now: float) -> None:
        """One after the other: if the first cannot serve, none of the others has to try."""
        slot = next((slot for slot in coming.slots if not slot.current), None)
        if slot is None or len(coming.serving) < len(coming.workers):
            return
        self._start(coming, slot, now)
        if slot.current is None:
            self._refuse("no worker could be started with these settings", now)

    def _start(self, generation: Generation, slot: Slot, now: float) -> None:
        try:
            child = worker(generation.file, slot.listening, slot.number, now)
        except OSError as error:
            log("worker cannot be started", why=error.strerror)
            slot.start_at = now + PATIENCE_SECONDS
            return
        slot.current = child
        self._selector.register(child.control, selectors.EVENT_READ, (generation, slot, child))

    def _start_companion(self, seat: Seat, now: float) -> None:
        try:
            child = companion(seat.module, self._serving.file, now, stand_by=seat.current is not None)
        except OSError as error:
            log("companion cannot be started", module=seat.module, why=error.strerror)
            seat.start_at = now + PATIENCE_SECONDS
            return
        seat.take(child)
        self._selector.register(child.control, selectors.EVENT_READ, (seat, child))

    def _dismiss(self, now: float) -> None:
        """Send the companions home once the last worker has left."""
        for one in self._companions():
            if not self._workers() and one.deadline == float("inf"):
                one.leave(now)

    # Other settings.

    def _take_up(self, now: float) -> None:
        """Begin to serve with what is wanted, or only start workers anew if that is what serves."""
        self._asked = False
        serving, coming = self._serving, self._coming
        try:
            wanted = effective(read_settings(self._versions.wanted), serving.settings)
        except SpecError as error:
            self._say_refused(0, str(error))
            return
        if coming is not None and same(wanted, coming.settings):
            coming.settings = wanted
        elif coming is not None:
            self._coming, self._asked = None, True
            self._retire(coming, serving, now)
        elif same(wanted, serving.settings) and wanted.generation != serving.settings.generation:
            serving.settings, self._refused = wanted, None
        else:
            self._coming = self._prepared(wanted)

    def _prepared(self, wanted: GatewaySettings) -> Generation | None:
        serving = self._serving
        if wanted == serving.settings:
            return Generation(wanted, serving.file, serving.sockets)
        try:
            check(wanted, serving.settings)
            return generation_of(wanted, sockets_for(wanted, serving), self._versions)
        except (GuidewayError, OSError) as error:
            self._say_refused(wanted.generation, str(error))
            return None

    def _say_refused(self, generation: int, why: str) -> None:
        self._refused = Refusal(generation, why)
        log("settings refused", generation=generation, why=why)

    def _refuse(self, why: str, now: float) -> None:
        """Those that were to come cannot serve: everything stays as it is."""
        coming, self._coming = self._coming, None
        if coming is not None:
            self._say_refused(coming.settings.generation, why)
            self._retire(coming, self._serving, now)

    def _accept(self, coming: Generation, now: float) -> None:
        """They serve: from now on they are what is started again, and the others leave."""
        try:
            self._versions.accept(coming.settings)
        except OSError as error:
            self._refuse(f"the settings cannot be written down: {error.strerror}", now)
            return
        old, self._serving, self._coming, self._refused = self._serving, coming, None, None
        self._tell()
        self._retire(old, coming, now)
        for seat in self._seats:
            seat.renew |= seat.module in READERS and not same(old.settings, coming.settings)

    def _fall_back(self, why: str, now: float) -> bool:
        """Nobody could serve with what this gateway was started with: serve with what served last, if it is other."""
        old, served = self._serving, self._versions.served()
        if self._told or self._coming or self._refused or served is None or same(served, old.settings):
            return False
        try:
            check(served)
            self._serving = generation_of(served, sockets_for(served, old), self._versions)
        except (GuidewayError, OSError) as error:
            log("settings that served cannot be taken up", why=str(error))
            return False
        self._say_refused(old.settings.generation, why)
        self._retire(old, self._serving, now)
        return True

    def _retire(self, old: Generation, heir: Generation, now: float) -> None:
        """Let the workers of *old* leave. A socket that *heir* does not serve is closed, and who waits there is served.

        While the address stays, new connections are first steered away from such a socket.
        """
        kept = heir.sockets
        lost = [slot for slot in old.slots if slot.listening not in kept]
        last = [slot.current for slot in lost if slot.current and slot.current.ready and len(lost) < len(old.slots)]
        if last:
            steer(kept)
            self._later += [
                (now + STEER_SECONDS, lambda then: _make_way(last, then)),
                (now + 2 * STEER_SECONDS, lambda _: steer_no_more(kept)),
            ]
        for child in old.workers:
            self._leaving.append(child)
            if not child.ready:
                child.kill()
        _make_way([child for child in old.workers if child.ready and child not in last], now)
        for slot in lost:
            slot.listening.close()

    # Listening to signals and workers.

    def _listen(self, signals: socket.socket) -> None:
        patience = self._next_due() - time.monotonic()
        for key, _ in self._selector.select(max(0.0, min(patience, PATIENCE_SECONDS))):
            if key.data is None:
                self._signalled(signals.recv(64))
            elif isinstance(key.data[0], Seat):
                self._heard_companion(*key.data)
            else:
                self._heard(*key.data)

    def _next_due(self) -> float:
        """When something is to be done next though nobody says a word; a seat that stays empty waits for nothing."""
        due = [at for at, _ in self._later]
        due += [child.deadline for child in self._workers() + self._companions()]
        if not self._stopping:
            wanted = [seat for seat in self._seats if _wanted(seat, self._serving.settings)]
            due += [seat.start_at for seat in wanted if not seat.companions]
            due += [slot.start_at for slot in self._serving.slots if not slot.current]
        return min(due, default=math.inf)

    def _signalled(self, numbers: bytes) -> None:
        for number in numbers:
            if number != signal.SIGHUP:
                self._stop()
            elif not self._stopping:
                self._asked = True

    def _stop(self) -> None:
        """Let the workers drain; asked again, end them."""
        now = time.monotonic()
        for one in self._companions():
            if self._stopping or not one.ready:
                one.kill()
        if self._coming is not None:
            coming, self._coming = self._coming, None
            self._retire(coming, self._serving, now)
        for child in self._workers():
            if self._stopping:
                child.kill()
            elif child not in self._leaving:
                child.leave(now)
        self._stopping = True
        for slot in self._serving.slots:
            slot.listening.close()

    def _heard(self, generation: Generation, slot: Slot, worker: Child) -> None:
        now = time.monotonic()
        if worker.hear():
            if generation is self._coming and generation.ready:
                self._accept(generation, now)
            return
        self._selector.unregister(worker.control)
        status = worker.bury()
        if worker in self._leaving:
            self._leaving.remove(worker)
            return
        slot.died(worker, now)
        if self._stopping:
            return
        log("worker died", worker=worker.pid, status=status)
        why = f"a worker that was started with these settings {_ended(status, now - worker.started)}"
        if generation is self._coming:
            self._refuse(why, now)
        elif not worker.ready:
            self._fall_back(why, now)

    def _heard_companion(self, seat: Seat, child: Child) -> None:
        if child is seat.successor and child.hear():
            return
        self._selector.unregister(child.control)
        status = child.bury()
        if not self._stopping and (child is seat.successor or child.deadline == float("inf")):
            log("companion died", module=seat.module, companion=child.pid, status=status)
        seat.died(child, time.monotonic(), status)

    def _end_overdue(self, now: float) -> None:
        for child in self._workers() + self._companions():
            if child.deadline <= now:
                log("process killed: it did not start or end in time", process=child.pid)
                child.deadline = now + PATIENCE_SECONDS
                child.kill()

    # Telling others.

    def _tell(self) -> None:
        """Write the state file when all sockets are served and something of it is news."""
        serving, before = self._serving, self._told
        if self._stopping or not (serving.ready or before):
            return
        workers = tuple(serving.serving) if serving.ready or before is None else before.workers
        taking = self._coming.settings.generation if self._coming else None
        said = Told(self.port, workers, serving.settings.generation, taking, self._refused)
        if said == before:
            return
        if before is None:
            self._versions.accept(serving.settings)
        pid = os.getpid()
        state = {"pid": pid, "started": start_time(pid), **msgspec.structs.asdict(said)}
        write_atomic(self._versions.state, msgspec.json.encode(state))
        if before is None or workers != before.workers:
            log("gateway serves", port=self.port, workers=len(workers))
        self._told = said


def _wanted(seat: Seat, settings: GatewaySettings) -> bool:
    """Is somebody to sit there? Who explains only where that is asked for."""
    return seat.module != EXPLAINER or settings.options.explain is not None


def _make_way(workers: Sequence[Child], now: float) -> None:
    for one in workers:
        one.make_way(now)


def _ended(status: int, seconds: float) -> str:
    """How a worker ended that was never ready."""
    if seconds >= START_SECONDS:
        return f"was not ready after {START_SECONDS:.0f} s"
    return f"was killed (signal {-status})" if status < 0 else f"ended with exit status {status}"


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
