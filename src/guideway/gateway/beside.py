"""Work on long prompts and answers: beside the loop, two at a time, the tenants in turn, and only so much may wait.

Without a bound one client could fill the memory with bodies and keep all processors busy with them. What has begun
cannot be stopped, so no job that waits behind two others waits for more than those.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from guideway.gateway.admission import Admission
from guideway.gateway.errors import ApiError
from guideway.gateway.mishap import tell

AT_ONCE = 2
WAITING_BYTES = 32 * 1024 * 1024
"""What may wait or be worked on."""

Found = TypeVar("Found")


class Job(Generic[Found]):
    """One piece of work of the tenant *owner*. *done* hears the result, *failed* if it raised; nobody once dropped."""

    __slots__ = ("_beside", "_done", "_dropped", "_failed", "_work", "owner", "size")

    def __init__(
        self,
        beside: Beside,
        work: Callable[[], Found],
        done: Callable[[Found | ApiError], None],
        *,
        owner: str,
        size: int,
        failed: ApiError,
    ) -> None:
        self.owner, self.size = owner, size
        self._beside, self._work, self._done, self._failed = beside, work, done, failed
        self._dropped = False

    def admitted(self) -> None:
        """It is its turn."""
        if self._dropped:
            self._beside.ended(self)
            return
        self._beside.submit(self._work).add_done_callback(self._worked)

    def refused(self, error: ApiError) -> None:
        """It waited too long."""
        self._beside.forgotten(self)
        self._tell(error)

    def drop(self) -> None:
        """Nobody needs the result."""
        self._dropped = True
        self._beside.cancel(self)

    def _worked(self, worked: asyncio.Future[Found]) -> None:
        self._beside.ended(self)
        if worked.cancelled():
            return
        error = worked.exception()
        if isinstance(error, Exception) and not isinstance(error, ValueError):
            tell(error)
        self._tell(self._failed if error is not None else worked.result())

    def _tell(self, found: Found | ApiError) -> None:
        if not self._dropped:
            self._done(found)


class Beside:
    """The threads of one worker. At most *queue* jobs wait, for *wait* seconds; *clock* is monotonic, in seconds."""

    def __init__(self, queue: int, wait: float, clock: Callable[[], float]) -> None:
        self._gate = Admission(AT_ONCE, queue, wait, clock)
        self._threads: ThreadPoolExecutor | None = None
        self._bytes = 0

    def run(
        self,
        work: Callable[[], Found],
        done: Callable[[Found | ApiError], None],
        *,
        owner: str,
        size: int,
        failed: ApiError,
    ) -> Job[Found] | ApiError:
        """Have *work* on *size* bytes done, in its turn; *done* is called later, on the loop. An error: no room."""
        job = Job(self, work, done, owner=owner, size=size, failed=failed)
        if self._bytes and self._bytes + size > WAITING_BYTES:
            return self._gate.refusal
        entered = self._gate.enter(job)
        if isinstance(entered, ApiError):
            return entered
        self._bytes += size
        if entered:
            job.admitted()
        return job

    def expire(self, now: float) -> None:
        """Refuse those who have waited too long at *now*."""
        self._gate.expire(now)

    def close(self) -> None:
        """The worker leaves."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    # What jobs call.

    def submit(self, work: Callable[[], Found]) -> asyncio.Future[Found]:
        """Begin *work*."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(AT_ONCE, "beside")
        return asyncio.get_running_loop().run_in_executor(self._threads, work)

    def cancel(self, job: Job[Found]) -> None:
        """*job* waits no longer; nothing happens when it has begun."""
        if self._gate.waits(job):
            self._gate.cancel(job)
            self.forgotten(job)

    def forgotten(self, job: Job[Found]) -> None:
        """*job* never began."""
        self._bytes -= job.size

    def ended(self, job: Job[Found]) -> None:
        """*job* is over: the next one."""
        self._bytes -= job.size
        self._gate.leave()
