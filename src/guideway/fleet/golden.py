"""Golden prompts, replayed on both arms while a canary runs: in a thread of its own, one at a time, a few a minute."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

import msgspec

from guideway.core.spec.golden import Golden as Settings
from guideway.rollout.golden import Pair, Prompt, unused
from guideway.rollout.likeness import score

CHANCES = 3
"""How often a prompt is asked that neither arm answers."""


class Absent(Exception):
    """An arm cannot be asked now, which says nothing of its quality."""


class Replayed(msgspec.Struct, frozen=True):
    """What the arms answered; None: it failed to, and ``why`` says how."""

    candidate: str | None
    stable: str | None
    why: str = ""


class Ask(Protocol):
    """Asks both arms."""

    def __call__(self, prompt: Prompt, given_up: Callable[[], bool]) -> Replayed:
        """What they answer; raises `Absent` while they cannot be asked."""


class Golden:
    """Asks those of *prompts* whose id is not in *used*, each once, and gives the scores to *told*.

    *seed*, the id of the rollout, draws their order.
    *told* hears each pair in the thread of this object: let it be the ``put`` of a queue. *clock* counts seconds;
    *wait* pauses for some and says whether to stop, by default until ``close``. ``trouble`` says why the last prompt
    made no pair; empty: it made one.
    """

    def __init__(
        self,
        settings: Settings,
        prompts: Sequence[Prompt],
        ask: Ask,
        told: Callable[[Pair], None],
        *,
        seed: str,
        used: Collection[str] = (),
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        self.trouble = ""
        self._settings, self._ask, self._told, self._clock = settings, ask, told, clock
        self._waiting = deque(unused(prompts, used, seed))
        self._chances: Counter[str] = Counter()
        self._stopping = threading.Event()
        self._wait = wait or self._stopping.wait
        self._thread = threading.Thread(target=self.run, name="golden", daemon=True)

    @property
    def left(self) -> int:
        """Prompts that are still to be asked."""
        return len(self._waiting)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def close(self) -> None:
        """Ask no more; what is under way is given up and makes no pair. Returns when the thread has ended."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def run(self) -> None:
        """Ask until all were asked or it is told to stop. A prompt begins so long after the one before as it should."""
        interval = 60.0 / self._settings.per_minute
        while self._waiting and not self._stopping.is_set():
            began = self._clock()
            self._one(self._waiting[0])
            if self._waiting and self._wait(max(0.0, interval - (self._clock() - began))):
                return

    def _one(self, prompt: Prompt) -> None:
        try:
            replayed = self._ask(prompt, self._stopping.is_set)
        except Absent as error:  # it keeps its place: nothing was asked
            self.trouble = str(error)
            return
        except Exception as error:
            replayed = Replayed(None, None, f"asking '{prompt.id}' failed: {type(error).__name__}")
        self._waiting.popleft()
        self.trouble = replayed.why
        pair = scored(self._settings, prompt, replayed)
        if pair is not None:
            self._told(pair)
            return
        self._chances[prompt.id] += 1
        if self._chances[prompt.id] < CHANCES:
            self._waiting.append(prompt)


def scored(settings: Settings, prompt: Prompt, replayed: Replayed) -> Pair | None:
    """The scores of both arms; who fails to answer what the other answers has 0. None: neither answered."""
    texts = replayed.candidate, replayed.stable
    if texts == (None, None):
        return None
    candidate, stable = (score(settings.score, text, prompt.expect) if text is not None else 0.0 for text in texts)
    return Pair(prompt.id, candidate, stable)
