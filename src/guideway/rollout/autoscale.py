"""How many replicas a release should have. Pure: a state and a reading in, a decision with its numbers out.

Four needs are compared. *Stable*: the mean load of the last minutes, with as many places above it as Erlang's formula
asks for the objective on queue time (`staffing.py`), and with a target per replica if one is set. *Panic*: requests
wait longer than they may now, so what comes in now decides. *Kept*: the most that was needed lately, below which
nothing goes. *Floor*: what is under way has a place. Changes are few: those upwards may use all that an hour allows,
those downwards leave one for the way back up. A reading that is missing changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import msgspec

from guideway.rollout.load import Load, Point, Reading, arrived, load_of, observed
from guideway.rollout.staffing import replicas_for

HOUR = 3600.0
LEAP = 1.5
"""Beyond the changes of an hour an overload is still answered, but only by growing this much: so it ends soon."""

MEASURABLE = 100.0
"""Of fewer requests than this in an hour a share of late ones says little: a single one is more than a hundredth."""

Rule = Literal["hold", "unknown", "bounds", "wake", "panic", "stable", "settled", "zero", "spent"]


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What is wanted. Times in seconds.

    ``places`` is how many requests one replica works on at once; ``target`` how many it should have in the mean, if
    that is to decide too. At most the share ``late`` of requests shall wait longer than ``queue`` for a place.
    ``stable`` and ``panic`` are the two windows, ``settle`` is how long less must have been enough before anything
    goes, ``changes`` how many an hour allows. With ``min`` 0 an idle release has no replica, if one can be started
    within ``wake``. ``batch`` says that batches may start replicas too.
    """

    min: int = 1
    max: int
    places: int
    target: float | None = None
    queue: float = 1.0
    late: float = 0.01
    stable: float = 120.0
    panic: float = 15.0
    settle: float = 600.0
    changes: int = 6
    wake: float = 30.0
    batch: bool = False


class Need(msgspec.Struct, frozen=True, array_like=True):
    """How many replicas were needed at a time."""

    at: float
    replicas: int


class State(msgspec.Struct, frozen=True):
    """What has to be kept between two decisions: a few hundred numbers at most, for a row.

    ``since``: when readings began to come without a gap; ``panic_until``: when calm may begin again.
    """

    wanted: int
    since: float | None = None
    points: tuple[Point, ...] = ()
    needs: tuple[Need, ...] = ()
    changes: tuple[float, ...] = ()
    panic_until: float | None = None
    service: float | None = None
    came: float = 0.0
    late: float = 0.0

    @property
    def late_share(self) -> float:
        """The share of the last hour's requests that waited too long though all replicas were there."""
        return self.late / max(self.came, MEASURABLE)


class Numbers(msgspec.Struct, frozen=True):
    """What a decision was made from. Needs in replicas, before ``min`` and ``max``; ``used``: changes of the hour."""

    load: Load
    stable: int
    panic: int
    kept: int
    floor: int
    ready: int
    used: int
    cold_start: float | None


class Decision(msgspec.Struct, frozen=True):
    """So many replicas from now on, by which rule, why, and what to keep for the next time."""

    wanted: int
    before: int
    rule: Rule
    reason: str
    numbers: Numbers | None
    state: State

    @property
    def changed(self) -> bool:
        """Is there anything to do?"""
        return self.wanted != self.before


def decide(state: State, reading: Reading, rules: Rules) -> Decision:
    """What to do at *reading*; call it every few seconds, at least thrice within ``rules.panic``."""
    last = state.points[-1].at if state.points else -math.inf
    if reading.in_flight is None or reading.at <= last:
        back = reading.in_flight is not None
        reason = "the clock did not move on" if back else "the load is not known, so nothing changes"
        bounded = min(max(state.wanted, rules.min), rules.max)
        if bounded != state.wanted:
            reason = f"{state.wanted} lies outside {rules.min} to {rules.max}"
        after = msgspec.structs.replace(_set_back(state, reading.at), wanted=bounded)
        return Decision(bounded, state.wanted, "unknown" if bounded == state.wanted else "bounds", reason, None, after)
    seen = observed(state.points, reading, rules.stable, batch=rules.batch)
    load = load_of(seen, rules.panic, state.service)
    state = _remember(state, seen, load, reading, rules)
    numbers = _numbers(state, load, reading, rules)
    rule, wanted, reason = _choose(state, numbers, reading.at, rules)
    changed = wanted != state.wanted
    after = msgspec.structs.replace(
        state, wanted=wanted, changes=(*state.changes, reading.at) if changed else state.changes
    )
    return Decision(wanted, state.wanted, rule, reason, numbers, after)


def _set_back(state: State, now: float) -> State:
    """If the clock went back: what lies in the future is forgotten, and nothing is known to have been enough."""
    kept = tuple(one for one in state.points if one.at <= now)
    return state if kept == state.points else msgspec.structs.replace(state, since=None, points=kept)


def _remember(state: State, seen: Sequence[Point], load: Load, reading: Reading, rules: Rules) -> State:
    """The state with what this reading adds, without what is too old to matter."""
    now = reading.at
    gap = not state.points or now - state.points[-1].at > rules.panic
    since = now if gap or state.since is None else state.since
    panic_until = now + rules.stable if _late(load.queued, load, reading, rules) else state.panic_until
    if panic_until is not None and not now <= panic_until <= now + rules.stable:
        panic_until = None
    state = _count(state, seen[-1], load, reading, rules)
    need = max(_stable_need(load, rules), _panic_need(state, load, reading, rules), _floor(reading, rules))
    higher = [one for one in state.needs if one.replicas > need and now - rules.settle < one.at <= now]
    return State(
        wanted=state.wanted,
        since=since,
        points=tuple(seen),
        needs=(*higher, Need(now, need)),
        changes=tuple(at for at in state.changes if now - HOUR < at <= now),
        panic_until=panic_until,
        service=load.service,
        came=state.came,
        late=state.late,
    )


def _count(state: State, here: Point, load: Load, reading: Reading, rules: Rules) -> State:
    """Count who came, and who came when it took too long; what is an hour old weighs about a third."""
    if not state.points:
        return state
    last = state.points[-1]
    fades = math.exp((last.at - here.at) / HOUR)
    came = arrived(last, here)
    late = state.late * fades + (came if _short(state, load, reading, rules) else 0.0)
    return msgspec.structs.replace(state, came=state.came * fades + came, late=late)


def _numbers(state: State, load: Load, reading: Reading, rules: Rules) -> Numbers:
    return Numbers(
        load=load,
        stable=_stable_need(load, rules),
        panic=_panic_need(state, load, reading, rules),
        kept=max(one.replicas for one in state.needs),
        floor=_floor(reading, rules),
        ready=reading.ready,
        used=len(state.changes),
        cold_start=reading.cold_start,
    )


def _stable_need(load: Load, rules: Rules) -> int:
    """What the mean load asks for, by queue time and by the target; nothing while there is hardly a mean."""
    if load.seconds < rules.panic:
        return 0
    by_queue = replicas_for(
        load.mean, rules.places, within=rules.queue, late=rules.late, service=load.service, most=rules.max
    )
    return max(by_queue, math.ceil(load.mean / rules.target) if rules.target else 0)


def _late(waiting: float, load: Load, reading: Reading, rules: Rules) -> bool:
    """With *waiting* requests in the queue: do those who come now wait longer than they may?"""
    if reading.waited is not None and reading.waited > rules.queue:
        return True
    places = max(1, reading.ready * rules.places)
    return waiting > 0 and (load.service is None or waiting * load.service / places > rules.queue)


def _short(state: State, load: Load, reading: Reading, rules: Rules) -> bool:
    """Is it late now though all replicas are there, and have been for long enough to be done with what had waited?"""
    calm = rules.stable + (reading.cold_start or 0.0)
    settled = reading.ready >= max(1, state.wanted) and (not state.changes or reading.at - state.changes[-1] > calm)
    return settled and _late(load.waiting, load, reading, rules)


def _panic_need(state: State, load: Load, reading: Reading, rules: Rules) -> int:
    """If those who come now wait too long: places for what comes in now, and to be done soon with who waits.

    Where all replicas are there and requests are late more often than they may be, the means hide the peaks: one more.
    """
    need = 0
    if _late(load.queued, load, reading, rules):
        behind = load.queued * (load.service or rules.stable) / rules.stable
        need = math.ceil((load.now + behind) / rules.places)
    if state.late_share > rules.late and _short(state, load, reading, rules):
        need = max(need, state.wanted + 1)
    return need


def _floor(reading: Reading, rules: Rules) -> int:
    """A place for everything that is under way; batches keep one replica and no more, unless they may start some."""
    live = math.ceil((reading.in_flight or 0.0) / rules.places)
    return max(live, 1) if reading.batch_in_flight else live


def _choose(state: State, numbers: Numbers, now: float, rules: Rules) -> tuple[Rule, int, str]:
    wanted, need = state.wanted, max(numbers.stable, numbers.panic, numbers.floor)
    bounded = min(max(wanted, rules.min), rules.max)
    if bounded != wanted:
        return "bounds", bounded, f"{wanted} lies outside {rules.min} to {rules.max}"
    need = min(max(need, rules.min), rules.max)
    if wanted == 0 and need:
        return "wake", need, f"a request came and there was no replica; {_ready_in(numbers)}"
    if need > wanted:
        return _upwards(state, numbers, need, rules)
    return _downwards(state, numbers, now, rules)


def _upwards(state: State, numbers: Numbers, need: int, rules: Rules) -> tuple[Rule, int, str]:
    rule: Rule = "panic" if numbers.panic >= need else "stable"
    load = numbers.load
    why = (
        f"{load.queued:.1f} requests wait, longer than {rules.queue:g} s; {load.now:.1f} are here or coming"
        if rule == "panic"
        else f"the mean load is {load.mean:.1f}"
    )
    if numbers.used < rules.changes or (rule == "panic" and need >= LEAP * state.wanted):
        return rule, need, f"{why}: {need} replicas; {_ready_in(numbers)}"
    return "spent", state.wanted, f"{why}: {need} replicas would be needed, but the hour had {numbers.used} changes"


def _downwards(state: State, numbers: Numbers, now: float, rules: Rules) -> tuple[Rule, int, str]:
    keep = min(max(numbers.kept, rules.min, 0 if _may_sleep(numbers, rules) else 1), rules.max)
    if keep >= state.wanted:
        return "hold", state.wanted, f"{state.wanted} replicas are what is needed"
    if state.panic_until is not None:
        return "hold", state.wanted, f"fewer would do, but requests waited less than {rules.stable:g} s ago"
    if state.late_share > rules.late:
        return "hold", state.wanted, f"fewer would do, but {state.late_share:.1%} of requests waited too long"
    if state.since is None or now - state.since < rules.settle:
        return "hold", state.wanted, f"fewer would do, but not for {rules.settle:g} s yet"
    if numbers.used > rules.changes - 2 or (state.changes and now - state.changes[-1] < HOUR / rules.changes):
        return "spent", state.wanted, f"{keep} replicas would do, but the hour had {numbers.used} changes"
    if keep == 0:
        return "zero", 0, f"nothing came for {rules.settle:g} s; {_ready_in(numbers)}"
    return "settled", keep, f"for {rules.settle:g} s no more than {keep} replicas were needed"


def _may_sleep(numbers: Numbers, rules: Rules) -> bool:
    """Is it known that the next request will not wait too long for a replica?"""
    return numbers.cold_start is not None and numbers.cold_start <= rules.wake


def _ready_in(numbers: Numbers) -> str:
    if numbers.cold_start is None:
        return "how long a start takes is not known"
    return f"a start takes {numbers.cold_start:.0f} s"
