"""Several workers and a limiter without sockets: words are delivered when the test says so, in any order it likes."""

from __future__ import annotations

import random
from collections import deque

from guideway.core.route import ApiKey
from guideway.core.spec.gateway import Limits, Price
from guideway.gateway.errors import ApiError
from guideway.gateway.limits.account import Window
from guideway.gateway.limits.amounts import Amounts, Estimate, Used
from guideway.gateway.limits.book import Answer, Book, Work
from guideway.gateway.limits.key_lease import Reservation
from guideway.gateway.limits.meter import WAIT, Meter

START = 1_700_000_040.0
"""The first second of a minute."""
PRICE = Price(input=1.0, output=2.0)


class Paper:
    """Rows on paper, shared by as many limiters as like."""

    def __init__(self) -> None:
        self.claimed: dict[Window, list[int]] = {}
        self.used: dict[tuple[str, int], Used] = {}
        self.calls = 0

    def do(self, work: Work) -> list[Answer]:
        self.calls += 1
        for window, by in work.changes:
            row = self.claimed.setdefault(window, [0, 0, 0])
            row[:] = [max(0, had + more) for had, more in zip(row, by, strict=True)]
        for name, used in work.used.items():
            self.used[name] = Used(*(a + b for a, b in zip(self.used.get(name, Used()), used, strict=True)))
        return [self._claim(claim) for claim in work.claims]

    def _claim(self, claim) -> Answer:
        row = self.claimed.setdefault(claim.window, [0, 0, 0])
        left = [top - had for top, had in zip(claim.limit, row, strict=True)]
        if any(wanted and wanted > there for wanted, there in zip(claim.need, left, strict=True)):
            return Answer(claim, Amounts(), Amounts(*left))
        granted = [max(0, min(wanted, there)) for wanted, there in zip(claim.want, left, strict=True)]
        row[:] = [had + new for had, new in zip(row, granted, strict=True)]
        return Answer(claim, Amounts(*granted), Amounts(*(a - b for a, b in zip(left, granted, strict=True))))


class Call:
    """One request: remembers what it was told."""

    def __init__(self, site: Site, worker: int, key: ApiKey, estimate: Estimate) -> None:
        self.site, self.worker, self.estimate = site, worker, estimate
        self.gone = False
        self.outcome: Reservation | ApiError | None = None
        taken = site.meters[worker].take(key, estimate, self)
        self.waited = taken is WAIT
        if not self.waited:
            self.outcome = taken

    def granted(self, outcome) -> bool:
        assert self.outcome is None, "told twice"
        if self.gone:
            return False
        self.outcome = outcome
        return True

    @property
    def runs(self) -> bool:
        return isinstance(self.outcome, Reservation)

    @property
    def status(self) -> int | None:
        return self.outcome.status if isinstance(self.outcome, ApiError) else None

    def settle(self, input_tokens: int | None = None, output_tokens: int | None = None) -> None:
        used_in = self.estimate.input_tokens if input_tokens is None else input_tokens
        used_out = self.estimate.output_tokens if output_tokens is None else output_tokens
        self.site.meters[self.worker].settle(self.outcome, Used(1, used_in, used_out))
        self.outcome = None


class Site:
    """One host: a limiter and its workers. ``skew`` moves the wall clock alone, ``later`` both clocks."""

    def __init__(self, paper: Paper, workers: int = 2, standard: Limits | None = None, seed: int = 1) -> None:
        self.paper = paper
        self.now = self.skew = 0.0
        self.random = random.Random(seed)
        self.up: list[deque] = [deque() for _ in range(workers)]
        self.down: list[deque] = [deque() for _ in range(workers)]
        self.rows_down = False
        self.standard = standard or Limits()
        self.meters = [self._meter(number) for number in range(workers)]
        self.start()

    def _meter(self, number: int) -> Meter:
        return Meter(self.standard, PRICE, lambda: self.now, self.up[number].append)

    def start(self) -> None:
        """A limiter starts, and the workers find it."""
        self.book = Book(
            lambda: START + self.now + self.skew, lambda: self.now, lambda one, word: self.down[one].append(word)
        )
        for meter in self.meters:
            meter.connected()

    def kill(self) -> None:
        """The limiter is killed: what it knew and what was on the way is gone."""
        for queue in self.up + self.down:
            queue.clear()
        for meter in self.meters:
            meter.lost()

    def die(self, number: int) -> None:
        """A worker dies just after it told what its requests hold; another one takes its place."""
        self.settle()
        self.meters[number].tick()
        self.settle()
        self.book.left(number)
        self.down[number].clear()
        self.meters[number] = self._meter(number)
        self.meters[number].connected()

    def step(self) -> bool:
        """Deliver one word, or let the rows work; False when there was nothing to do."""
        ways = [("up", one) for one, queue in enumerate(self.up) if queue]
        ways += [("down", one) for one, queue in enumerate(self.down) if queue]
        ways += [("rows", 0)] if self.book.urgent else []
        if not ways:
            return False
        way, number = self.random.choice(ways)
        if way == "up":
            self.book.heard(number, self.up[number].popleft())
        elif way == "down":
            self.meters[number].heard(self.down[number].popleft())
        else:
            self.write()
        return True

    def write(self) -> None:
        work = self.book.work()
        if self.rows_down:
            self.book.failed(work)
        else:
            self.book.done(self.paper.do(work))

    def settle(self) -> None:
        """Until nobody has anything to say."""
        for _ in range(100_000):
            if not self.step():
                return
        raise AssertionError("they never stop talking")

    def later(self, seconds: float) -> None:
        self.now += seconds
        for meter in self.meters:
            meter.tick()
        self.settle()
        self.book.tick()
        self.write()
        self.settle()

    def call(self, worker: int, key: ApiKey, input_tokens: int = 0, output_tokens: int = 0) -> Call:
        return Call(self, worker, key, Estimate(input_tokens, output_tokens))


def key(id: str = "k", **limits) -> ApiKey:
    return ApiKey(id=id, digest="", limits=Limits(**limits) if limits else None)
