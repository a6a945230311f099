"""Runs batches beside live traffic: few lines at once, taken in turn from all batches that are under way."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from typing import Protocol

import msgspec

from guideway.core.errors import GuidewayError
from guideway.core.spec.gateway import Batches
from guideway.gateway.batches import lines, results
from guideway.gateway.batches.lines import Demands, Examined
from guideway.gateway.batches.results import Written
from guideway.gateway.batches.run import Attempt, Run, pause_after
from guideway.gateway.batches.sender import Answer, Broken, Unreachable
from guideway.gateway.batches.shelf import Shelf
from guideway.gateway.batches.tidy import DAY, remove_old
from guideway.gateway.log import log
from guideway.store import batches as rows
from guideway.store.batches import Batch, Counts, LineError, Status
from guideway.store.database import Database

TRIES = 5
PER_OWNER = 2
"""Batches of one tenant that run at once: the lines go in turn, so nobody gets all places by asking often."""
CANCEL_SECONDS = 10.0
FULL_SECONDS = 2.0
TIDY_SECONDS = 600.0
_WAIT = frozenset({429, 503})
_TRY_AGAIN = frozenset({500, 502, 504})


class Send(Protocol):
    """Asks the gateway."""

    async def send(self, key_id: str, path: str, body: bytes) -> Answer:
        """The answer to one request of a key."""


class Runner:
    """Takes every unfinished batch to its end. *wall* tells seconds since 1970, *clock* is monotonic.

    Everything but the reading and writing of large files happens on the event loop's thread, the rows too.
    """

    def __init__(
        self,
        database: Database,
        shelf: Shelf,
        options: Batches,
        body_limit: int,
        sender: Send,
        *,
        wall: Callable[[], float],
        clock: Callable[[], float],
        new_id: Callable[[str], str],
    ) -> None:
        self._database, self._shelf, self._options, self._body_limit = database, shelf, options, body_limit
        self._sender, self._wall, self._clock, self._new_id = sender, wall, clock, new_id
        self._runs: deque[Run] = deque()
        self._opening: asyncio.Task[None] | None = None
        self._background: set[asyncio.Task[None]] = set()
        self._woken = asyncio.Event()
        self._shunned: dict[str, float] = {}
        self._look_at_rows = True
        self._out = 0
        self._leaving = False
        self._tidy_at = 0.0

    # What others call.

    async def run(self) -> None:
        """Run until ``stop``."""
        while not self._leaving:
            self._woken.clear()
            self._tidy()
            self._open_next()
            for run in tuple(self._runs):
                self._move(run)
            self._start_lines()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._patience()):
                    await self._woken.wait()
        await self._leave()

    def stop(self) -> None:
        """Ask nothing more, save what came, and return from ``run``. What is under way is asked again next time."""
        self._leaving = True
        self._woken.set()

    def changed(self) -> None:
        """A batch was made or cancelled."""
        self._look_at_rows = True
        self._woken.set()

    def counts(self, batch: Batch) -> Counts:
        """How far a batch is."""
        return next((run.journal.counts for run in self._runs if run.batch.id == batch.id), batch.counts)

    # From rows to runs.

    def _open_next(self) -> None:
        """Examine or open one batch at a time; of each tenant only the oldest few are under way."""
        if not self._look_at_rows or self._opening is not None:
            return
        running = {run.batch.id: run for run in self._runs}
        owners = Counter(run.batch.owner for run in self._runs)
        self._shunned = {id: until for id, until in self._shunned.items() if until > self._clock()}
        for batch in self._unfinished():
            if batch.id in running:
                self._heed(running[batch.id], batch)
                continue
            over = self._wall() >= batch.expires or batch.status in {"validating", "cancelling"}
            if batch.id not in self._shunned and (over or owners[batch.owner] < PER_OWNER):
                self._opening = asyncio.create_task(self._open(batch))
                return
        self._look_at_rows = bool(self._shunned)

    def _unfinished(self) -> list[Batch]:
        try:
            return rows.unfinished(self._database)
        except GuidewayError as error:
            log("batches cannot be read; tried again", why=type(error).__name__)
            self._shunned[""] = self._clock() + FULL_SECONDS
            return []

    def _heed(self, run: Run, batch: Batch) -> None:
        if batch.status == "cancelling" and not run.ending:
            run.ending, run.deadline = "cancelled", self._clock() + CANCEL_SECONDS

    async def _open(self, batch: Batch) -> None:
        source = self._shelf.file(batch.input_file_id)
        try:
            if not source.exists():
                self._fail(batch, LineError("file_not_found", "the input file is gone"))
            elif batch.counts.total:
                run = await asyncio.to_thread(Run, batch, source, self._shelf.journal(batch.id), self._body_limit)
                self._runs.append(run)
                self._heed(run, self._reread(run))
            else:
                await self._examine(batch)
        except (OSError, GuidewayError) as error:
            log("batch cannot be opened; tried again", batch=batch.id, why=type(error).__name__)
            self._shunned[batch.id] = self._clock() + FULL_SECONDS
        finally:
            self._opening = None
            self._woken.set()

    async def _examine(self, batch: Batch) -> None:
        demands = Demands(batch.endpoint, batch.models, self._body_limit)

        def examine() -> Examined:
            with self._shelf.file(batch.input_file_id).open("rb") as file:
                return lines.examine(file, demands)

        found = await asyncio.to_thread(examine)
        now = self._wall()
        current = rows.batch(self._database, batch.owner, batch.id)
        if current is None or current.final:
            return
        if current.status == "cancelling":
            rows.put_batch(self._database, current.reached("cancelled", now))
        elif found.errors:
            self._fail(current, *found.errors)
        else:
            ready = msgspec.structs.replace(current, counts=Counts(found.total), model=found.model)
            rows.put_batch(self._database, ready.reached("in_progress", now))

    def _fail(self, batch: Batch, *errors: LineError) -> None:
        failed = msgspec.structs.replace(batch, errors=errors)
        rows.put_batch(self._database, failed.reached("failed", self._wall()))

    # Lines.

    def _start_lines(self) -> None:
        """Take lines in turn from all runs while there are places."""
        now, idle = self._clock(), 0
        while self._out < self._options.concurrent and idle < len(self._runs):
            run = self._runs[0]
            self._runs.rotate(-1)
            attempt = run.take(now)
            if attempt is None:
                idle += 1
                continue
            idle = 0
            self._out += 1
            task = asyncio.create_task(self._ask(run, attempt))
            run.tasks.add(task)
            task.add_done_callback(functools.partial(self._asked, run))

    def _asked(self, run: Run, task: asyncio.Task[None]) -> None:
        self._out -= 1
        run.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log("line of a batch lost", batch=run.batch.id, why=type(error).__name__)
            run.lost = True
        self._woken.set()

    async def _ask(self, run: Run, attempt: Attempt) -> None:
        try:
            line = run.read(attempt)
        except ValueError:
            run.add(results.failed(attempt.number, "", self._new_id("batch_req_"), "invalid_line", "the line changed"))
            return
        try:
            answer = await self._sender.send(run.batch.key, run.batch.endpoint, bytes(line.body))
        except Unreachable:
            run.pause(self._clock())
            run.again(attempt, self._clock())
        except Broken:
            run.again(attempt, self._clock() + pause_after(attempt.tries))
        else:
            self._heard(run, attempt, line.custom_id, answer)

    def _heard(self, run: Run, attempt: Attempt, custom_id: str, answer: Answer) -> None:
        now = self._clock()
        if answer.status in _WAIT:
            run.pause(now, answer.retry_after)
            run.again(attempt, now)
            return
        run.heard()
        if answer.status in _TRY_AGAIN and attempt.tries + 1 < TRIES:
            run.again(attempt, now + pause_after(attempt.tries))
            return
        run.add(results.answered(attempt.number, custom_id, self._new_id("batch_req_"), answer))

    # The way of a run to its end.

    def _move(self, run: Run) -> None:
        if run.unsaved and run.saving is None:
            run.saving = asyncio.create_task(self._save(run))
        if run.lost:
            self._shunned[run.batch.id] = self._clock() + FULL_SECONDS
            self._forget(run)
            return
        if run.all_out and run.idle and not run.ending:
            run.ending = "completed"
        elif self._wall() >= run.batch.expires and not run.ending:
            run.ending, run.deadline = "expired", self._clock()
        if run.ending and run.deadline <= self._clock():
            for task in run.tasks:
                task.cancel()
        if run.ending and run.idle and not run.finishing:
            run.finishing = True
            self._in_background(self._finish(run, run.ending))

    async def _save(self, run: Run) -> None:
        try:
            await run.save()
        except OSError as error:
            log("answers of a batch cannot be written; tried again", batch=run.batch.id, why=error.strerror)
            await asyncio.sleep(FULL_SECONDS)
        finally:
            run.saving = None
            self._woken.set()

    async def _finish(self, run: Run, status: Status) -> None:
        """Write the files, then the rows: until those are there, nothing of it is visible."""
        try:
            batch = self._reread(run)
            if status == "completed":
                batch = batch.reached("finalizing", self._wall())
                rows.put_batch(self._database, batch)
            written = await asyncio.to_thread(
                results.write_files,
                self._shelf,
                run.journal,
                run.source,
                self._body_limit,
                status=status,
                new_id=self._new_id,
            )
            self._close(run, status, written)
        except (OSError, GuidewayError) as error:
            log("results of a batch cannot be written; tried again", batch=run.batch.id, why=type(error).__name__)
            await asyncio.sleep(FULL_SECONDS)
            run.finishing = False
        self._woken.set()

    def _close(self, run: Run, status: Status, written: Written) -> None:
        batch = self._reread(run)
        keep = batch.output_seconds or self._options.days * DAY
        ended, made = results.ended(batch, status, run.journal.counts, written, now=self._wall(), keep=keep)
        rows.put_batch(self._database, ended, made)
        self._forget(run)
        self._shelf.journal(batch.id).unlink(missing_ok=True)
        log("batch ended", batch=batch.id, status=ended.status, completed=ended.counts.completed)

    def _reread(self, run: Run) -> Batch:
        return rows.batch(self._database, run.batch.owner, run.batch.id) or run.batch

    def _forget(self, run: Run) -> None:
        """Let go of a run; if its batch is not at its end it is opened anew."""
        if not run.idle:
            return
        self._runs.remove(run)
        run.close()
        self._look_at_rows = True
        self._woken.set()

    # Time.

    def _patience(self) -> float:
        """Seconds until something is due."""
        now = self._clock()
        waits = [60.0, *(until - now for until in self._shunned.values())]
        for run in self._runs:
            waits += [run.batch.expires - self._wall()] if not run.ending else []
            waits += [run.deadline - now] if run.tasks else []
            due = run.due()
            waits += [due - now] if due is not None and self._out < self._options.concurrent else []
        return max(0.001, min(waits))

    def _tidy(self) -> None:
        """Now and then, remove what is older than it may become."""
        if self._clock() < self._tidy_at:
            return
        self._tidy_at = self._clock() + TIDY_SECONDS
        self._look_at_rows = True
        try:
            remove_old(self._database, self._shelf, self._options.days, self._wall())
        except (OSError, GuidewayError) as error:
            log("old files cannot be removed", why=type(error).__name__)

    def _in_background(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _leave(self) -> None:
        tasks = [task for run in self._runs for task in run.tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for run in self._runs:
            with contextlib.suppress(OSError):
                if run.saving is not None:
                    await run.saving
                if run.unsaved:
                    await run.save()
        ends = [task for task in (*self._background, self._opening) if task is not None]
        await asyncio.gather(*ends, return_exceptions=True)
        for run in self._runs:
            run.close()
        self._runs.clear()
