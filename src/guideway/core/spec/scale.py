"""How many replicas there may be: ``scale:`` of an environment. Without it there are ``replicas``, always."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from guideway.core.spec.part import Part, Positive, Share

Seconds = Annotated[float, Meta(gt=0.0)]


class Scale(Part, frozen=True):
    """Between ``min`` and ``max`` replicas, as many as the load needs. Durations in seconds.

    A replica works on ``gateway.admission.concurrent`` requests at once; ``target`` is how many it should have in the
    mean, if that is to decide too. At most the share ``late`` of requests shall wait longer than ``queue`` for a
    place. Less must have been enough for ``settle`` before a replica goes, and an hour has at most so many
    ``changes``. With ``min`` 0 an idle release has none, if one is known to start within ``wake``; the first request
    waits for it. Batches start replicas only with ``batches``.
    """

    min: Annotated[int, Meta(ge=0)] = 1
    max: Positive = 4
    target: Seconds | None = None
    queue: Seconds = 1.0
    late: Share = 0.01
    settle: Seconds = 600.0
    changes: Positive = 6
    wake: Seconds = 30.0
    batches: bool = False

    def __post_init__(self) -> None:
        if self.min > self.max:
            raise ValueError(f"min {self.min} is more than max {self.max}")
