"""Requests that come while the queue is full: each is looked at in its turn, a few in one turn of the loop.

A refusal costs as much as the way to the queue. Were all of a thousand refused in one turn of the loop, no answer of a
replica would be read meanwhile, and replicas would stand idle though clients wait: the more come, the fewer are served.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

from guideway.gateway.request import Request

TURN_SECONDS = 0.001


class Waiter(Protocol):
    """A connection with a request that is whole."""

    def go_on(self) -> None:
        """It is your turn: serve one request."""


class Turns:
    """Those of one worker who wait to be looked at. *clock* is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._line: deque[Waiter] = deque()
        self._turn: Waiter | None = None
        self._is_due = False

    def __len__(self) -> int:
        """How many wait."""
        return len(self._line)

    def defers(self, waiter: Waiter, request: Request) -> bool:
        """Must *request* wait for the turn of *waiter*? Then ``go_on`` will be called; once, if it is asked once."""
        if waiter is self._turn:
            self._turn = None
            return False
        if request.refusal is not None or request.way not in {"replica", "feedback"}:
            return False
        self._line.append(waiter)
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._go)
        return True

    def _go(self) -> None:
        """Look at some, and at the others after answers have been read."""
        until = self._clock() + TURN_SECONDS
        some, self._is_due = len(self._line), False
        while some and self._clock() < until:
            self._turn = waiter = self._line.popleft()
            waiter.go_on()
            some -= 1
        self._turn = None
        if self._line and not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._go)
