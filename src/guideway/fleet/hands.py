"""Slow work beside the controller's loop: starting, asking, stopping. What is done is told when it is asked for."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import Executor, Future
from typing import Any, NamedTuple

from guideway.core.artifact import Digest
from guideway.core.launch import Launch, Process, Replica
from guideway.core.rollout import EnvironmentState
from guideway.fleet.gateways import Gateways
from guideway.fleet.host import Host
from guideway.targets.probe import ProbeResult


class Order(NamedTuple):
    """A replica to start, and when that was ordered, in seconds since 1970."""

    state: EnvironmentState
    release: Digest
    id: str
    at: float


class Started(NamedTuple):
    """What became of an order: a process, or why there is none."""

    order: Order
    made: tuple[Launch, Process] | None
    error: BaseException | None


class Probed(NamedTuple):
    """What a starting replica answered."""

    replica: str
    result: ProbeResult


class Ended(NamedTuple):
    """A replica (by its id) or a gateway (by `gateway_key`) is gone, or could not be stopped."""

    key: str
    error: BaseException | None


Done = Started | Probed | Ended


class Hands:
    """Works in *pool*; used by the controller's thread alone."""

    def __init__(self, host: Host, gateways: Gateways, pool: Executor) -> None:
        self._host, self._gateways, self._pool = host, gateways, pool
        self._starts: dict[Future[tuple[Launch, Process]], Order] = {}
        self._probing: dict[Future[ProbeResult], str] = {}
        self._ending: dict[str, Future[Any]] = {}

    @property
    def busy(self) -> bool:
        """Is anything under way?"""
        return bool(self._starts or self._probing or self._ending)

    def launching(self, environment: str) -> Counter[Digest]:
        """How many replicas are being started in *environment*, by release."""
        return Counter(one.release for one in self._starts.values() if one.state.name == environment)

    def starts(self, release: Digest) -> bool:
        """Is a replica of *release* being started anywhere?"""
        return any(one.release == release for one in self._starts.values())

    @property
    def starting(self) -> set[str]:
        """The ids of replicas that are being started, or were and have not been told of."""
        return {one.id for one in self._starts.values()}

    def ends(self, key: str) -> bool:
        """Is what is known by *key* being stopped?"""
        return key in self._ending

    def start(self, order: Order) -> None:
        """Start a replica."""
        self._starts[self._pool.submit(self._host.start, order.state, order.release, order.id)] = order

    def probe(self, replica: Replica) -> None:
        """Ask a starting replica for a token, unless it is being asked, or stopped."""
        if replica.probe and replica.id not in self._probing.values() and not self.ends(replica.id):
            self._probing[self._pool.submit(self._host.probe, replica.port, replica.probe)] = replica.id

    def stop(self, state: EnvironmentState, replica: Replica) -> None:
        """Stop a replica, letting it finish what it answers."""
        self._ending[replica.id] = self._pool.submit(self._host.stop, state, replica)

    def stop_gateway(self, environment: str) -> None:
        """Stop the gateway of an environment, unless it is being stopped."""
        key = gateway_key(environment)
        if not self.ends(key):
            self._ending[key] = self._pool.submit(self._gateways.stop, environment)

    def end(self, stray: Process) -> None:
        """End a process that nobody knows."""
        self._pool.submit(self._host.end, stray)

    def done(self) -> list[Done]:
        """What is finished since the last time."""
        started = [self._taken(future) for future in tuple(self._starts) if future.done()]
        probed = [future for future in self._probing if future.done()]
        ended = [key for key, future in self._ending.items() if future.done()]
        answers: list[Done] = [Probed(self._probing.pop(future), future.result()) for future in probed]
        return [*started, *answers, *(Ended(key, self._ending.pop(key).exception()) for key in ended)]

    def let_go(self) -> list[Started]:
        """Wait for what is being started, and for all else that has begun; nothing can be asked for any more."""
        for future in self._starts:
            future.exception()
        started = [self._taken(future) for future in tuple(self._starts)]
        self._pool.shutdown(wait=True, cancel_futures=True)
        return started

    def wait(self) -> None:
        """Wait until everything that was to be stopped is gone."""
        for future in self._ending.values():
            future.exception()

    def _taken(self, future: Future[tuple[Launch, Process]]) -> Started:
        order, error = self._starts.pop(future), future.exception()
        return Started(order, None if error else future.result(), error)


def gateway_key(environment: str) -> str:
    """By what the gateway of an environment is known."""
    return f"gateway of {environment}"
