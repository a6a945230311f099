"""What one worker tells of its load: to the controller of its host in a file, to Prometheus in its snapshot."""

from __future__ import annotations

from collections import deque
from pathlib import Path

from guideway.core.load import Load, WorkerLoad
from guideway.gateway.admission import Admission, Priority
from guideway.gateway.metrics import Histogram, Labels, Places
from guideway.store.load import take_over, write_load

WINDOW_SECONDS = 10.0
"""How long a wait counts as one of lately."""


class LoadTeller:
    """Tells of the places in *admission*; with it goes on what workers that are gone had counted in *folder*."""

    def __init__(self, folder: Path, admission: Admission) -> None:
        self._folder, self._admission = folder, admission
        self._before = take_over(folder)
        self._waits: deque[tuple[float, tuple[int, ...]]] = deque()

    def told(self, now: float, model: str) -> WorkerLoad:
        """The load *now*, in seconds since 1970."""
        live, batch = self._admission.counts("live"), self._admission.counts("batch")
        load = Load(
            workers=1,
            running=live.running,
            waiting=live.waiting,
            finished=self._before.finished + live.finished,
            batch_running=batch.running,
            batch_waiting=batch.waiting,
            batch_finished=self._before.batch_finished + batch.finished,
            waits=self._lately(now, live.waits),
        )
        return WorkerLoad(now, model, load)

    def write(self, told: WorkerLoad) -> None:
        """Leave the file; elsewhere than on the loop.

        Raises:
            OSError: it cannot be written; the next one may be.
        """
        write_load(self._folder, told)

    def _lately(self, now: float, waits: tuple[int, ...]) -> tuple[int, ...]:
        """How many more *waits* there are than a while ago; all of them where the worker is younger than that."""
        kept = self._waits
        kept.append((now, waits))
        while len(kept) > 1 and kept[1][0] <= now - WINDOW_SECONDS:
            kept.popleft()
        began, before = kept[0]
        young = len(kept) == 1 or began > now - WINDOW_SECONDS
        return waits if young else tuple(new - old for new, old in zip(waits, before, strict=True))


def places(admission: Admission, model: str) -> dict[Labels, Places]:
    """The places as a snapshot holds them, by (model, priority)."""
    priorities: tuple[Priority, ...] = ("live", "batch")
    found = {priority: admission.counts(priority) for priority in priorities}
    return {
        (model, priority): Places(one.running, one.waiting, Histogram(list(one.waits), one.seconds))
        for priority, one in found.items()
    }
