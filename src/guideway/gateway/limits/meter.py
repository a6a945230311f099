"""What one worker knows of budgets: leases that decide at once, and requests that wait for a lease. No I/O is in it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Final, NamedTuple

from guideway.core.route import ApiKey
from guideway.core.spec.gateway import Limits, Price
from guideway.gateway.errors import ApiError
from guideway.gateway.limits import refusals
from guideway.gateway.limits.amounts import (
    NOTHING,
    Amounts,
    Estimate,
    Used,
    added,
    amounts,
    budget_of,
    cost,
    covers,
    minus,
    plus,
)
from guideway.gateway.limits.key_lease import KeyLease, Reservation, Waiter
from guideway.gateway.limits.messages import Ask, FromLimiter, FromWorker, Grant, Recall, Refuse, Report, Spent

WAIT_SECONDS = 2.0
IDLE_SECONDS = 0.5
LOST_SECONDS = 1.0
WANTED_AT_ONCE = 256


class Waiting:
    """The type of ``WAIT``."""


WAIT: Final = Waiting()
Taken = Reservation | ApiError | Waiting


class Terms(NamedTuple):
    """What the limits of a key mean: a lease to live by, or the one reservation of all requests without limits."""

    limits: Limits
    state: KeyLease | Reservation


class Meter:
    """Measures every request of one worker. *send* tells the limiter; *clock* is monotonic, in seconds.

    *standard* are the limits of keys that have none of their own.
    """

    def __init__(
        self, standard: Limits, price: Price, clock: Callable[[], float], send: Callable[[FromWorker], None]
    ) -> None:
        self._standard, self._price, self._clock, self._send = standard, price, clock, send
        self._leases: dict[str, KeyLease] = {}
        self._active: dict[str, KeyLease] = {}
        self._terms: dict[str, Terms] = {}
        self._spent: dict[str, Used] = {}
        self._session = 0
        self._lost_at: float | None = clock()
        self.catch_up: Callable[[], None] = lambda: None
        """Settles what has ended and was not told yet; called before anybody is told what is left."""

    # What a request calls.

    def take(self, key: ApiKey, estimate: Estimate, waiter: Waiter) -> Taken:
        """Reserve *estimate*: a reservation, an error, or ``WAIT``: *waiter* hears of it within two seconds."""
        limits = self._standard if key.limits is None else key.limits
        terms = self._terms.get(key.id)
        if terms is None or terms.limits is not limits:
            terms = self._read(key.id, limits)
        state = terms.state
        if isinstance(state, Reservation):
            return state
        need = self._need(state, estimate)
        most, lease, now = state.most, state.lease, self._clock()
        if need[1] > most[1] or need[2] > most[2]:
            return refusals.beyond(state.budget, need)
        if state.waiting or now >= state.until or not covers(lease, need):
            return self._ask_or_refuse(state, need, waiter, now)
        return self._reserve(state, need, now)

    def _need(self, state: KeyLease, estimate: Estimate) -> Amounts:
        """What has to be reserved, of that which is limited."""
        requests, tokens, money = state.counted
        return amounts(
            1 if requests else 0,
            estimate.input_tokens + estimate.output_tokens if tokens else 0,
            cost(self._price, estimate.input_tokens, estimate.output_tokens) if money else 0,
        )

    def settle(self, reservation: Reservation, used: Used) -> None:
        """The requests of *reservation* are over; *used* is what they used, its money left out."""
        requests, tokens = used.requests, used.input_tokens + used.output_tokens
        money = cost(self._price, used.input_tokens, used.output_tokens)
        spent = Used(requests, used.input_tokens, used.output_tokens, money)
        before = self._spent.get(reservation.key)
        self._spent[reservation.key] = spent if before is None else added(before, spent)
        if reservation.session == self._session:
            state = self._leases[reservation.key]
            self._close(state, reservation, state.count(requests, tokens, money))

    def _close(self, state: KeyLease, reservation: Reservation, used: Amounts) -> None:
        """Tell the limiter; one that is gone wants to know nothing of its leases."""
        if reservation.session == self._session:
            state.held = minus(state.held, reservation.need)
            state.close(reservation.minute, reservation.need, minus(reservation.need, used))
            self._active[state.key] = state

    def _read(self, key: str, limits: Limits) -> Terms:
        """What *limits*, which are new to us, mean for *key*."""
        budget = budget_of(limits)
        state = self._leases.get(key)
        if budget is None:
            found = Terms(limits, Reservation(key))
        elif state is None:
            found = Terms(limits, self._leases.setdefault(key, KeyLease(key, budget)))
        else:
            if state.budget != budget:
                state.void(self._session)
                state.limit(budget)
            found = Terms(limits, state)
        self._terms[key] = found
        return found

    def _reserve(self, state: KeyLease, need: Amounts, now: float) -> Reservation:
        state.lease = minus(state.lease, need)
        state.used_at = now
        if state.session == self._session:
            state.held = plus(state.held, need)
        return Reservation(state.key, need, state.minute, state.session)

    def _ask_or_refuse(self, state: KeyLease, need: Amounts, waiter: Waiter, now: float) -> Taken:
        self.catch_up()
        if state.refusal is not None and now < state.hold and need[state.refused[0]] >= state.refused[1]:
            return state.refusal
        if self._lost_at is not None and now - self._lost_at > LOST_SECONDS:
            return refusals.UNAVAILABLE
        state.waiting.append((waiter, need, now + WAIT_SECONDS))
        self._active[state.key] = state
        self._ask(state)
        return WAIT

    def _ask(self, state: KeyLease) -> None:
        """Ask for what the first request needs, if nothing is asked for yet.

        What is left of the lease goes back first: kept, it could be recalled meanwhile, and the grant be too small.
        """
        if state.asked or not state.waiting or self._lost_at is not None:
            return
        state.asked = True
        state.void(self._session)
        all_of = NOTHING
        for _, need, _ in islice(state.waiting, WANTED_AT_ONCE):
            all_of = plus(all_of, need)
        self._report(state)
        self._send(Ask(state.key, state.budget, state.waiting[0][1], all_of))

    # What the limiter says.

    def heard(self, message: FromLimiter) -> None:
        """A word of the limiter."""
        state = self._leases.get(message.key)
        if state is None:
            return
        if isinstance(message, Grant):
            self._granted(state, message)
        elif isinstance(message, Recall):
            self.catch_up()
            state.void(self._session)
            self._report(state, recalled=True)
        elif isinstance(message, Refuse):
            self._refused(state, message)
        else:
            state.asked = False
            self._answer_all(state, refusals.UNAVAILABLE)

    def _granted(self, state: KeyLease, grant: Grant) -> None:
        state.asked = False
        now = self._clock()
        if state.minute != grant.minute or state.session != self._session or now >= state.until:
            state.void(self._session)
        state.minute, state.session, state.until = grant.minute, self._session, now + grant.left
        state.lease = plus(state.lease, grant.amounts)
        self._active[state.key] = state
        state.refusal = None
        while state.waiting and covers(state.lease, state.waiting[0][1]):
            waiter, need, _ = state.waiting.popleft()
            self._hand_over(state, waiter, self._reserve(state, need, now))
        self._ask(state)

    def _hand_over(self, state: KeyLease, waiter: Waiter, reservation: Reservation) -> None:
        if not waiter.granted(reservation):
            self._close(state, reservation, NOTHING)

    def _refused(self, state: KeyLease, refuse: Refuse) -> None:
        """Refuse the first request that waits, and those that need no less; the others ask again."""
        state.asked = False
        if not state.waiting:
            return
        state.refusal = refusals.used_up(state.budget, refuse)
        state.hold = self._clock() + refuse.hold
        short, least = state.refused = refuse.short, state.waiting[0][1][refuse.short]
        waiting, state.waiting = state.waiting, deque()
        state.waiting.extend(one for one in waiting if one[1][short] < least)
        for waiter, need, _ in waiting:
            if need[short] >= least:
                waiter.granted(state.refusal)
        self._ask(state)

    def _answer_all(self, state: KeyLease, error: ApiError) -> None:
        waiting, state.waiting = state.waiting, deque()
        for waiter, _, _ in waiting:
            waiter.granted(error)

    # The connection, and time.

    def connected(self) -> None:
        """The limiter can be heard: ask for those who wait."""
        self._lost_at = None
        for state in tuple(self._leases.values()):
            self._ask(state)

    def lost(self) -> None:
        """The limiter is gone. Leases hold until their minute ends, for it had claimed them; none can be given back."""
        if self._lost_at is None:
            self._lost_at = self._clock()
        self._session += 1
        for state in self._leases.values():
            state.asked, state.held, state.told = False, NOTHING, NOTHING
            state.closed.clear()
            state.unused.clear()

    def tick(self) -> None:
        """Several times a second: give back what is not used, tell what was, and let nobody wait too long."""
        self.catch_up()
        now = self._clock()
        for state in tuple(self._active.values()):
            if state.lease != NOTHING and (now >= state.until or now - state.used_at > IDLE_SECONDS):
                state.void(self._session)
            while state.waiting and state.waiting[0][2] <= now:
                state.waiting.popleft()[0].granted(refusals.UNAVAILABLE)
            if self._lost_at is None and (state.closed or state.held != state.told):
                self._report(state)
            if state.rests:
                del self._active[state.key]
        if self._lost_at is None:
            self.tell_spent()

    def tell_spent(self) -> None:
        """Tell what keys used."""
        spent, self._spent = self._spent, {}
        for key, used in spent.items():
            self._send(Spent(key, used))

    def leave(self) -> None:
        """The worker leaves: give everything back that is not reserved."""
        self.catch_up()
        for state in self._leases.values():
            state.void(self._session)
            if self._lost_at is None:
                self._report(state)
        if self._lost_at is None:
            self.tell_spent()

    def _report(self, state: KeyLease, *, recalled: bool = False) -> None:
        """Tell what of the leases of *state* is over."""
        closed, state.closed = state.closed, {}
        unused, state.unused = state.unused, {}
        changed = state.held != state.told
        state.told = state.held
        for minute, done in closed.items():
            self._send(Report(state.key, minute, done, unused[minute], state.held))
        if recalled or (changed and not closed):
            self._send(Report(state.key, state.minute, held=state.held, recalled=recalled))
