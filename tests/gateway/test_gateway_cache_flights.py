"""Single flight: one asks, all get the answer, and nobody is left waiting."""

from __future__ import annotations

from gateway_rig import MODEL
from hypothesis import given
from hypothesis import strategies as st

from guideway.gateway.cache.flights import Flights
from guideway.gateway.cache.stored import Stored

ANSWER = Stored(200, b"application/json", MODEL.encode(), None, 0.0)


class Guest:
    """A request that joins a flight and notes what it hears."""

    def __init__(self, flights: Flights, key: bytes = b"k") -> None:
        self.heard: list[object] = []
        self.seat = flights.join(key, self)

    def landed(self, stored: Stored) -> None:
        self.heard.append(stored)

    def lead(self) -> None:
        self.heard.append("lead")


def party(size: int, **options) -> tuple[Flights, list[Guest]]:
    flights = Flights(**options)
    return flights, [Guest(flights) for _ in range(size)]


def test_the_first_leads_and_all_others_get_its_answer_once():
    flights, (leader, *others) = party(5)
    assert leader.seat.leads
    assert leader.seat.awaited
    assert not any(one.seat.leads for one in others)
    assert leader.seat.land(ANSWER) == 4
    assert [one.heard for one in others] == [[ANSWER]] * 4
    assert leader.heard == []
    assert len(flights) == 0


def test_other_keys_are_other_flights():
    flights = Flights()
    assert Guest(flights, b"a").seat.leads
    assert Guest(flights, b"b").seat.leads
    assert len(flights) == 2


def test_when_the_client_of_the_leader_leaves_exactly_one_takes_over():
    flights, (leader, second, third) = party(3)
    leader.seat.leave()
    assert (second.heard, third.heard) == (["lead"], [])
    assert second.seat.leads
    second.seat.land(ANSWER)
    assert third.heard == [ANSWER]
    assert len(flights) == 0


def test_when_a_waiter_leaves_it_hears_nothing_and_the_others_stay():
    _, (leader, second, third) = party(3)
    second.seat.leave()
    leader.seat.land(ANSWER)
    assert (second.heard, third.heard) == ([], [ANSWER])


def test_after_failures_one_tries_then_two_then_four_and_no_herd():
    _, guests = party(20)
    trying = [guests[0]]
    sizes = []
    while trying:
        before = [one for one in guests[1:] if not one.heard]
        for one in trying:
            one.seat.fail()
        trying = [one for one in before if one.heard]
        sizes.append(len(trying))
    assert sizes == [1, 2, 4, 8, 4, 0]
    assert [one.heard for one in guests[1:]] == [["lead"]] * 19


def test_a_flight_takes_so_many_and_others_go_alone():
    _, guests = party(5, waiters=2)
    assert [one.seat is None for one in guests] == [False, False, False, True, True]


def test_who_asks_again_when_it_hears_begins_a_new_flight():
    flights = Flights()

    class Eager(Guest):
        def landed(self, stored: Stored) -> None:
            super().landed(stored)
            self.again = Guest(flights)

    leader, eager = Guest(flights), Eager(flights)
    leader.seat.land(ANSWER)
    assert eager.again.seat.leads
    assert len(flights) == 1


def test_one_who_breaks_while_it_hears_keeps_nobody_from_it(capsys):
    flights = Flights()

    class Broken(Guest):
        def landed(self, stored: Stored) -> None:
            raise RuntimeError("a secret")

        def lead(self) -> None:
            raise RuntimeError("a secret")

    leader, _, last = Guest(flights), Broken(flights), Guest(flights)
    leader.seat.land(ANSWER)
    assert last.heard == [ANSWER]
    leader, _, last = Guest(flights), Broken(flights), Guest(flights)
    leader.seat.leave()
    assert last.heard == ["lead"]
    said = capsys.readouterr().err
    assert "RuntimeError" in said
    assert "a secret" not in said


def test_a_leader_that_fails_at_once_hands_on_until_somebody_answers():
    flights = Flights()

    class Hopeless(Guest):
        def lead(self) -> None:
            super().lead()
            self.seat.fail()

    leader, *others = Guest(flights), *(Hopeless(flights) for _ in range(200))
    leader.seat.fail()
    assert [one.heard for one in others] == [["lead"]] * 200
    assert len(flights) == 0


@given(st.lists(st.tuples(st.sampled_from(["join", "land", "fail", "leave"]), st.integers(0, 30)), max_size=60))
def test_whatever_happens_each_who_stays_hears_exactly_once_and_each_flight_has_one_leader(steps):
    flights = Flights()
    guests: list[Guest] = []
    gone: set[int] = set()
    for what, number in steps:
        if what == "join" or not guests:
            guests.append(Guest(flights))
            continue
        guest = guests[number % len(guests)]
        if what == "leave":
            guest.seat.leave()
            gone.add(id(guest))
        elif guest.seat.leads:
            guest.seat.land(ANSWER) if what == "land" else guest.seat.fail()
            gone.add(id(guest))
    while waiting := [one for one in guests if id(one) not in gone and one.seat.leads]:
        for one in waiting:
            one.seat.fail()
            gone.add(id(one))
    assert len(flights) == 0
    assert all(len(one.heard) <= 1 for one in guests)
    assert all(id(one) in gone or one.heard == [ANSWER] for one in guests)
