"""One request and its answer: the way there is `outward.py`, how an answer is passed on is `answer.py`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from guideway.gateway import errors, usage, wire
from guideway.gateway.answer import Answer
from guideway.gateway.attempt import Asker
from guideway.gateway.cache.stored import Stored
from guideway.gateway.errors import ApiError
from guideway.gateway.guard import Unusual
from guideway.gateway.masking import LARGE
from guideway.gateway.mishap import tell
from guideway.gateway.opening import Opening, note
from guideway.gateway.outward import Outward
from guideway.gateway.prepare import Rewritten, rewritten
from guideway.gateway.reports import INVALID
from guideway.gateway.routing import ServingArm
from guideway.gateway.said import Said
from guideway.gateway.upstream import BODILESS, Head


class Exchange(Outward):
    """One request and its answer. Tells its client when it is over, and the plane what became of it."""

    __slots__ = ()

    def _hears(self) -> Asker:
        return self

    # The way back.

    def received(self, head: Head, parts: list[bytes], done: bool, at: float) -> None:
        """A further piece of the answer, read *at*."""
        self.active = at
        answer = self._answer
        if answer is None:
            if self._tells(head) and self._is_refused(head):
                return
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

    def _tells(self, head: Head) -> bool:
        """Does the answer tell how far off the request is? One that people wrote does not."""
        prepared = self._prepared
        if prepared is None or prepared.meant is None:
            return False
        return head.status == 200 and self.record.cache != "corrected"

    def _is_refused(self, head: Head) -> bool:
        """Judge the request by what its answer tells of it; True: it is refused, and nothing of the answer goes out."""
        record, prepared = self.record, self._prepared
        assert prepared is not None and prepared.meant is not None
        weighed = prepared.meant(head.outlier)
        if not isinstance(weighed, ApiError):
            record.outlier, record.flagged = weighed
            return False
        record.guarded = True
        record.outlier = weighed.share if isinstance(weighed, Unusual) else None
        self.spoiled(weighed)
        return True

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
        head = Head(stored.status, stored.content_type, len(stored.body), outlier=stored.outlier)
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
                plan,
                self._seat,
                status=head.status,
                content_type=head.content_type,
                body=body,
                usage=used,
                outlier=head.outlier,
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
        return b"x-request-id: %b\r\n%b%b%bx-guideway-overhead-ms: %.3f\r\n" % (
            record.id,
            self._arm.line if self._arm is not None else b"",
            _TOLD.get(record.cache, b""),
            b"x-guideway-outlier: %.6f\r\n" % record.outlier if record.flagged and record.outlier is not None else b"",
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


_TOLD = {how: b"x-guideway-cache: %b\r\n" % how.encode() for how in ("hit", "miss", "shared", "corrected")}
