"""What earlier steps measured, for a stage whose work depends on it: a budget that all of them share."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from guideway.core.evidence import Evidence
from guideway.kit.files import locked
from guideway.pipeline.workshop import Workshop
from guideway.store import evidence


@contextlib.contextmanager
def recalled(shop: Workshop, metrics: Sequence[str]) -> Iterator[tuple[Evidence, ...]]:
    """All kept facts of these *metrics*, the oldest first.

    Until the block ends nobody else on this machine is inside one, so no step overlooks what another is about to add.
    """
    if not metrics:
        yield ()
        return
    with locked(shop.home.run / "locks" / "recall"):
        yield tuple(kept.evidence for kept in evidence.of_metrics(shop.database, metrics))
