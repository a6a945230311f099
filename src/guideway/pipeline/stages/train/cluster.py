"""A Ray cluster that this machine belongs to: joining it, its room, its post, and whether its libraries are ours."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import guideway
from guideway.core.errors import Unavailable
from guideway.core.spec import Runner
from guideway.pipeline.stages.train.kernels import FOUR_BITS
from guideway.pipeline.stages.train.ray_post import Post

QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_TRAIN_V2_ENABLED": "1", "RAY_DEDUP_LOGS": "0"}
"""Nothing is reported to anybody, and the log keeps every line."""
CONNECT_SECONDS = 5.0
LIBRARIES = ("peft", "safetensors", "tokenizers", "torch", "transformers")
ROUNDING = 1e-9
"""Ray counts in tenths of thousandths; ours are binary fractions."""


@contextlib.contextmanager
def joined(runner: Runner) -> Iterator[None]:
    """Belong to the cluster. Its token is asked for unless somebody said that there is none.

    Raises:
        Unavailable: it does not answer.
    """
    os.environ |= QUIET
    import ray

    os.environ.setdefault("RAY_AUTH_MODE", "token")
    shipped = {"py_modules": [str(Path(guideway.__file__).parent)]}
    try:
        _reach(runner.address)
        ray.init(address=runner.address, runtime_env=shipped)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise Unavailable(
            f"the Ray cluster does not answer: {line_of(error)}",
            where="runner.address",
            try_this="`ray start --address=HOST:PORT` joins this machine to the cluster; both need the same token",
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _reach(address: str) -> None:
    """Knock: where nobody listens, Ray itself would try for ten minutes.

    Raises:
        OSError: there is nobody.
    """
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()


def takes(runner: Runner) -> dict[str, float]:
    """What each process takes of a machine, by Ray's names."""
    return {"CPU": runner.cpus} | ({"GPU": float(runner.gpus)} if runner.gpus else {})


def places(runner: Runner) -> int:
    """How many processes the cluster has room for, each on one of its machines, when nobody else works there."""
    import ray

    machines = [one["Resources"] for one in ray.nodes() if one["Alive"]]
    wanted = takes(runner).items()
    return sum(min(int(there.get(name, 0.0) / each + ROUNDING) for name, each in wanted) for there in machines)


def check_room(runner: Runner, size: int) -> None:
    """Refuse what the cluster could never place: Ray would wait for ever.

    Raises:
        Unavailable: it has no room for *size* processes.
    """
    import ray

    there = ray.cluster_resources()
    lacking = [
        f"{each * size:g} {name}s, and the cluster has {there.get(name, 0.0):g}"
        for name, each in takes(runner).items()
        if each * size > there.get(name, 0.0)
    ]
    room = places(runner)
    if lacking or room < size:
        raise Unavailable(
            f"{size} processes need {lacking[0] if lacking else f'room, and its machines have it for {room}'}",
            where="train.processes",
            try_this="fewer processes, or more machines",
        )


def post_here() -> Any:
    """A post on this machine: it is lost only with whoever takes what it holds."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(num_cpus=0)(Post).options(scheduling_strategy=here).remote()


def libraries_of(recipe: str) -> tuple[str, ...]:
    """The libraries that the result of a training with *recipe* depends on."""
    return (*LIBRARIES, FOUR_BITS) if recipe == "qlora" else LIBRARIES


def versions_of(names: tuple[str, ...]) -> dict[str, str]:
    """The versions of the libraries in *names* here; what is absent has none."""
    found = {"python": platform.python_version()}
    for name in names:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def check_versions(wanted: Mapping[str, str]) -> None:
    """The result depends on these: another version on one machine would be a result that nobody asked for.

    Raises:
        Unavailable: one is another version here.
    """
    here = versions_of(tuple(wanted))
    for name, version in wanted.items():
        if here.get(name) != version:
            raise Unavailable(
                f"a worker on {platform.node()} has {name} {here.get(name, 'not at all')}, and this machine {version}",
                where="runner",
                try_this="the same environment on every machine of the cluster",
            )


def line_of(error: Exception, number: int = 0) -> str:
    """One line of what an error says."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[number] if lines else type(error).__name__
