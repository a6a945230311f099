"""Replay: train again from the same inputs in a fresh folder; how far the two models are apart is evidence."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence

import msgspec

from guideway import __version__
from guideway.core.artifact import Digest, short
from guideway.core.errors import SpecError
from guideway.core.events import StepFinished, StepStarted
from guideway.core.evidence import Evidence, Interval, Producer, Subject
from guideway.core.spec import SpecFile
from guideway.pipeline.process import Emit
from guideway.pipeline.run import repeat
from guideway.pipeline.stages import STAGES
from guideway.pipeline.worker import Measured
from guideway.pipeline.workshop import Workshop
from guideway.sealing.attest import attest
from guideway.store.steps import StepResult

STEP = "replay"
TOLERANCE = 0.01
"""Nats per token, or per row of a classifier, by which the loss on the same rows may differ where bits do."""
COMPARED = ("validation_loss", "train_loss")
"""What is compared where the bits differ: the loss on held-out rows, or, where none were held out, on those learned."""


class Difference(msgspec.Struct, frozen=True):
    """How far two trainings are apart beyond the tolerance: 0 is what clause TRN-01 asks for."""

    value: float
    unit: str
    n: int
    interval: Interval | None
    said: str
    """For people."""


def replay(file: SpecFile, results: Mapping[str, StepResult], shop: Workshop, emit: Emit) -> Digest:
    """Train again what *results* hold; the envelope with the evidence.

    Raises:
        SpecError: the training is private: once more would spend the privacy of the rows again.
        GuidewayError: the training failed.
    """
    if file.spec.train.privacy:
        raise SpecError(
            "a private training is not replayed: it would spend the privacy of the rows again",
            where="train.privacy",
            try_this="build without --replay; clause TRN-01 then needs a waiver",
        )
    kept, began = results["train"], time.monotonic()
    emit(StepStarted(STEP, f"train again, to compare with {short(kept.artifact.digest)}"))
    again = repeat(STAGES["train"], file.spec, file.root, results, name=STEP, shop=shop, emit=emit)
    found = difference(kept.artifact.digest, kept.evidence, again.digest, again.measured)
    facts = _evidence(kept, found, identical=again.digest == kept.artifact.digest, at=shop.clock())
    envelope = attest(shop.blobs, shop.database, shop.signer, facts, what=STEP, at=shop.clock())
    emit(StepFinished(STEP, time.monotonic() - began, False, again.digest, (found.said,)))
    return envelope


def difference(one: Digest, before: Sequence[Evidence], two: Digest, after: Sequence[Measured]) -> Difference:
    """How far the model *two* is from *one*: nothing where the bits are the same, else by the loss on the same rows."""
    olds, news = {fact.metric: fact for fact in before}, {fact.metric: fact for fact in after}
    metric = next(name for name in COMPARED if name in olds and name in news)
    old, new = olds[metric], news[metric]
    if one == two:
        return Difference(0.0, old.unit, old.n, None, "the same bytes")
    apart = abs(new.value - old.value)
    beyond = max(0.0, apart - TOLERANCE)
    word = "beyond" if beyond else "within"
    said = f"other bytes; {metric} {apart:.2g} apart, {word} the tolerance of {TOLERANCE:g}"
    return Difference(beyond, old.unit, old.n, _interval(apart, old.interval, new.interval), said)


def _interval(apart: float, old: Interval | None, new: Interval | None) -> Interval | None:
    """Where the difference beyond the tolerance lies: wider than it is, as if the two were about different rows."""
    if not (old and new):
        return None
    half = math.hypot(*((one.high - one.low) / 2 for one in (old, new)))
    low, high = (max(0.0, one - TOLERANCE) for one in (apart - half, apart + half))
    return Interval(low, high, old.level, "normal")


def _evidence(kept: StepResult, found: Difference, *, identical: bool, at: float) -> tuple[Evidence, ...]:
    about = Subject("artifact", kept.artifact.digest, "train")
    difference = Evidence(
        metric="replay_difference",
        value=found.value,
        unit=found.unit,
        subject=about,
        n=found.n,
        interval=found.interval,
        inputs=(kept.envelope,),
        produced_by=Producer("guideway/replay", __version__, kept.key),
        at=at,
    )
    same = msgspec.structs.replace(
        difference, metric="replay_identical", value=float(identical), unit="share", n=1, interval=None
    )
    return difference, same
