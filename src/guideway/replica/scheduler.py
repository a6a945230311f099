"""Who is computed next: requests join and leave a running batch between two steps."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Protocol

from guideway.replica.backend import Backend, Logits

PROMPT_BUDGET = 512
"""Prompt tokens read between two steps of those who run already, so that a crowd that joins does not silence them."""


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
    """First come, first served, as many at once as the backend has slots. Steps only when told to."""

    def __init__(self, backend: Backend, *, prompt_budget: int = PROMPT_BUDGET) -> None:
        self._backend, self._budget = backend, prompt_budget
        self._waiting: deque[Work] = deque()
        self._running: list[Work] = []
        self._tokens: list[int] = []

    @property
    def busy(self) -> bool:
        """Is anything left to do?"""
        return bool(self._waiting or self._running)

    @property
    def running(self) -> int:
        """Requests that hold a slot."""
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
        self._join()

    def advance(self) -> None:
        """Compute one token for everyone who runs."""
        if not self._running:
            return
        try:
            logits = self._backend.step(self._tokens)
        except Exception as error:
            works = list(self._running)
            self._clear()
            for work in works:
                work.fail(error)
            return
        over = [row for row, scores in enumerate(logits) if not self._hand(row, scores)]
        for row in reversed(over):
            self._leave(row)

    def abort(self, error: Exception) -> None:
        """Fail everyone, running and waiting."""
        works = [*self._running, *self._waiting]
        self._waiting.clear()
        self._clear()
        for work in works:
            work.fail(error)

    def _join(self) -> None:
        budget = self._budget
        while self._waiting and len(self._running) < self._backend.slots and budget > 0:
            work = self._waiting.popleft()
            budget -= len(work.prompt)
            try:
                logits = self._backend.join(work.prompt)
            except Exception as error:
                work.fail(error)
                continue
            self._running.append(work)
            self._tokens.append(0)
            if not self._hand(len(self._running) - 1, logits):
                self._leave(len(self._running) - 1)

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
        self._running.clear()
        self._tokens.clear()
