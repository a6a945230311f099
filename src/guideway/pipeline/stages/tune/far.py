"""Work on other machines: the face of ``Pool``, where whoever works may be lost without any fault of the work."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import msgspec

from guideway.pipeline.stages.tune.pool import Died, Done, Reported, Said, free_slot
from guideway.pipeline.worker import Broke, error_of


class Letter(msgspec.Struct, frozen=True):
    """What came of one piece of work; ``Broke`` is wrong with the machines, and ends all."""

    ticket: int
    said: Reported | Done | Died | Broke


class Lost(NamedTuple):
    """A worker that is gone, and why; ``again`` where its work may be begun again on another."""

    reason: str
    again: bool


class Hands(Protocol):
    """What is needed of a cluster. A ticket is never given twice."""

    def begin(self, ticket: int, slot: int, asked: Any) -> Any:
        """Begin a piece of work; what stands for it. *slot* is no other's that is worked on now."""

    def lost(self, tasks: Mapping[int, Any]) -> dict[int, Lost]:
        """Those of *tasks*, by their tickets, whose worker is gone. Does not wait."""

    def take(self) -> list[Letter]:
        """The letters that have come, in the order in which each worker wrote them; waits a moment for the first.

        All that a worker wrote before ``lost`` named it is among them.
        """

    def end(self, task: Any) -> None:
        """End a piece of work now."""


class _Task(NamedTuple):
    number: int
    slot: int
    asked: Any
    handle: Any
    losses: int
    """Workers that were lost over it."""


class FarPool:
    """At most *size* pieces of work at once, by *hands*; work whose worker is lost begins again *restarts* times."""

    def __init__(self, hands: Hands, size: int, restarts: int) -> None:
        self._hands, self._size, self._restarts = hands, size, restarts
        self._tasks: dict[int, _Task] = {}
        self._letters: deque[tuple[int, Said | Broke | Lost]] = deque()
        self._tickets = 0
        self.again = 0

    @property
    def busy(self) -> int:
        """How many pieces are worked on now."""
        return len(self._tasks)

    @property
    def free(self) -> bool:
        """Is there room for one more?"""
        return self.busy < self._size

    def start(self, number: int, asked: Any) -> None:
        """Start a piece of work under *number*. There must be room for it."""
        self._begin(number, asked, 0)

    def hear(self) -> tuple[int, Said]:
        """Wait for the next thing that any of them says. After Done and Died its place is free.

        Raises:
            GuidewayError: something is wrong with a machine that would spoil any work there.
        """
        while True:
            while self._letters:
                ticket, said = self._letters.popleft()
                heard = self._heard(ticket, said)
                if heard:
                    return heard
            lost = self._hands.lost({ticket: task.handle for ticket, task in self._tasks.items()})
            self._letters += [(letter.ticket, letter.said) for letter in self._hands.take()]
            self._letters += lost.items()

    def stop(self, number: int) -> None:
        """End a piece of work now, and free its place."""
        ticket = next(ticket for ticket, task in self._tasks.items() if task.number == number)
        self._hands.end(self._tasks.pop(ticket).handle)

    def close(self) -> None:
        """End all that is worked on."""
        for task in list(self._tasks.values()):
            self.stop(task.number)

    def _begin(self, number: int, asked: Any, losses: int) -> None:
        self._tickets += 1
        slot = free_slot(task.slot for task in self._tasks.values())
        handle = self._hands.begin(self._tickets, slot, asked)
        self._tasks[self._tickets] = _Task(number, slot, asked, handle, losses)

    def _heard(self, ticket: int, said: Said | Broke | Lost) -> tuple[int, Said] | None:
        """What is passed on of a letter; None where nobody waits for it any more, or the work begins again."""
        task = self._tasks.get(ticket)
        if task is None:
            return None
        if isinstance(said, Broke):
            raise error_of(said)
        if isinstance(said, Reported):
            return task.number, said
        del self._tasks[ticket]
        if isinstance(said, Lost):
            if said.again and task.losses < self._restarts:
                self.again += 1
                self._begin(task.number, task.asked, task.losses + 1)
                return None
            said = Died(said.reason)
        return task.number, said
