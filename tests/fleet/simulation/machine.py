"""A machine without processes: replicas, a gateway with its workers, and hands whose work takes simulated time."""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Set
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from guideway.core.errors import Corrupt, Unavailable
from guideway.core.launch import Launch, Probe, Process, Replica
from guideway.core.rollout import EnvironmentState
from guideway.core.spec import Gateway
from guideway.fleet.gateways import Gateways
from guideway.fleet.host import Host
from guideway.fleet.view import Standing
from guideway.store import fleet
from guideway.targets.probe import ProbeResult

if TYPE_CHECKING:
    from simulation.world import World

Work = Generator[float, None, Any]
"""Slow work: it yields the seconds that pass before it goes on, and returns what comes of it."""
NEVER = float("inf")
SOUR = 7.0
"""A gateway that is asked for so many seconds of lame duck refuses."""


class Character(NamedTuple):
    """How a release behaves: shares of errors and garbage, how slow, how long until ready and until it dies."""

    name: str
    errors: float = 0.005
    garbage: float = 0.0
    slower: float = 1.0
    ready: float = 1.0
    lives: float = NEVER
    corrupt: bool = False


CHARACTERS = {
    one.name: one
    for one in (
        Character("good"),
        Character("bad", errors=0.3),
        Character("slow", slower=3.0),
        Character("dying", lives=8.0),
        Character("never ready", ready=NEVER),
        Character("lying", garbage=0.6),
        Character("corrupt", corrupt=True),
    )
}


class Running:
    """One model server."""

    def __init__(self, release: str, id: str, process: Process, port: int, ready_at: float) -> None:
        self.release, self.id, self.process, self.port, self.ready_at = release, id, process, port, ready_at
        self.alive = True


class RunningGateway:
    """The gateway of the environment. ``taking``: settings that it is asked for and has not answered yet."""

    def __init__(self, process: Process, options: Gateway, up_at: float) -> None:
        self.process, self.options, self.up_at = process, options, up_at
        self.taking: Gateway | None = None
        self.refused: Gateway | None = None
        self.leaving = False


class Machine:
    """What runs, whoever knows of it. ``broken_until``: no process can be started before; ``slow_until``: slowly."""

    def __init__(self, world: World) -> None:
        self.world, self.dice = world, world.dice("machine")
        self.replicas: list[Running] = []
        self.gateway: RunningGateway | None = None
        self.broken_until = self.slow_until = 0.0
        self._pids = iter(range(1000, 10**9))
        self._ports = iter(range(20_000, 60_000))

    def process(self) -> Process:
        return Process(next(self._pids), "then")

    def start(self, release: str, id: str) -> Running:
        character, now = self.world.characters[release], self.world.time.now
        ready_at = now + character.ready * self.dice.uniform(0.3, 2.0)
        one = Running(release, id, self.process(), next(self._ports), ready_at)
        self.replicas.append(one)
        self.world.tell("replica", f"{id} of {release[7:9]} starts")
        if character.lives < NEVER:
            self.world.time.after(1.0 + self.dice.expovariate(1.0 / character.lives), lambda: self.kill(one))
        return one

    def kill(self, one: Running, how: str = "dies") -> None:
        if one.alive:
            one.alive = False
            self.replicas.remove(one)
            self.world.tell("replica", f"{one.id} of {one.release[7:9]} {how}")

    def on(self, port: int) -> Running | None:
        return next((one for one in self.replicas if one.port == port), None)

    def start_gateway(self, options: Gateway) -> RunningGateway:
        made = self.gateway = RunningGateway(self.process(), options, self.world.time.now + self.dice.uniform(0.2, 1.5))
        self.world.tell("gateway", "starts")
        self.world.time.after(made.up_at - self.world.time.now, lambda: self._open(made))
        return made

    def _open(self, made: RunningGateway) -> None:
        if self.gateway is made and not made.leaving:
            self.world.users.open(2)

    def kill_gateway(self) -> None:
        if self.gateway:
            self.gateway = None
            self.world.tell("gateway", "dies")
            self.world.users.kill_workers()

    def take_up(self, options: Gateway) -> None:
        """The gateway takes up *options*, a moment later, or refuses them."""
        gateway = self.gateway
        if gateway is None:
            return
        gateway.taking = options
        self.world.time.after(self.dice.uniform(0.05, 0.6), lambda: self._taken_up(gateway, options))

    def _taken_up(self, gateway: RunningGateway, options: Gateway) -> None:
        if gateway.taking != options:
            return
        gateway.taking = None
        if options.lame_duck == SOUR and options != gateway.options:
            gateway.refused = options
            self.world.tell("gateway", "refuses its settings")
        else:
            gateway.options, gateway.refused = options, None
            self.world.tell("gateway", "takes up its settings")


class PatientFuture(Future):
    """Who waits for it lets simulated time pass."""

    def __init__(self, wait: Callable[[Callable[[], bool]], None]) -> None:
        super().__init__()
        self._wait = wait

    def exception(self, timeout: float | None = None) -> BaseException | None:
        self._wait(self.done)
        return super().exception(0)

    def result(self, timeout: float | None = None) -> Any:
        self._wait(self.done)
        return super().result(0)


class Pool(Executor):
    """Work that takes simulated time. ``kill``: the process ends, and all that it had not done yet stays undone."""

    def __init__(self, world: World, told: Callable[[], None], point: Callable[[str], None]) -> None:
        self._world, self._told, self._point = world, told, point
        self._under_way: list[PatientFuture] = []
        self._dead = self._shut = False

    def submit(self, work: Callable[..., Work], /, *args: Any, **more: Any) -> Future:
        if self._shut:
            raise RuntimeError("cannot schedule new futures after shutdown")
        self._point("order")
        future = PatientFuture(self._world.wait_for)
        self._under_way.append(future)
        steps = work(*args, **more)
        self._world.time.after(0.001, lambda: self._on(future, steps))
        self._point("ordered")
        return future

    def _on(self, future: PatientFuture, steps: Work) -> None:
        if self._dead:
            return
        try:
            seconds = next(steps)
        except StopIteration as end:
            value = end.value
            self._done(future, lambda: future.set_result(value))
        except Exception as error:
            failed = error
            self._done(future, lambda: future.set_exception(failed))
        else:
            self._world.time.after(seconds, lambda: self._on(future, steps))

    def _done(self, future: PatientFuture, end: Callable[[], None]) -> None:
        self._under_way.remove(future)
        end()
        self._told()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._shut = True
        if wait and not self._dead:
            self._world.wait_for(lambda: not self._under_way)

    def kill(self) -> None:
        self._dead = True


class SimulatedHost(Host):
    """Starts, asks and stops what only the machine of *world* knows."""

    def __init__(self, world: World) -> None:
        super().__init__(world.home)
        self._world, self._machine = world, world.machine

    def start(self, state: EnvironmentState, release: str, id: str) -> Work:
        dice = self._machine.dice
        yield dice.uniform(0.05, 0.4)
        if self._world.time.now < self._machine.slow_until:
            yield dice.uniform(5.0, 45.0)
        if self._world.time.now < self._machine.broken_until:
            raise Unavailable("the process cannot be started") if dice.random() < 0.7 else OSError("no memory")
        if self._world.characters[release].corrupt:
            raise Corrupt("a blob has changed")
        one = self._machine.start(release, id)
        yield dice.uniform(0.0, 0.1)
        launch = Launch(("model",), one.port, Probe("/v1/completions", "{}"))
        return launch, one.process

    def probe(self, port: int, probe: Probe) -> Work:
        one = self._machine.on(port)
        if one is None:
            yield 0.01
            return ProbeResult(False, 0.01, "nobody listens")
        late = one.ready_at - self._world.time.now
        if late > 10.0:
            yield 10.0
            return ProbeResult(False, 10.0, "no answer")
        yield max(late, 0.0) + self._machine.dice.uniform(0.01, 0.1)
        if self._machine.dice.random() < self._world.characters[one.release].garbage and late < -3.0:
            return ProbeResult(False, 0.1, "nothing was generated", lies=True)
        return ProbeResult(one.alive, 0.1, "" if one.alive else "the connection broke")

    def stop(self, state: EnvironmentState, replica: Replica) -> Work:
        one = self._machine.on(replica.port)
        self._world.invariants.stopping(state, replica)
        yield self._machine.dice.uniform(0.02, 0.5)
        deadline = self._world.time.now + 12.0
        while one and one.alive and self._world.users.wait_for(one) and self._world.time.now < deadline:
            yield 0.2
        if one:
            self._machine.kill(one, "is stopped")

    def end(self, process: Process) -> Work:
        yield 0.01
        for one in [one for one in self._machine.replicas if one.process == process]:
            self._machine.kill(one, "is ended")

    def alive(self, process: Process) -> bool:
        return any(one.process == process for one in self._machine.replicas)

    def strays(self, known: Set[str]) -> list[Process]:
        return [one.process for one in self._machine.replicas if one.id not in known]

    def last_words(self, environment: str, id: str) -> str:
        return "said nothing"

    def rest(self) -> None:
        """Nothing is kept warm."""


class SimulatedGateways(Gateways):
    """The same for the gateway. What one controller knows of it dies with the controller."""

    def __init__(self, world: World) -> None:
        super().__init__(world.home)
        self._world, self._machine = world, world.machine
        self._mine: Process | None = None

    def last_words(self, environment: str) -> str:
        return "said nothing"

    def adopt(self, environment: str) -> None:
        if self._machine.gateway:
            self._mine = self._machine.gateway.process

    def standing(self, state: EnvironmentState, database: Any) -> Standing:
        gateway = self._machine.gateway
        if gateway is None:
            return Standing.NONE
        if self._world.time.now < gateway.up_at:
            return Standing.COMING if self._mine == gateway.process else Standing.NONE
        self._mine = gateway.process
        if state.gateway == gateway.options:
            return Standing.UP
        if gateway.refused == state.gateway:
            return Standing.REFUSED
        return Standing.CHANGING if gateway.taking == state.gateway else Standing.STALE

    def refusal(self, environment: str) -> str:
        return "it is sour" if self._machine.gateway and self._machine.gateway.refused else ""

    def start(self, state: EnvironmentState) -> None:
        self._world.point("spawn")
        if self._world.time.now < self._machine.broken_until:
            raise OSError("no memory")
        self._world.invariants.starting_gateway()
        self._mine = self._machine.start_gateway(state.gateway).process
        self._world.point("spawned")

    def reload(self, state: EnvironmentState) -> None:
        self._machine.take_up(state.gateway)

    def restore(self, state: EnvironmentState, database: Any) -> None:
        gateway = self._machine.gateway
        if gateway is None:
            return
        serves = msgspec.structs.replace(state, gateway=gateway.options)
        with database.transaction():
            if fleet.environment(database, state.name) == state:
                fleet.put_environment(database, serves)
                self.reload(serves)

    def stop(self, environment: str) -> Work:
        gateway = self._machine.gateway
        if gateway and self._mine == gateway.process:
            gateway.leaving = True
            self._world.users.close()
            yield self._machine.dice.uniform(0.1, 3.0)
            if self._machine.gateway is gateway:
                self._world.users.leave()
                self._machine.gateway = None
                self._world.tell("gateway", "is stopped")

    def buried(self, environment: str) -> bool:
        gateway = self._machine.gateway
        if self._mine is None or (gateway and gateway.process == self._mine):
            return False
        self._mine = None
        return True


def chosen(dice: random.Random, chances: dict[str, float]) -> str:
    """One of the names, drawn by its share."""
    return dice.choices([*chances], weights=[*chances.values()])[0]
