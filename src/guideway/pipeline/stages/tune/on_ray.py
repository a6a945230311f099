"""The trainings of a search as tasks of a Ray cluster: a process each, code and files shipped, letters fetched."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from guideway.core.errors import Unavailable
from guideway.core.spec import Runner
from guideway.pipeline.stages.train.cluster import joined, libraries_of, line_of, places, post_here, takes, versions_of
from guideway.pipeline.stages.train.member import BASE
from guideway.pipeline.stages.tune.far import FarPool, Letter, Lost
from guideway.pipeline.stages.tune.trial import Asked


@contextlib.contextmanager
def workers(runner: Runner, most: int) -> Iterator[FarPool]:
    """The workers of a cluster, as many as it has room for, *most* at the most.

    Raises:
        Unavailable: the cluster does not answer, or none of its machines has room for one.
    """
    with joined(runner):
        size = min(most, places(runner))
        if not size:
            wanted = " and ".join(f"{each:g} {name}s" for name, each in takes(runner).items())
            raise Unavailable(
                f"a trial needs {wanted}, and no machine of the cluster has them",
                where="runner",
                try_this="less for each process, or a larger machine",
            )
        yield FarPool(_Ray(runner), size, runner.restarts)


class _Ray:
    """The hands of a pool. Each piece of work has a process of its own, which ends with it."""

    def __init__(self, runner: Runner) -> None:
        import ray

        from guideway.pipeline.stages.tune.ray_trial import work

        self._cpus = runner.cpus
        self._post = post_here()
        self._work = ray.remote(num_cpus=runner.cpus, num_gpus=runner.gpus, max_retries=0, max_calls=1)(work)
        self._shipped: dict[str, Any] = {}

    def begin(self, ticket: int, slot: int, asked: Asked) -> Any:
        """Begin a training; the first takes the files along, which are the same for all of a search."""
        from guideway.pipeline.stages.train.ray_post import ship
        from guideway.pipeline.stages.tune.ray_trial import DATA, Order

        if not self._shipped:
            self._shipped = ship({DATA: asked.data} | ({BASE: asked.base} if asked.base else {}))
        versions = versions_of(libraries_of(asked.train.recipe))
        order = Order(ticket, slot, self._cpus, asked, self._shipped, versions, self._post)
        return self._work.remote(order)

    def lost(self, tasks: Mapping[int, Any]) -> dict[int, Lost]:
        """Those whose process or machine is gone."""
        import ray

        tickets = {task: ticket for ticket, task in tasks.items()}
        ended, _ = ray.wait(list(tickets), num_returns=len(tickets), timeout=0)
        found = {tickets[task]: _loss(task) for task in ended}
        return {ticket: loss for ticket, loss in found.items() if loss}

    def take(self) -> list[Letter]:
        """The letters that are in the post.

        Raises:
            Unavailable: the cluster is gone.
        """
        import ray

        try:
            pieces = ray.get(self._post.take.remote())
        except ray.exceptions.RayError as error:
            raise Unavailable(
                f"the Ray cluster is gone: {line_of(error)}",
                where="runner.address",
                try_this="build again: the search goes on where it was",
            ) from error
        return [msgspec.msgpack.decode(piece.data, type=Letter) for piece in pieces]

    def end(self, task: Any) -> None:
        """End the process that works on *task*."""
        import ray

        ray.cancel(task, force=True)


def _loss(task: Any) -> Lost | None:
    """How the worker of a task that has ended was lost, if it was."""
    import ray

    try:
        ray.get(task)
    except ray.exceptions.OutOfMemoryError:
        return Lost("not enough memory", again=False)
    except ray.exceptions.RayTaskError as error:
        return Lost(line_of(error, -1), again=False)
    except ray.exceptions.RayError as error:
        return Lost(f"its worker was lost: {line_of(error)}", again=True)
    return None
