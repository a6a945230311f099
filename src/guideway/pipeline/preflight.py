"""Pre-flight: what the plan needs against what this machine has, before anything runs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from guideway.core.errors import Unavailable
from guideway.core.spec import Spec
from guideway.kit.machine import Machine
from guideway.pipeline.needs import EFFICIENCY, Need, Shape, fitting_batch, in_four_bits, needs, trained_share
from guideway.pipeline.shapes import trained_shape
from guideway.pipeline.stages import STAGES
from guideway.pipeline.stages.data.clean import Empty, Unusable, clean_row
from guideway.pipeline.stages.data.read import Raw, format_of, read

GB = 1e9
LOOKED_AT = 200
"""Rows of the data whose length is looked at."""
CHARACTERS = 4.0
"""Characters of a row for each of its tokens."""


class Flight(NamedTuple):
    """The verdict on one plan: what each stage needs, what there is, and how long training takes (None: unknown)."""

    needs: tuple[Need, ...]
    machine: Machine
    seconds: float | None
    advice: str = ""

    @property
    def share(self) -> float:
        """The largest share of memory, or of disk, that is to be had now and that any stage needs; above 1 fails."""
        disk = sum(one.disk for one in self.needs) / max(1, self.machine.disk_free)
        return max(disk, *(one.memory / max(1, self.free(one)) for one in self.needs))

    def free(self, need: Need) -> int:
        """Bytes of memory to be had now where *need* arises: models are trained on a GPU where there is one."""
        return self._gpus(need) or self.machine.memory_free

    def most(self, need: Need) -> int:
        """Bytes of memory in all where *need* arises."""
        return self._gpus(need) or self.machine.memory

    def _gpus(self, need: Need) -> int:
        return self.machine.gpu * need.processes if need.stage in ("train", "tune") else 0

    @property
    def tight(self) -> bool:
        """Does it need more than is free now?"""
        return self.share > 1.0


def preflight(spec: Spec, root: Path, there: Machine, speed: float | None) -> Flight | None:
    """Compare what *spec* needs with *there*; *speed* is in operations a second. None: the base tells no shape."""
    shape = trained_shape(spec.train, root / spec.train.base if spec.train.base else None, spec.task)
    if shape is None:
        return None
    found = needs(spec, shape, row_tokens(spec, root) if speed else math.inf)
    seconds = sum(one.operations for one in found) / (speed * EFFICIENCY) if speed else None
    flight = Flight(tuple(found), there, seconds)
    return flight._replace(advice=_advice(spec, shape, flight)) if flight.tight else flight


def told(flight: Flight) -> str:
    """One line for people: what is needed, what there is, and how long it may take."""
    need, disk = max(flight.needs, key=lambda one: one.memory), sum(one.disk for one in flight.needs)
    there = flight.machine
    least = f"{size(need.memory)} of memory in stage {need.stage} ({size(flight.free(need))} free)"
    time = f", about {_duration(flight.seconds)} of training" if flight.seconds is not None else ""
    return f"it needs {least}, {size(disk)} of disk ({size(there.disk_free)} free){time}"


def require(flight: Flight) -> None:
    """Refuse what this machine can never do, however idle it is.

    Raises:
        Unavailable: a stage needs more memory, or all of them more disk, than there is.
    """
    for one in flight.needs:
        if one.memory > flight.most(one):
            raise Unavailable(
                f"stage {one.stage} needs {size(one.memory)} of memory, and this machine has "
                f"{size(flight.most(one))}: {one.why}",
                try_this=flight.advice,
            )
    disk = sum(one.disk for one in flight.needs)
    if disk > flight.machine.disk_free:
        raise Unavailable(
            f"the models need {size(disk)} of disk, and {size(flight.machine.disk_free)} are free",
            try_this="free some space, or set $GUIDEWAY_HOME to a folder on a larger disk",
        )


def row_tokens(spec: Spec, root: Path) -> float:
    """About how many tokens a row has, by the first rows of the first source; texts are packed, so they fill it all."""
    if spec.task == "completion":
        return math.inf
    first = next(iter(STAGES["data"].sources(spec, root)))
    rows = read(first, first.name, format_of(first, spec.data.sources[0].format))
    texts = [_text(one.fields, spec) for one in itertools.islice(rows, LOOKED_AT) if isinstance(one, Raw)]
    return sum(map(len, texts)) / max(1, len(texts)) / CHARACTERS


def _text(fields: Mapping[str, Any], spec: Spec) -> str:
    """What a row teaches; nothing, if it is no use: stage data will say so."""
    try:
        row = clean_row(fields, spec.data, spec.task)
    except (Unusable, Empty):
        return ""
    return row.prompt + row.response


def size(count: float) -> str:
    """Bytes as people read them."""
    return f"{count / GB:.1f} GB" if count >= GB / 10 else f"{count / 1e6:.0f} MB"


def _duration(seconds: float) -> str:
    """Seconds as people read them: an estimate has no decimals."""
    if seconds < 90:
        return f"{max(1.0, seconds):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.0f} h"


def _advice(spec: Spec, shape: Shape, flight: Flight) -> str:
    """What would fit."""
    training = flight.needs[0]
    most = max(flight.needs, key=lambda one: one.memory)
    if most.stage == "tune" and most.memory > training.memory:
        each = most.memory / spec.tune.parallel if spec.tune else most.memory
        return f"tune.parallel: {max(1, int(flight.free(most) / each))}"
    if most.stage not in ("train", "tune"):
        return f"a machine with {size(most.memory)} of free memory, or compress.precision: int4"
    batch = fitting_batch(
        shape, spec.train.batch, flight.free(training), trained_share(spec.train), in_four_bits(spec.train, shape)
    )
    if batch:
        return f"train.batch: {batch} fits"
    return f"a smaller train.architecture or base, or a machine with {size(training.memory)} of free memory"
