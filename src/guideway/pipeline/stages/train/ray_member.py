"""One worker of a Ray cluster that trains with the others: the whole training, in folders of its own.

Ray has joined the processes when this begins, and starts all of them again when one is lost.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import ray
import ray.train

from guideway.core.errors import GuidewayError
from guideway.pipeline.stages.threads import cores_of
from guideway.pipeline.stages.train.cluster import check_versions
from guideway.pipeline.stages.train.member import learn
from guideway.pipeline.stages.train.ranks import GONE
from guideway.pipeline.stages.train.ray_post import (
    OUT,
    RESUME,
    SAID,
    Inbox,
    Piece,
    Shipped,
    pieces_of,
    send_to,
    unpack,
)
from guideway.pipeline.worker import Broke, JobFile, Message, StageJob

LOOK = 0.2
"""Seconds between two looks for a new checkpoint."""


class Order(NamedTuple):
    """What a worker is asked for: parameters, files, the versions that the result depends on, and the post."""

    params: Mapping[str, Any]
    shipped: Mapping[str, list[Shipped]]
    versions: Mapping[str, str]
    post: Any


def work(config: Mapping[str, Any]) -> None:
    """Train as the order says. What goes wrong for good is told and not raised: Ray would try it again.

    Raises:
        GuidewayError: another worker is gone.
    """
    order: Order = config["order"]
    context = ray.train.get_context()
    os.sched_setaffinity(0, cores_of(context.get_local_rank(), context.get_local_world_size()))
    first = context.get_world_rank() == 0
    send = send_to(order.post)
    with tempfile.TemporaryDirectory(prefix="guideway-") as scratch:
        try:
            check_versions(order.versions)
            _train(order, Path(scratch), send if first else lambda piece: None, first=first)
        except GuidewayError as error:
            if error.what == GONE:
                raise
            send(_said(Broke(error.what, error.where, error.try_this, error.exit_code)))


def _train(order: Order, scratch: Path, send: Callable[[Piece], None], *, first: bool) -> None:
    inputs = unpack(order.shipped, scratch / "in")
    out, resume = scratch / "out", scratch / "resume"
    out.mkdir()
    resume.mkdir()
    asked = JobFile(
        stage="train",
        module="",
        params=dict(order.params),
        inputs={name: str(path) for name, path in inputs.items()},
        root=str(scratch),
        out=str(out),
        resume=str(resume),
    )
    job = StageJob(asked, lambda message: send(_said(message)))
    if not first:
        learn(job)
        return
    inbox = Inbox(resume)
    for piece in ray.get(order.post.newest.remote()):
        inbox.add(piece)
    with _carrying(resume, send):
        learn(job)
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        for piece in pieces_of(path, OUT, path.relative_to(out).as_posix()):
            send(piece)


@contextlib.contextmanager
def _carrying(folder: Path, send: Callable[[Piece], None]) -> Iterator[None]:
    """Send every checkpoint that appears in *folder*, once, while the training goes on."""
    ended = threading.Event()
    known = {path.name for path in folder.iterdir()}

    def carry() -> None:
        while not ended.wait(LOOK):
            for path in sorted(folder.glob("step-*")):
                if path.name not in known:
                    known.add(path.name)
                    with contextlib.suppress(FileNotFoundError):  # two newer ones are there already
                        for piece in pieces_of(path, RESUME, path.name):
                            send(piece)

    thread = threading.Thread(target=carry, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _said(message: Message) -> Piece:
    return Piece(SAID, msgspec.json.encode(message))
