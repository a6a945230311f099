"""Who is computed next: requests join and leave a running batch between two steps."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Protocol

from guideway.replica.backend import PIECE, Backend, Logits

PROMPT_BUDGET = 256
"""Prompt tokens between two steps of those who run already: neither a crowd nor a long prompt silences them."""


class Work(Protocol):
    """One request as the scheduler sees it. All methods run in the thread that steps.

    ``cancelled`` may be set by any thread; the slot is free at the next step.
    """

    prompt: Sequence[int]
    cancelled: bool

    def pick(self, logits: Logits) -> int:
        """Choose the next token from its scores."""

    def take(self, token: int) -> bool:
        """Accept a token; False when the answer is over."""

    def fail(self, error: Exception) -> None:
        """Learn that there will be no more tokens, and why."""


class Scheduler:
    """First come, first served, as many at once as the backend has slots. Steps only when told to.

    Prompts are read in pieces of *piece* tokens, as many between two steps as *prompt_budget* lets begin.
    """

    def __init__(self, backend: Backend, *, prompt_budget: int = PROMPT_BUDGET, piece: int = PIECE) -> None:
        self._backend, self._budget, self._piece = backend, prompt_budget, piece
        self._waiting: deque[Work] = deque()
        self._reading: Work | None = None
        self._read = 0
        self._prefix: list[int] = []
        self._running: list[Work] = []
        self._tokens: list[int] = []

    def learn(self, prefix: Sequence[int]) -> None:
        """Read *prefix* now, and for no prompt that begins with it again.

        It must be the release's own text, the same for every caller, and it is used whole or not at all. Nothing that
        a caller wrote is ever kept for the next one: how fast an answer begins would tell what others have asked.
        """
        self._backend.learn(prefix)
        self._prefix = list(prefix)

    @property
    def busy(self) -> bool:
        """Is anything left to do?"""
        return bool(self._waiting or self._reading or self._running)

    @property
    def running(self) -> int:
        """Requests that get a token at every step."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """Requests that wait for one."""
        return len(self._waiting)

    def add(self, work: Work) -> None:
        """Put *work* last in line."""
        self._waiting.append(work)

    def step(self) -> None:
        """Let the cancelled go, let the next join, then compute one token for everyone."""
        self.admit()
        self.advance()

    def admit(self) -> None:
        """Let the cancelled go, and the next join, who get their first token at once."""
        for row in reversed(range(len(self._running))):
            if self._running[row].cancelled:
                self._leave(row)
        if any(work.cancelled for work in self._waiting):
            self._waiting = deque(work for work in self._waiting if not work.cancelled)
        if self._reading is not None and self._reading.cancelled:
            self._drop()
        self._join()

    def advance(self) -> None:
        """Compute one token for everyone who runs."""
        if not self._running:
            return
        try:
            logits = self._backend.step(self._tokens)
        except Exception as error:
            works = list(self._running)
            if self._reading is not None:  # it had no part in this: it is read anew
                self._waiting.appendleft(self._reading)
            self._clear()
            for work in works:
                work.fail(error)
            return
        over = [row for row, scores in enumerate(logits) if not self._hand(row, scores)]
        for row in reversed(over):
            self._leave(row)

    def abort(self, error: Exception) -> None:
        """Fail everyone, running and waiting."""
        works = [*self._running, *([self._reading] if self._reading else ()), *self._waiting]
        self._waiting.clear()
        self._clear()
        for work in works:
            work.fail(error)

    def _join(self) -> None:
        budget = self._budget
        while budget > 0 and (work := self._next()) is not None:
            try:
                self._recall(work)
                piece = work.prompt[self._read : self._read + self._piece]
                budget -= len(piece)
                logits = self._read_on(work, piece)
            except Exception as error:
                self._drop()
                work.fail(error)
                continue
            if logits is not None:
                self._seat(work, logits)

    def _next(self) -> Work | None:
        """Whose prompt is read now; None: nobody waits, or there is no slot."""
        if self._reading is None and self._waiting and len(self._running) < self._backend.slots:
            self._reading, self._read = self._waiting.popleft(), 0
        return self._reading

    def _recall(self, work: Work) -> None:
        """Begin with the prefix if nothing is read yet; a token must be left, for its scores are needed."""
        length = len(self._prefix)
        if self._read == 0 < length < len(work.prompt) and list(work.prompt[:length]) == self._prefix:
            self._backend.recall()
            self._read = length

    def _read_on(self, work: Work, piece: Sequence[int]) -> Logits | None:
        """Read the next *piece* of a prompt; the scores of its next token once it is read to its end."""
        self._read += len(piece)
        if self._read < len(work.prompt):
            self._backend.read(piece)
            return None
        return self._backend.join(piece)

    def _seat(self, work: Work, logits: Logits) -> None:
        """Give *work*, whose prompt has become the last row, its first token."""
        self._reading = None
        self._running.append(work)
        self._tokens.append(0)
        if not self._hand(len(self._running) - 1, logits):
            self._leave(len(self._running) - 1)

    def _drop(self) -> None:
        self._backend.forget()
        self._reading = None

    def _hand(self, row: int, logits: Logits) -> bool:
        """Let the work in *row* choose its next token; False when it is over or broken."""
        work = self._running[row]
        try:
            self._tokens[row] = token = work.pick(logits)
            return work.take(token)
        except Exception as error:
            work.fail(error)
            return False

    def _leave(self, row: int) -> None:
        """Free *row* as the backend does: the last one takes its number."""
        self._backend.leave(row)
        work, token = self._running.pop(), self._tokens.pop()
        if row < len(self._running):
            self._running[row], self._tokens[row] = work, token

    def _clear(self) -> None:
        self._backend.reset()
        self._reading = None
        self._running.clear()
        self._tokens.clear()
