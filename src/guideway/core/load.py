"""How much a worker of the gateway has to do: what it tells the controller of its host about once a second."""

from __future__ import annotations

import msgspec

WAITS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Bounds, in seconds, between which waits for a place at a replica are counted; the last bucket is open."""


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """Requests that run at replicas and that wait for a place, now, and that have run since the count began.

    ``waits`` counts live requests that were let in, or had waited in vain, in the last seconds, by ``WAITS``.
    ``workers`` 0: nobody told anything. The count of those that have run never goes backwards.
    """

    workers: int = 0
    running: int = 0
    waiting: int = 0
    finished: int = 0
    batch_running: int = 0
    batch_waiting: int = 0
    batch_finished: int = 0
    waits: tuple[int, ...] = (0,) * (len(WAITS) + 1)


class WorkerLoad(msgspec.Struct, frozen=True):
    """The load of one worker of a gateway that serves *model*, ``at`` seconds since 1970."""

    at: float
    model: str
    load: Load
