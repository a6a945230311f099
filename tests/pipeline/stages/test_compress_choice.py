"""The choice between candidates: figures in, a choice out; and how figures are drawn from rounds."""

from __future__ import annotations

import pytest

from guideway.core.errors import Refused
from guideway.core.evidence import Interval
from guideway.pipeline.stages.compress.choose import Candidate, Limits, Variant, choose, most_exact
from guideway.pipeline.stages.compress.contest import variants_of
from guideway.pipeline.stages.compress.distance import Apart
from guideway.pipeline.stages.compress.plot import plot
from guideway.pipeline.stages.compress.race import Speed, gain, load_of, median
from guideway.pipeline.stages.examples import Example

LIMITS = Limits(kl=0.02, flips=0.02)


def candidate(precision, *, kl=1e-3, kl_high=None, flips=0.0, ms=1.0, size=100, jitter=0.0):
    """A candidate whose rounds took *ms* per token, every other one longer by the share *jitter*."""
    each = tuple(ms / 1e3 * (1 + jitter * (number % 2)) for number in range(11))
    high = kl * 1.1 if kl_high is None else kl_high
    apart = Apart(1000, kl, Interval(kl * 0.9, high, 0.95, "bootstrap"), 0, flips, _about(flips), 0.01)
    speed = Speed(median([1 / one for one in each]), median([1 / one for one in each]), median(each), each, 1)
    return Candidate(Variant(precision), apart, speed, size)


def _about(share):
    return Interval(max(0.0, share - 0.003), share + 0.003, 0.95, "wilson")


INT4 = candidate("int4", kl=1e-2, ms=1.0, size=10)
INT8 = candidate("int8", kl=1e-4, ms=2.0, size=20)
FP32 = candidate("fp32", kl=1e-8, ms=4.0, size=80)


def test_the_fastest_within_the_limits_ships():
    assert choose([FP32, INT8, INT4], LIMITS).chosen is INT4


@pytest.mark.parametrize(
    "broken",
    [{"kl": 0.018, "kl_high": 0.021}, {"kl": 1e-2, "flips": 0.019}],
    ids=["the upper end of the divergence", "the upper end of the flips"],
)
def test_one_whose_interval_reaches_over_a_limit_falls_to_the_next(broken):
    assert choose([candidate("int4", ms=1.0, **broken), INT8, FP32], LIMITS).chosen is INT8


def test_when_none_is_within_the_limits_one_line_has_every_figure():
    with pytest.raises(Refused) as refused:
        choose([candidate("int4", kl=0.5, ms=1.25, size=3_000_000), candidate("int8", kl=0.1, flips=0.3)], LIMITS)
    said = str(refused.value)
    assert "\n" not in said and "KL 0.02 and flips 2.00%" in said
    assert "int4: KL 0.5 (up to 0.55), flips 0.00% (up to 0.30%), 1.25 ms/token, 3.0 MB" in said
    assert "int8: KL 0.1 (up to 0.11), flips 30.00% (up to 30.30%)" in said


def test_a_less_exact_one_must_save_five_percent_of_the_time():
    exact = candidate("int8", kl=1e-4, ms=1.0)
    assert choose([candidate("int4", kl=1e-2, ms=0.96), exact], LIMITS).chosen is exact
    assert choose([candidate("int4", kl=1e-2, ms=0.94), exact], LIMITS).chosen.variant.precision == "int4"


def test_noise_keeps_the_more_exact_one():
    exact = candidate("int8", kl=1e-4, ms=1.0)
    noisy = choose([candidate("int4", kl=1e-2, ms=0.9, jitter=0.2), exact], LIMITS)
    assert noisy.chosen is exact and noisy.fastest.variant.precision == "int4"
    assert noisy.saves.value >= 0.05 > noisy.saves.interval.low


def test_of_equally_fast_and_equally_exact_ones_the_smaller_ships():
    large, small = candidate("fp32", size=80), candidate("int8", size=20)
    assert choose([large, small], LIMITS).chosen is small
    assert most_exact([large, small]) is small


def test_the_gain_is_paired_so_a_slow_moment_of_the_machine_is_no_difference():
    busy = [1.0, 9.0, 1.0, 9.0, 1.0]
    found = gain([0.5 * one for one in busy], busy)
    assert found.value == pytest.approx(0.5) and found.interval.low == pytest.approx(found.interval.high)


def test_pruning_is_compared_with_what_it_came_from():
    names = [one.name for one in variants_of("auto", ("int4", "int8"), True)]
    assert names == ["int4", "int8", "int4 pruned", "int8 pruned"]
    assert [one.name for one in variants_of("int8", (), True)] == ["int8", "int8 pruned"]


def test_prompts_are_what_is_given_and_leave_room_for_the_answer():
    chat, text = Example(list(range(40)), 30), Example(list(range(20)), 1)
    load = load_of([chat, text], 32)
    assert load.more == 16 and load.prompts == [list(range(15, 30)), list(range(10))]
    assert (load.read, load.made) == (25, 34)


def test_the_drawing_shows_every_candidate_and_fills_the_one_that_ships():
    drawn = plot([FP32, INT8, INT4], INT8, LIMITS, "zh")
    assert all(f">{one}</text>" in drawn for one in ("fp32", "int8", "int4")) and "上限" in drawn
    filled = [line for line in drawn.splitlines() if "fill: var(--mark)" in line]
    assert len(filled) == 1 and ">int8<" in filled[0]
