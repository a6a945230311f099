"""What goes on beside a canary while it runs: guards are asked, golden prompts are replayed on both arms."""

from __future__ import annotations

import queue
import threading
from pathlib import Path

from guideway.core.errors import GuidewayError
from guideway.core.rollout import EnvironmentState, Phase, Rollout
from guideway.core.route import Route
from guideway.core.spec.golden import Golden as Settings
from guideway.fleet.golden import Golden
from guideway.fleet.memory import Memory
from guideway.fleet.prompts import load_prompts
from guideway.fleet.say import say
from guideway.fleet.view import View
from guideway.rollout.decide import Guard
from guideway.rollout.golden import Pair
from guideway.watch.guards import Guards
from guideway.watch.prometheus import Subject


class Company:
    """The company of each environment's canary; used by the controller's thread alone."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._kept: dict[str, _Beside] = {}

    def keep(self, state: EnvironmentState, view: View) -> None:
        """Begin with the canary that runs, end with one that does not any more, and write down what was learnt."""
        rollout = view.rollout if view.rollout and view.rollout.phase is Phase.CANARY else None
        kept = self._kept.get(state.name)
        if kept and (rollout is None or rollout.id != kept.rollout.id):
            ended = self._kept.pop(state.name)  # what it waits for is a server of others: nobody here waits with it
            threading.Thread(target=ended.close, name="company", daemon=True).start()
            kept = None
        if rollout is None or view.stable is None:
            return
        if kept is None:
            kept = self._kept[state.name] = _Beside(state, rollout, self._memory)
        kept.route = view.route
        kept.learn(self._memory)

    def guards(self, environment: str) -> tuple[Guard, ...]:
        """The numbers of the canary's guards as they are now."""
        kept = self._kept.get(environment)
        values = kept.guards.values() if kept and kept.guards else ()
        return tuple(Guard(one.name, one.value, one.limit, one.stops, one.why) for one in values)

    def close(self) -> None:
        """End all of it."""
        while self._kept:
            self._kept.popitem()[1].close()


class _Beside:
    """The threads of one canary. ``route`` is the last that was seen: a thread of its own reads it."""

    def __init__(self, state: EnvironmentState, rollout: Rollout, memory: Memory) -> None:
        self.rollout = rollout
        self.route: Route | None = None
        self._pairs: queue.SimpleQueue[Pair] = queue.SimpleQueue()
        self._news: list[Pair] = []  # those that are not written down yet
        self._said = ""
        self.guards = _guards(rollout)
        self._golden = self._prompts(state, rollout, memory)

    def learn(self, memory: Memory) -> None:
        """Count the pairs that were scored since the last time."""
        if self._golden is None:
            return
        known, news = memory.begun(self.rollout), self._news
        while not self._pairs.empty():
            news.append(self._pairs.get())
        said = f"{known.scores.pairs.pairs + len(news)} asked, {self._golden.left} to come"
        said += f"; the last made no pair: {self._golden.trouble}" if self._golden.trouble else ""
        if not news and said == self._said:
            return
        self._said = said
        with memory.transaction():
            known = memory.begun(self.rollout)
            known.golden = said
            for pair in news:
                known.scores.pairs.add(pair.prompt, pair.candidate, pair.stable)
            memory.write(self.rollout, known)
        self._news = []

    def close(self) -> None:
        """End the threads; what is under way is given up."""
        if self._golden:
            self._golden.close()
        if self.guards:
            self.guards.close()

    def _prompts(self, state: EnvironmentState, rollout: Rollout, memory: Memory) -> Golden | None:
        settings = rollout.asked.golden
        if settings is None:
            return None
        known = memory.begun(rollout)
        known.scores.pairs.tolerated = settings.tolerated
        try:
            golden = self._made(settings, state, rollout, known.scores.pairs.used)
        except GuidewayError as error:  # it could be read when the rollout began; without it there is no proof of it
            say(f"golden prompts of {rollout.id}: {error}")
            known.golden = str(error)
            return None
        golden.start()
        return golden

    def _made(self, settings: Settings, state: EnvironmentState, rollout: Rollout, used: set[str]) -> Golden:
        from guideway.fleet.replay import Replay  # with it come the parts of the gateway that prepare a request

        assert rollout.previous
        prompts = load_prompts(Path(settings.file), settings.file)
        replay = Replay(settings, state.gateway, lambda: self.route, rollout.previous, rollout.release)
        return Golden(settings, prompts, replay.ask, self._pairs.put, seed=rollout.id, used=set(used))


def _guards(rollout: Rollout) -> Guards | None:
    if not rollout.asked.guards:
        return None
    subject = Subject(rollout.environment, rollout.id, rollout.previous or "", rollout.release)
    guards = Guards(rollout.asked.guards, subject)
    guards.start()
    return guards
