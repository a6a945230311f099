"""What happened lately: back-off and refusals end in time, whatever somebody does to the clock on the wall."""

from __future__ import annotations

from guideway.core.route import Route
from guideway.fleet.lately import FADE, REFUSED_FOR, Lately
from guideway.fleet.view import Death

NEW = "sha256:" + "1" * 64


class Steady:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_deaths_are_counted_until_none_came_for_a_while():
    steady = Steady()
    lately = Lately(steady)
    for at in (101.0, 102.0):
        steady.now = at
        lately.died("dev", NEW, f"at {at}")
    assert lately.deaths("dev")[NEW] == Death(2, 102.0, "at 102.0")
    steady.now = 102.0 + FADE + 0.1
    lately.fade()
    assert not lately.deaths("dev")


def test_a_route_is_followed_from_when_it_was_projected_and_not_from_when_its_row_was_written():
    steady = Steady()
    lately = Lately(steady)
    route = Route("dev", "m", revision=1, epoch=1)
    steady.now = 200.0
    assert lately.routed(route) == 200.0
    lately.projected(route)
    steady.now = 201.0
    lately.projected(route)
    assert lately.routed(route) == 200.0
    assert lately.routed(Route("dev", "m", revision=2, epoch=1)) == 201.0


def test_what_was_refused_is_looked_at_again_after_a_while():
    steady = Steady()
    lately = Lately(steady)
    lately.refuse("dev", NEW, "it is corrupt")
    assert lately.refused("dev") == {NEW: "it is corrupt"}
    steady.now += REFUSED_FOR
    assert not lately.refused("dev")
