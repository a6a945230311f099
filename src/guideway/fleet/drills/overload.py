"""Drill: overload (A26). First what the service can do, then twice as much, then whether it recovers."""

from __future__ import annotations

import msgspec

from guideway.core.errors import GuidewayError, Unavailable
from guideway.core.rollout import EnvironmentState
from guideway.fleet.drills import answers as of
from guideway.fleet.drills.answers import Answer
from guideway.fleet.drills.load import Question, closed
from guideway.fleet.drills.result import Criterion, Drilled, limit_of, none
from guideway.fleet.drills.site import Site

SAYS = (
    "find out how many requests a second the service can answer, which takes all that it has for some seconds",
    "offer twice as many for ten to thirty seconds; other clients will wait or be refused meanwhile",
)
CLIENTS = (1, 2, 4, 8, 16, 32, 64, 128)
"""How many clients ask one after the other in each step of the search for the capacity."""
STEP, LONGEST_STEP, ANSWERS_A_STEP = 2.0, 30.0, 5
"""Seconds of a step: so many at least, at most, and answers of one client that fit into it."""
LONG = 5.0
"""Seconds for which the best step is measured once more: the best of many short ones is partly luck."""
GAIN = 1.05
"""A step that brings less than this brings nothing; two in a row end the search."""
TIMES, OFFERED_RATIO = 2.0, 1.2
"""So many times the capacity is offered; below the second, because this client could do no more, nothing is shown."""
OFFERED, LONGEST = 10.0, 30.0
"""Seconds of overload; more of them when nobody was refused, since a queue takes a while to fill."""
GOODPUT = 0.8
"""The share of the capacity that must be left under overload; the client on this machine takes its part of it."""
RECOVERED = 5.0
"""Seconds after the overload, beyond the time that a request may wait, within which answers are quick again."""
ROW = 10
"""Quick answers in a row that mean that the service has recovered."""
SLACK, FLOOR = 3.0, 0.5
"""An answer is quick within SLACK times the slowest twentieth of an idle service, or FLOOR seconds."""


class Capacity(msgspec.Struct, frozen=True):
    """Good answers a second at best, with how many clients; ``slow``: the 95th percentile, in seconds, of one."""

    rate: float
    clients: int
    slow: float


def run(site: Site) -> Drilled:
    """Search the capacity, offer twice of it, and wait until the service answers quickly again."""
    began, at = site.clock(), site.wall()
    capacity = find_capacity(site)
    quick = max(SLACK * capacity.slow, FLOOR)
    limit = site.state.gateway.admission.wait + RECOVERED + quick
    rate = TIMES * capacity.rate
    site.say(f"offering {rate:.0f} requests a second")
    with site.load(rate=rate, kept=True, most=crowd(site.state)) as heavy:
        start = site.clock()
        site.pause(OFFERED)
        site.until(lambda: heavy.refused, LONGEST - OFFERED)
        end = site.clock()
        heavy.stop()
        with site.load(rate=min(site.asked.rate, capacity.rate / 2)) as light:
            site.until(lambda: of.calm_since(tuple(light.answers), end, quick, ROW) < limit, limit)
    goodput = of.goodput(_useful(heavy.answers, site.asked.within), start + quick, end)
    recovery = of.calm_since(light.answers, end, quick, ROW)
    _must_be_overload(heavy.offered / (end - start), capacity, refused=bool(heavy.refused))
    criteria = judged(heavy.answers, goodput / capacity.rate, recovery, limit)
    return Drilled(
        drill="overload",
        environment=site.environment,
        at=at,
        seconds=site.clock() - began,
        criteria=(*_headroom(site, capacity), *criteria),
        inputs=(site.stable.release,),
        notes=_notes(site, heavy.answers, end - start),
    )


def judged(heavy: list[Answer], ratio: float, recovery: float, limit: float) -> tuple[Criterion, ...]:
    """The criteria: *ratio* of the capacity was left, and answers were quick again *recovery* seconds after it."""
    return (
        Criterion(
            what="goodput, share of the capacity",
            metric="overload_goodput_ratio",
            value=ratio,
            unit="",
            at_least=GOODPUT,
            n=len(heavy),
        ),
        none("neither answered nor properly refused", "overload_improper_answers", of.improper(heavy), heavy),
        Criterion(
            what="quick again",
            metric="overload_recovery_seconds",
            value=recovery,
            unit="s",
            at_most=limit,
            n=1,
        ),
    )


def crowd(state: EnvironmentState) -> int:
    """How many requests the client has under way at most: twice as many as the gateway lets run and wait.

    More would show nothing but how many connections the kernel of this machine takes at once.
    """
    admission = state.gateway.admission
    return 2 * (admission.concurrent * state.replicas + admission.queue * state.gateway.workers)


def _must_be_overload(offered: float, capacity: Capacity, *, refused: bool) -> None:
    """Raises: Unavailable: the client offered no more than the service can do, so nothing was shown."""
    if not refused:
        raise Unavailable(
            f"nobody was refused at {offered:.0f} requests a second: the service does more than the "
            f"{capacity.rate:.0f} a second that were found, and that was no overload",
            try_this="another time, when the machine has less to do",
        )
    if offered < OFFERED_RATIO * capacity.rate:
        raise Unavailable(
            f"this machine could offer {offered:.0f} requests a second only, the service answers {capacity.rate:.0f}: "
            "that is no overload",
            try_this="a longer --prompt, or another time, when the machine has less to do",
        )


def find_capacity(site: Site) -> Capacity:
    """The most good answers a second with ever more clients, until two steps in a row bring nothing more."""
    best, slow, seconds, idle = Capacity(0.0, 1, 0.0), 0.0, STEP, 0
    for clients in CLIENTS:
        rate, found = _step(site, clients, seconds)
        if not slow:
            slow = of.percentile([one.seconds for one in found], 0.95)
            seconds = min(max(STEP, ANSWERS_A_STEP * slow), LONGEST_STEP)
        site.say(f"{clients} clients: {rate:.1f} answers a second")
        idle = 0 if rate > best.rate * GAIN else idle + 1
        best = Capacity(rate, clients, slow) if rate > best.rate else best
        if idle == 2 or of.failed(found):
            break
    rate, _ = _step(site, best.clients, max(seconds, LONG))
    site.say(f"{best.clients} clients once more, for longer: {rate:.1f} answers a second")
    if not rate:
        raise GuidewayError("no answer came within its time", where=site.environment, try_this="--within SECONDS")
    return msgspec.structs.replace(best, rate=rate)


def _step(site: Site, clients: int, seconds: float) -> tuple[float, list[Answer]]:
    question: Question = site.question
    start = site.clock()
    found = closed(question, clients, seconds, clock=site.clock)
    return of.goodput(_useful(found, site.asked.within), start, start + seconds), found


def _useful(found: list[Answer], within: float) -> list[Answer]:
    """Those that came while they were still of use."""
    return [one for one in found if one.seconds <= within]


def _headroom(site: Site, capacity: Capacity) -> tuple[Criterion, ...]:
    """The criterion of OPS-05, where people said what peak they expect, and the capacity."""
    found = Criterion(
        what=f"capacity, with {capacity.clients} clients",
        metric="capacity_per_second",
        value=capacity.rate,
        unit="requests/s",
        n=1,
    )
    if not site.asked.peak:
        return (found,)
    headroom = Criterion(
        what=f"times the expected peak of {site.asked.peak:g} a second",
        metric="peak_headroom",
        value=capacity.rate / site.asked.peak,
        unit="times",
        at_least=limit_of("peak_headroom", site.clauses),
        n=1,
    )
    return (found, headroom)


def _notes(site: Site, heavy: list[Answer], seconds: float) -> tuple[str, ...]:
    refused = sum(one.refused for one in heavy)
    good = sum(one.good for one in heavy)
    rate = f"{len(heavy) / seconds:.0f} a second"
    said = [f"of {len(heavy)} requests at {rate}, {good} were answered, {refused} refused"]
    if of.improper(heavy):
        said.append("neither: " + of.reasons(of.improper(heavy)))
    if not site.asked.peak:
        said.append("say what peak you expect (--peak REQUESTS_A_SECOND), and this proves OPS-05 too")
    return tuple(said)
