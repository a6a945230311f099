"""What a load was answered, and what can be measured of it. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import msgspec

OK = 200
REFUSALS = (429, 503)
"""How a service that is full may refuse, if it says when to come again."""


class Answer(msgspec.Struct, frozen=True):
    """One request and how it ended. Times are monotonic seconds; ``head`` is when the head of the answer came.

    ``status`` 0 and ``head`` 0: there was none, and ``why`` says so. ``whole``: the answer was read to its proper
    end. ``release`` is the short digest that it named, ``cache`` what it said of the cache.
    """

    began: float
    ended: float
    head: float = 0.0
    status: int = 0
    streamed: bool = False
    whole: bool = False
    release: str = ""
    cache: str = ""
    retry_after: str = ""
    why: str = ""

    @property
    def good(self) -> bool:
        """Did the client get what it asked for?"""
        return self.status == OK and self.whole

    @property
    def broken(self) -> bool:
        """Did a stream begin and not come to its end?"""
        return self.streamed and self.status == OK and not self.whole

    @property
    def refused(self) -> bool:
        """Was it refused as it should be: busy, and when to come again?"""
        return self.status in REFUSALS and self.retry_after.isdigit()

    @property
    def seconds(self) -> float:
        """From the first byte out to the last one in."""
        return self.ended - self.began


def failed(answers: Iterable[Answer]) -> list[Answer]:
    """Those that did not get what they asked for."""
    return [one for one in answers if not one.good]


def broken(answers: Iterable[Answer]) -> list[Answer]:
    """The streams that broke off."""
    return [one for one in answers if one.broken]


def seconds_until_gone(answers: Iterable[Answer], release: str, order: float) -> float:
    """Seconds from *order* to the first answer of another release after which no answer names *release* any more.

    Infinite as long as no such answer came. It is an upper bound: the last of *release* was before.
    """
    heads = sorted((one.head, one.release) for one in answers if one.head >= order and one.release)
    last = max((index for index, (_, named) in enumerate(heads) if named == release), default=-1)
    return heads[last + 1][0] - order if last + 1 < len(heads) else math.inf


def slowest_told(answers: Iterable[Answer], since: float) -> float:
    """Seconds from *since* until the last broken stream was told that it is broken; 0 when none broke."""
    return max((one.ended - since for one in broken(answers)), default=0.0)


def goodput(answers: Iterable[Answer], begin: float, end: float) -> float:
    """Good answers a second that ended between *begin* and *end*."""
    return sum(one.good and begin <= one.ended < end for one in answers) / (end - begin)


def improper(answers: Iterable[Answer]) -> list[Answer]:
    """Those that were neither answered nor refused as they should be."""
    return [one for one in answers if not (one.good or one.refused)]


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that *share* of them do not exceed; NaN of none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


def calm_since(answers: Iterable[Answer], since: float, limit: float, count: int) -> float:
    """Seconds from *since* to the end of the last of the first *count* good answers in a row within *limit* seconds.

    Only requests that began after *since* count. Infinite when there was no such row.
    """
    row = 0
    for one in sorted((one for one in answers if one.began >= since), key=lambda one: one.ended):
        row = row + 1 if one.good and one.seconds <= limit else 0
        if row == count:
            return one.ended - since
    return math.inf


def hit_share(answers: Iterable[Answer]) -> float:
    """The share of good answers that came from the cache, or with another's; 0 of none."""
    good = [one for one in answers if one.good]
    return sum(one.cache in ("hit", "shared") for one in good) / len(good) if good else 0.0


def reasons(answers: Iterable[Answer]) -> str:
    """Why requests failed, the most frequent first: ``3 × status 502, 1 × connection reset``."""
    counts: dict[str, int] = {}
    for one in failed(answers):
        said = one.why or f"status {one.status}"
        counts[said] = counts.get(said, 0) + 1
    ranked = sorted(counts.items(), key=lambda pair: -pair[1])
    return ", ".join(f"{count} × {said}" for said, count in ranked[:3])
