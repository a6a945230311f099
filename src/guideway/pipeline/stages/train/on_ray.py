"""Training on a Ray cluster: Ray Train places the processes, joins them, and begins anew when one is lost.

Code and files are shipped, and what the workers leave is fetched; nothing is read from a folder that is shared.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from guideway.core.errors import GuidewayError
from guideway.core.protocols import Job
from guideway.core.spec import Runner
from guideway.kit.files import make_folder
from guideway.kit.machine import machine
from guideway.pipeline.stages.train.cluster import (
    check_room,
    joined,
    libraries_of,
    line_of,
    post_here,
    takes,
    versions_of,
)
from guideway.pipeline.stages.train.member import BASE
from guideway.pipeline.stages.train.together import pass_on
from guideway.pipeline.worker import Broke, Message, error_of


def on_ray(job: Job, base: Path | None, size: int) -> None:
    """Train with *size* workers as ``learn`` would with one process, from the model in *base* if there is one.

    Raises:
        GuidewayError: what training raises, or workers were lost more often than ``restarts`` allows.
        Unavailable: the cluster does not answer, or it has no room for the workers.
    """
    runner = msgspec.convert(dict(job.runner), Runner)
    with joined(runner):
        check_room(runner, size)
        _look_ahead(job, base, runner)
        broken = _fit(job, base, size, runner)
    if broken:
        raise error_of(broken)


def _look_ahead(job: Job, base: Path | None, runner: Runner) -> None:
    """Compare the need with the memory of the whole cluster. How large its GPUs are, Ray does not say."""
    import ray

    from guideway.pipeline.stages.train import look_ahead

    if not runner.gpus:
        most, free = (int(one.get("memory", 0)) for one in (ray.cluster_resources(), ray.available_resources()))
        look_ahead(job, base, machine(job.out)._replace(memory=most, memory_free=free, gpu=0))


def _fit(job: Job, base: Path | None, size: int, runner: Runner) -> Broke | None:
    """Run the training; what a worker said went wrong for good."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchConfig, TorchTrainer

    from guideway.pipeline.stages.train.ray_member import Order, work
    from guideway.pipeline.stages.train.ray_post import ship

    post = post_here()
    _seed(job, post)
    inputs = {**job.inputs, BASE: base} if base else job.inputs
    order = Order(dict(job.params), ship(inputs), versions_of(libraries_of(job.params["recipe"])), post)
    trainer = TorchTrainer(
        work,
        train_loop_config={"order": order},
        torch_config=TorchConfig("cpu:gloo,cuda:nccl" if runner.gpus else "gloo"),
        scaling_config=ScalingConfig(num_workers=size, use_gpu=bool(runner.gpus), resources_per_worker=takes(runner)),
        run_config=RunConfig(
            storage_path=str(job.out.parent / "ray"), failure_config=FailureConfig(max_failures=runner.restarts)
        ),
    )
    with _delivering(job, post) as delivery:
        try:
            trainer.fit()
        except TrainingFailedError as error:
            raise GuidewayError(
                f"the workers failed more often than the {runner.restarts} restarts allow: {_first(error)}",
                where="runner.restarts",
                try_this="build again: it goes on from the last checkpoint; the log has the whole story",
            ) from error
    return delivery.broken


def _first(error: Exception) -> str:
    """What became of the first worker that failed, in one line."""
    failures = getattr(error, "worker_failures", None) or {0: error}
    one = failures[min(failures)]
    return line_of(one, -1)


def _seed(job: Job, post: Any) -> None:
    """Give the workers the newest checkpoint that an earlier build left here."""
    import ray

    from guideway.pipeline.stages.train.checkpoints import Checkpoints
    from guideway.pipeline.stages.train.ray_post import RESUME, pieces_of

    path = Checkpoints(job.resume).newest_file()
    if path:
        for piece in pieces_of(path, RESUME, path.name):
            ray.get(post.seed.remote(piece))


class _Delivery:
    """Takes what the workers send and puts it where it belongs."""

    def __init__(self, job: Job) -> None:
        from guideway.pipeline.stages.train.checkpoints import Checkpoints
        from guideway.pipeline.stages.train.ray_post import OUT, RESUME, Inbox

        make_folder(job.resume)
        self._checkpoints = Checkpoints(job.resume)
        self._job = job
        self._inboxes = {RESUME: Inbox(job.resume), OUT: Inbox(job.out)}
        self.broken: Broke | None = None

    def take(self, piece: Any) -> None:
        """Deliver one piece."""
        inbox = self._inboxes.get(piece.kind)
        if inbox:
            inbox.add(piece)
            self._checkpoints.thin()
            return
        message = msgspec.json.decode(piece.data, type=Message)
        if isinstance(message, Broke):
            self.broken = self.broken or message
        else:
            pass_on(self._job, message)


@contextlib.contextmanager
def _delivering(job: Job, post: Any) -> Iterator[_Delivery]:
    """Deliver while the training runs, and in the end all that is left. What breaks a delivery ends the stage."""
    import ray

    delivery, ended = _Delivery(job), threading.Event()

    failure: list[Exception] = []

    def deliver() -> None:
        last, found = False, list[Any]()
        try:
            while not last or found:
                last = ended.is_set()
                found = ray.get(post.take.remote())
                for piece in found:
                    delivery.take(piece)
        except Exception as error:
            failure.append(error)
            ray.kill(post)  # or the workers would wait for ever until there is room

    thread = threading.Thread(target=deliver, daemon=True)
    thread.start()
    try:
        yield delivery
    finally:
        ended.set()
        thread.join()
        if failure:
            raise failure[0]
