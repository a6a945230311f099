"""One training for the search, by a worker of a Ray cluster, in folders of its own that are gone afterwards."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from guideway.core.errors import GuidewayError
from guideway.pipeline.stages.threads import cores_of
from guideway.pipeline.stages.train.cluster import check_versions
from guideway.pipeline.stages.train.member import BASE
from guideway.pipeline.stages.train.ray_post import SAID, Piece, Shipped, send_to, unpack
from guideway.pipeline.stages.tune.far import Letter
from guideway.pipeline.stages.tune.pool import Reported, outcome
from guideway.pipeline.stages.tune.trial import Asked, trained
from guideway.pipeline.worker import Broke

DATA = "data"


class Order(NamedTuple):
    """What a worker is asked for: the training, its files, the versions that the result depends on, and the post."""

    ticket: int
    slot: int
    cpus: float
    asked: Asked
    shipped: Mapping[str, list[Shipped]]
    versions: Mapping[str, str]
    post: Any


def work(order: Order) -> None:
    """Train as the order says. All that comes of it is told by letter, also what goes wrong."""
    _take_cores(order.slot, order.cpus)
    send = send_to(order.post)

    def say(said: Any) -> None:
        send(Piece(SAID, msgspec.msgpack.encode(Letter(order.ticket, said))))  # not JSON: it has no nan

    with tempfile.TemporaryDirectory(prefix="guideway-") as scratch:
        try:
            check_versions(order.versions)
            asked = _moved(order, Path(scratch))
        except GuidewayError as error:
            say(Broke(error.what, error.where, error.try_this, error.exit_code))
            return
        say(outcome(trained, asked, lambda point, loss: say(Reported(point, loss))))


def _moved(order: Order, scratch: Path) -> Asked:
    """What is asked for, with the folders that are here."""
    inputs = unpack(order.shipped, scratch / "in")
    work = scratch / "work"
    work.mkdir()
    return msgspec.structs.replace(order.asked, base=inputs.get(BASE), data=inputs[DATA], root=scratch, work=work)


def _take_cores(slot: int, cpus: float) -> None:
    """Stay on a share of the cores of this machine, so that those who train here at once do not wait for each other."""
    places = max(1, len(os.sched_getaffinity(0)) // math.ceil(cpus))
    os.sched_setaffinity(0, cores_of(slot % places, places))
