"""The way of one request there: past the limits, through cache and queue, to a replica.

Every step calls the next one, at once or when it has been waited for; none of them is a task. `attempt.py` holds what
is tried with replicas, `exchange.py` the way back.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from guideway.gateway import errors
from guideway.gateway.answer import Answer
from guideway.gateway.attempt import Asker, Attempt
from guideway.gateway.beside import Found, Job
from guideway.gateway.cache.flights import Seat
from guideway.gateway.cache.plan import Plan
from guideway.gateway.cache.stored import Stored
from guideway.gateway.corrections import Correction
from guideway.gateway.errors import ApiError
from guideway.gateway.fixed import fixed_answer
from guideway.gateway.guard import Unusual
from guideway.gateway.limits.key_lease import Reservation
from guideway.gateway.limits.meter import Waiting
from guideway.gateway.masking import FAILED
from guideway.gateway.plane import Plane
from guideway.gateway.prepare import Prepared
from guideway.gateway.record import Record
from guideway.gateway.reports import operation
from guideway.gateway.request import Peek, Request
from guideway.gateway.routing import ServingArm
from guideway.gateway.usage import Usage

if TYPE_CHECKING:
    from guideway.gateway.cache.remote import Look


class Client(Protocol):
    """The connection that a request came on."""

    def write(self, data: bytes) -> None:
        """Send *data*."""

    def reply(self, request: Request, error: ApiError, lines: bytes = b"") -> None:
        """Answer *request* with *error*; the exchange is over."""

    def finished(self, keep_alive: bool) -> None:
        """The exchange is over; without *keep_alive* the connection closes when all is sent."""

    def abort(self) -> None:
        """Cut the connection, so that a broken answer cannot be taken for a whole one."""


class Outward(ABC):
    """One request on its way to a replica. What is known already, and what cannot be answered, turns back before."""

    __slots__ = (
        "_admitted",
        "_answer",
        "_arm",
        "_attempt",
        "_client",
        "_job",
        "_look",
        "_over",
        "_plan",
        "_plane",
        "_prepared",
        "_queued",
        "_request",
        "_seat",
        "_wanted",
        "active",
        "owner",
        "record",
    )

    def __init__(self, plane: Plane, client: Client, request: Request, wanted: Peek, begun: float) -> None:
        self._plane, self._client, self._request, self._wanted = plane, client, request, wanted
        self.active = begun
        self.record = Record(request.path, begun, begun, request.key, wanted.model, wanted.stream is True)
        self.owner = request.owner
        self._arm: ServingArm | None = None
        self._prepared: Prepared | None = None
        self._plan: Plan | None = None
        self._seat: Seat | None = None
        self._look: Look | None = None
        self._job: Job[Any] | None = None
        self._attempt: Attempt | None = None
        self._answer: Answer | None = None
        self._queued = self._admitted = self._over = False

    # The way there, step by step.

    def start(self) -> None:
        """Assign the arm, and ask whether the key may."""
        plane, record = self._plane, self.record
        self._arm = arm = plane.assign(self._request, self._wanted, record)
        record.id = plane.new_id(arm, self.owner)
        if plane.traces is not None:
            record.trace = plane.traces.begin(
                self._request.headers.get(b"traceparent"), operation=operation(record.path), model=record.model
            )
        taken = plane.reserve(self._request, self._wanted, arm, self)
        if taken is None:
            record.free = True
            self._prepare()
        elif not isinstance(taken, Waiting):
            self.granted(taken)

    def granted(self, taken: Reservation | ApiError) -> bool:
        """What the limits say; False when the client has left meanwhile."""
        if self._over:
            return False
        try:
            if isinstance(taken, ApiError):
                self._fail(taken)
            else:
                self.record.reservation = taken
                self._prepare()
        except Exception as error:
            self.failed(error)
        return True

    def _prepare(self) -> None:
        """Guard and mask the prompt; a long one beside the loop, for it would keep others waiting."""
        arm, request = self._arm, self._request
        if arm is None:
            self._fail(errors.NO_REPLICA)
            return
        preparation, affinity = self._plane.preparation(arm)
        if len(request.body) <= preparation.quick:
            self._go_on(arm, preparation.prepare(request, self._wanted, affinity))
            return
        work = partial(preparation.prepare, request, self._wanted, affinity)
        self._beside(len(request.body), work, partial(self._go_on, arm), FAILED)

    def _beside(
        self,
        size: int,
        work: Callable[[], Found | ApiError],
        go_on: Callable[[Found | ApiError], None],
        failed: ApiError,
    ) -> None:
        """Do *work* on *size* bytes beside the loop, and *go_on* with what comes of it, or with why it was refused."""

        def done(found: Found | ApiError) -> None:
            self._job = None
            try:
                go_on(found)
            except Exception as error:
                self.failed(error)

        job = self._plane.beside.run(work, done, owner=self.owner, size=size, failed=failed)
        if isinstance(job, ApiError):
            self._fail(job)
        else:
            self._job = job

    def _go_on(self, arm: ServingArm, prepared: Prepared | ApiError) -> None:
        """Look whether the answer is known."""
        plane, record = self._plane, self.record
        if isinstance(prepared, ApiError):
            record.guarded = prepared.status != 429
            record.outlier = prepared.share if isinstance(prepared, Unusual) else None
            self._fail(prepared)
            return
        self._prepared = prepared
        record.masked, record.corrected = prepared.kinds, prepared.corrected
        record.outlier, record.flagged = prepared.weighed
        if plane.options.telemetry.prompts:
            record.prompt = prepared.asked.decode()
        if prepared.fixed is not None:
            self._correct(prepared.fixed)
            return
        self._plan = plan = plane.plan(arm, self._request, self._wanted, record, prepared)
        if not record.why_not:
            plane.watch(record, prepared)
        if plan is None or not plan.reads:
            record.cache = "bypass"
            self._enter()
            return
        record.cache = "miss"
        stored = plane.cache.get(plan)
        if stored is not None:
            self._replay(stored, "hit")
            return
        self._seat = seat = plane.cache.join(plan, self)
        if seat is None or seat.leads:
            self.lead()

    def _correct(self, correction: Correction) -> None:
        """Answer with what people wrote, and ask no model: so it says nothing of one, and is no unit of a rollout."""
        record, plane = self.record, self._plane
        record.why_not = "corrected"
        record.corrected, record.usage = {correction.name}, Usage(0, 0)
        id, now = record.id.decode(), int(plane.wall())
        text = correction.answer
        self._replay(fixed_answer(record.path, self._wanted, text, id=id, created=now), "corrected")

    def lead(self) -> None:
        """Nobody else asks the same: look into the shared store, then ask a replica."""
        plan = self._plan
        cache = self._plane.cache
        try:
            if plan is not None and cache.is_shared:
                self._look = cache.fetch(plan, self._seat, self._fetched)
            if self._look is None:
                self._enter()
        except Exception as error:
            self.failed(error)

    def _fetched(self, stored: Stored | None) -> None:
        self._look = None
        try:
            if stored is not None:
                self._seat = None
                self._replay(stored, "hit")
            else:
                self._enter()
        except Exception as error:
            self.failed(error)

    def landed(self, stored: Stored) -> None:
        """Somebody else asked the same, and here is the answer."""
        self._seat = None
        try:
            self._replay(stored, "shared")
        except Exception as error:
            self.failed(error)

    def _enter(self) -> None:
        """Wait for a place among those that run."""
        entered = self._plane.admission.enter(self, "batch" if self.record.batch else "live")
        if entered is True:
            self.admitted()
        elif entered is False:
            self._queued = True
        else:
            self._fail(entered)

    def admitted(self) -> None:
        """There is a place: to the replicas."""
        self._queued, self._admitted = False, True
        arm, prepared = self._arm, self._prepared
        assert arm is not None and prepared is not None
        if not arm.backends:
            awake = self._plane.awake(arm)
            if awake is None:
                self._fail(errors.NO_REPLICA)
                return
            arm = self._arm = awake
        self.active = self._plane.clock()  # it may have waited for a budget, an answer, or a place
        shadowing = self._plane.shadowing
        hears = self._hears()
        asker = hears if shadowing is None else shadowing.beside(hears, self._request, prepared)
        self._attempt = attempt = Attempt(self._plane, asker, self._request, arm, prepared)
        try:
            attempt.begin(self.active)
        except Exception as error:
            self.failed(error)

    def refused(self, error: ApiError) -> None:
        """It waited too long for a place."""
        self._queued = False
        self._fail(error)

    # What the way back does.

    @abstractmethod
    def _hears(self) -> Asker:
        """Whoever is to be given the answer."""

    @abstractmethod
    def _replay(self, stored: Stored, how: str) -> None:
        """Answer with what is known already."""

    @abstractmethod
    def _fail(self, error: ApiError) -> None:
        """Answer with *error*."""

    @abstractmethod
    def failed(self, error: Exception, told: ApiError = errors.INTERNAL) -> None:
        """What nobody foresaw went wrong."""
