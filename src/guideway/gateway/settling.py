"""What requests used, told to their budgets for many requests at once: the sums are the same, and cost less."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from guideway.gateway.limits.amounts import Amounts, Used
from guideway.gateway.limits.key_lease import Reservation
from guideway.gateway.record import FREE, Record

Place = tuple[str, int, int]
"""What may be added up: the key, and the minute and session of the lease that was reserved from."""


class _Sum:
    """What was reserved, and what was used of it."""

    __slots__ = ("input", "money", "output", "requests", "reserved", "tokens")

    def __init__(self) -> None:
        self.requests = self.input = self.output = self.reserved = self.tokens = self.money = 0

    def add(self, record: Record) -> None:
        """One request more."""
        reservation = record.reservation
        if reservation is not None:
            need = reservation.need
            self.reserved += need[0]
            self.tokens += need[1]
            self.money += need[2]
        self.requests += 1
        if record.cache in FREE:
            return
        if not record.first:  # a replica that failed read nothing, but it did read for a client that did not wait
            if record.status == 499 and record.sent > record.begun:
                self.input += record.body_bytes // 4
            return
        found = record.usage
        self.input += found.prompt_tokens if found is not None else record.body_bytes // 4
        self.output += found.completion_tokens if found is not None else record.pieces


def settled(records: Iterable[Record]) -> Iterator[tuple[Reservation, Used]]:
    """The reservations of *records*, those of one lease in one, and what they used.

    Where no answer tells, a token is four bytes, and an event is a token.
    """
    sums: dict[Place, _Sum] = {}
    for record in records:
        place = _place(record)
        if place is not None:
            found = sums.get(place)
            if found is None:
                found = sums[place] = _Sum()
            found.add(record)
    for (key, minute, session), total in sums.items():
        need = Amounts(total.reserved, total.tokens, total.money)
        yield Reservation(key, need, minute, session), Used(total.requests, total.input, total.output)


def _place(record: Record) -> Place | None:
    reservation = record.reservation
    if reservation is not None:
        return reservation.key, reservation.minute, reservation.session
    return (record.key.id, 0, -1) if record.free and record.key is not None else None
