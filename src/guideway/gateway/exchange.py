"""The way of one request: past the limits, through cache and queue, to a replica, and the answer back.

Every step calls the next one, at once or when it has been waited for; none of them is a task. `attempt.py` holds what
is tried with replicas, `answer.py` how an answer is passed on.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from guideway.gateway import errors, usage, wire
from guideway.gateway.answer import Answer
from guideway.gateway.attempt import Attempt
from guideway.gateway.beside import Found, Job
from guideway.gateway.cache.flights import Seat
from guideway.gateway.cache.plan import Plan
from guideway.gateway.cache.stored import Stored
from guideway.gateway.errors import ApiError
from guideway.gateway.limits.key_lease import Reservation
from guideway.gateway.limits.meter import Waiting
from guideway.gateway.masking import FAILED, LARGE
from guideway.gateway.mishap import tell
from guideway.gateway.opening import Opening, note
from guideway.gateway.plane import Plane
from guideway.gateway.prepare import Prepared, Rewritten, rewritten
from guideway.gateway.record import Record
from guideway.gateway.reports import INVALID, operation
from guideway.gateway.request import Peek, Request
from guideway.gateway.routing import ServingArm
from guideway.gateway.said import Said
from guideway.gateway.upstream import BODILESS, Head

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


class Exchange:
    """One request and its answer. Tells its client when it is over, and the plane what became of it."""

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
            self._fail(prepared)
            return
        self._prepared = prepared
        record.masked = prepared.kinds
        if plane.options.telemetry.prompts:
            record.prompt = prepared.asked.decode()
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
        asker = self if shadowing is None else shadowing.beside(self, self._request, prepared)
        self._attempt = attempt = Attempt(self._plane, asker, self._request, arm, prepared)
        try:
            attempt.begin(self.active)
        except Exception as error:
            self.failed(error)

    def refused(self, error: ApiError) -> None:
        """It waited too long for a place."""
        self._queued = False
        self._fail(error)

    # The way back.

    def received(self, head: Head, parts: list[bytes], done: bool, at: float) -> None:
        """A further piece of the answer, read *at*."""
        self.active = at
        answer = self._answer
        if answer is None:
            if done and not head.is_event_stream:
                self.whole(head, parts[0] if len(parts) == 1 else b"".join(parts), at)
                return
            prepared = self._prepared
            assert prepared is not None
            keeps = self._plan is not None and self._plan.keeps
            if head.is_event_stream and self._arm is not None and self._arm.terms.tokenizer:
                self.record.said = Said()
            if head.is_event_stream and not self.record.why_not:
                self.record.opening = Opening()
            self._answer = answer = Answer(self, head, self._request.version, prepared=prepared, keeps=keeps)
        answer.feed(parts, done, at)

    def whole(self, head: Head, body: bytes, at: float) -> None:
        """The answer is there, as nearly all are, in one piece."""
        record, prepared = self.record, self._prepared
        record.first = at
        told = usage.read(body)
        if told is not None and told.usage is not None:
            record.usage = told.usage
        elif head.status == 200:
            record.said = Said(body)
        if not record.why_not:
            note(record, told, body)
        elif told is not None and told.choices:
            record.finish = told.choices[0].finish_reason or ""
        self.keep(head, body)
        if prepared is None or prepared.passes(body, told):
            self._send(head, at, body)
        elif len(body) <= LARGE:
            try:
                found = rewritten(prepared, body)
            except ValueError:
                self._fail(errors.UPSTREAM_BROKE)
                return
            self._rewritten(head, at, found)
        else:
            work = partial(rewritten, prepared, body)
            self._beside(len(body), work, partial(self._rewritten, head, at), errors.UPSTREAM_BROKE)

    def _rewritten(self, head: Head, at: float, found: Rewritten | ApiError) -> None:
        """Answer with what became of the body."""
        if isinstance(found, ApiError):
            self._fail(found)
            return
        if found.stopped:
            self.record.guarded, self.record.kind = True, "answer"
        self._send(head, at, found.body)

    def _send(self, head: Head, at: float, body: bytes) -> None:
        """Answer with the whole *body*."""
        self._client.write(self.render(head, wire.length(len(body)), at) + body)
        self.over(head.status)

    def _replay(self, stored: Stored, how: str) -> None:
        """Answer with what is known already."""
        self.record.cache = how
        head = Head(stored.status, stored.content_type, len(stored.body))
        self._plan = None
        now = self.record.sent = self._plane.clock()
        self.received(head, [stored.body], True, now)

    def broken(self, error: ApiError) -> None:
        """No replica could answer, or the one that had begun broke off."""
        self._attempt = None
        self._spoil(error)

    @property
    def begun(self) -> bool:
        """Has the client been sent a part of the answer? Then no other replica can take over."""
        return self._answer is not None and self._answer.begun

    def again(self, arm: ServingArm) -> None:
        """Another replica begins anew, of *arm*: the answer of another release is not the one that others wait for."""
        self._answer = self.record.opening = None
        self.record.finish = ""
        if self._arm is None or arm.digest != self._arm.digest:
            self._arm, self._plan = arm, None
            self._leave_seat(0)

    # What the answer calls.

    @property
    def writer(self) -> Callable[[bytes], None]:
        """What sends bytes to the client."""
        return self._client.write

    def render(self, head: Head, framing: bytes, at: float, *, keep_alive: bool = True) -> bytes:
        """The head of the answer with the lines *framing*; *at*: when what it waited for was read."""
        plane, record, request = self._plane, self.record, self._request
        if plane.draining or not keep_alive:
            request.keep_alive = False
        record.ended = now = plane.clock()
        record.overhead = now - at + record.sent - record.begun
        return b"%b%b%b%b%b\r\n" % (
            head.opening or head.open(),
            framing if head.status not in BODILESS else b"",
            plane.date,
            self._own_lines(),
            wire.connection(request.keep_alive, request.version),
        )

    def keep(self, head: Head, body: bytes) -> None:
        """The answer as the replica gave it is whole: others may have it."""
        plan = self._plan
        if plan is not None:
            found = self.record.usage
            used = (found.prompt_tokens, found.completion_tokens) if found is not None else None
            self._plane.cache.answered(
                plan, self._seat, status=head.status, content_type=head.content_type, body=body, usage=used
            )
            self._seat = None

    def let_go(self) -> None:
        """Nothing more is wanted of the replica."""
        if self._attempt is not None:
            self._attempt.drop()

    def over(self, status: int) -> None:
        """The answer is out."""
        if self._answer is not None:
            self.record.ended = self._plane.clock()
        self._close(status)
        self._client.finished(self._request.keep_alive)

    def spoiled(self, error: ApiError) -> None:
        """The answer cannot be passed on."""
        if self._attempt is not None:
            self._attempt.drop()
            self._attempt = None
        self._spoil(error)

    def _own_lines(self) -> bytes:
        record = self.record
        return b"x-request-id: %b\r\n%b%bx-guideway-overhead-ms: %.3f\r\n" % (
            record.id,
            self._arm.line if self._arm is not None else b"",
            _TOLD.get(record.cache, b""),
            record.overhead * 1e3,
        )

    # The end.

    def pause(self) -> None:
        """The client reads slowly: stop reading from the replica, unless others wait for the same answer."""
        if self._attempt is not None and not (self._seat is not None and self._seat.awaited):
            self._attempt.pause()

    def resume(self) -> None:
        """The client reads again."""
        if self._attempt is not None:
            self._attempt.resume()

    def elsewhere(self, now: float) -> None:
        """It has waited long: if the replica stands still, ask another one."""
        if self._attempt is not None and not self.begun:
            self._attempt.elsewhere(now)

    def leave(self) -> None:
        """The client is gone: nobody needs the answer, the replica shall stop at once."""
        attempt, self._attempt = self._attempt, None
        try:
            if attempt is not None:
                attempt.drop()
        finally:
            self._close(499)

    def failed(self, error: Exception, told: ApiError = errors.INTERNAL) -> None:
        """What nobody foresaw went wrong: this request ends with *told*, and gives back what it holds."""
        tell(error, self.record.id)
        was_over = self._over
        try:
            if not was_over:
                self.spoiled(told)
        except Exception:
            was_over = True
        if was_over:
            self._client.abort()

    def end(self, error: ApiError) -> None:
        """Wait no longer: the replica is too slow, or the worker has to leave."""
        if self._attempt is not None and error is errors.UPSTREAM_SLOW:
            self._attempt.timed_out()
        self.spoiled(error)

    def _spoil(self, error: ApiError) -> None:
        answer = self._answer
        if answer is None or not answer.begun:
            self._fail(error)
            return
        self._close(error.status, error)
        farewell = answer.farewell(error)
        if farewell is None:
            self._client.abort()
            return
        self._client.write(farewell)
        self._client.finished(False)

    def _fail(self, error: ApiError) -> None:
        record = self.record
        record.overhead = max(record.sent - record.begun, 0.0)
        self._close(error.status, error)
        self._client.reply(self._request, error, self._own_lines())

    def _close(self, status: int, error: ApiError | None = None) -> None:
        """Give back what was taken, and tell what became of the request; once, and each whatever fails."""
        if self._over:
            return
        self._over = True
        plane, record = self._plane, self.record
        record.status, record.body_bytes = status, len(self._request.body)
        record.ended = record.ended or plane.clock()
        if error is not None:
            record.ended, record.error, record.kind = plane.clock(), error.code or INVALID, error.kind
        try:
            if self._job is not None:
                self._job.drop()
            if self._admitted:
                plane.admission.leave("batch" if record.batch else "live")
            elif self._queued:
                plane.admission.cancel(self)
        except Exception as fault:
            tell(fault, record.id)
        try:
            if self._look is not None:
                self._look.forget()
            if self._seat is not None:
                self._leave_seat(status)
        except Exception as fault:
            tell(fault, record.id)
        try:
            if record.said is None or not plane.counting.takes(record, self._arm, self._prepared):
                plane.reports.add(record)
        except Exception as fault:
            tell(fault, record.id)

    def _leave_seat(self, status: int) -> None:
        seat, self._seat = self._seat, None
        if seat is not None and status == 499:
            seat.leave()
        elif seat is not None:
            seat.fail()


_TOLD = {how: b"x-guideway-cache: %b\r\n" % how.encode() for how in ("hit", "miss", "shared")}
