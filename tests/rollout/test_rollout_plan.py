"""A plan that cannot be meant is refused when it is loaded."""

from __future__ import annotations

import math

import msgspec
import pytest

from guideway.core.errors import SpecError
from guideway.core.spec.rollout import REQUIRED, STEPS, Required, Step
from guideway.rollout.plan import Plan, check


def test_the_default_plan_is_accepted_and_promotes_within_ten_thousand_requests_at_the_soonest():
    check(Plan())
    assert [step.weight for step in STEPS] == [0.05, 0.10, 0.25, 0.50]
    assert sum(step.units for step in STEPS) <= 10_000
    assert {one.signal for one in REQUIRED} >= {"errors", "latency_p50"}


def test_thresholds_follow_from_the_shares_of_alpha():
    assert math.exp(Plan().log_threshold("errors")) == pytest.approx(200)
    assert math.exp(Plan().log_threshold("latency_p50")) == pytest.approx(2000)
    assert math.exp(Plan(alpha=0.1).log_threshold("errors")) == pytest.approx(20)
    assert Plan().error_each == 0.025


def test_what_is_not_required_is_compared_with_twice_as_often():
    plan = Plan(required=(Required("errors", 3.0),))
    assert (plan.margin("errors"), plan.margin("refusals")) == (3.0, 2.0)


WRONG = {
    "no step": ({"steps": ()}, "at least one step"),
    "weight of nothing": ({"steps": (Step(0.0, 10),)}, "between 0 and 1"),
    "weight of everything": ({"steps": (Step(1.0, 10),)}, "between 0 and 1"),
    "weight that is no number": ({"steps": (Step(math.nan, 10),)}, "between 0 and 1"),
    "falling weights": ({"steps": (Step(0.2, 10), Step(0.1, 10))}, "rise from step to step"),
    "equal weights": ({"steps": (Step(0.2, 10), Step(0.2, 10))}, "rise from step to step"),
    "no units": ({"steps": (Step(0.2, 0),)}, "at least one unit"),
    "held too long": ({"steps": (Step(0.2, 10, shortest=9.0, longest=8.0),)}, "9 s at least, but 8 s at most"),
    "nothing required": ({"required": ()}, "at least one signal"),
    "unknown signal": ({"required": (Required("erors"),)}, "did you mean 'errors'?"),
    "quality required": ({"required": (Required("quality"),)}, "no signal 'quality'"),
    "required twice": ({"required": (Required("errors"), Required("errors", 3.0))}, "rollout.require.1: 'errors' is"),
    "margin": ({"required": (Required("errors", 1.0),)}, "a ratio above 1"),
    "objective": ({"required": (Required("errors", 2.0, objective=1.0),)}, "a rate between 0 and 1"),
    "alpha": ({"alpha": 0.0}, "alpha lies between"),
    "alpha of promotion": ({"alpha_promote": 1.0}, "alpha_promote lies between"),
    "deadline": ({"ready_within": 0.0}, "ready_within is a number of seconds"),
    "deadline that never comes": ({"source_within": math.inf}, "source_within is a number"),
}


@pytest.mark.catalogue("A11")
@pytest.mark.parametrize(("changes", "words"), WRONG.values(), ids=WRONG)
def test_an_impossible_plan_is_refused_in_one_line(changes, words):
    with pytest.raises(SpecError, match="rollout") as refused:
        check(msgspec.structs.replace(Plan(), **changes))
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
