"""The thread that replays golden prompts: each once, slowly, and gone when it is told."""

from __future__ import annotations

import queue
import threading

import msgspec
import pytest
from gateway_paper import held, raw, unary
from gateway_rig import wait_for
from golden_rig import SETTINGS, Service, says

from guideway.core.errors import SpecError
from guideway.fleet.golden import CHANCES, Absent, Golden, Replayed, scored
from guideway.fleet.prompts import load_prompts
from guideway.rollout.golden import Pair, Prompt, unused
from guideway.rollout.quality import Pairs

PROMPTS = tuple(Prompt(f"p{at}", ("yes",), f"Is it {at}?") for at in range(4))
SEED = "r120"
"""Draws the order in which those stand."""


class Arms:
    """Answers by prompt; what is not named is right on both arms. Keeps what was asked."""

    def __init__(self, **answers) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def __call__(self, prompt, given_up) -> Replayed:
        self.asked.append(prompt.id)
        answer = self.answers.get(prompt.id, Replayed("yes", "yes"))
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


class Clock:
    """Seconds that pass only while somebody waits; stops the one who waits after so many times."""

    def __init__(self, stop_after: int = 1000) -> None:
        self.now, self.waits, self.stop_after = 0.0, [], stop_after

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        self.now += seconds
        return len(self.waits) >= self.stop_after


def golden(ask, clock=None, **more) -> tuple[Golden, list[Pair]]:
    told: list[Pair] = []
    clock = clock or Clock()
    return Golden(SETTINGS, PROMPTS, ask, told.append, clock=clock, wait=clock.wait, **{"seed": SEED, **more}), told


def test_every_prompt_is_asked_once_and_scored_in_pairs():
    one, told = golden(Arms(p1=Replayed("no", "yes"), p2=Replayed("yes", None)))
    one.run()
    assert told == [Pair("p0", 1.0, 1.0), Pair("p1", 0.0, 1.0), Pair("p2", 1.0, 0.0), Pair("p3", 1.0, 1.0)]
    assert one.left == 0


def test_those_that_were_used_before_are_not_asked_again():
    arms = Arms()
    one, told = golden(arms, used={"p0", "p2"})
    assert one.left == 2
    one.run()
    assert arms.asked == [pair.prompt for pair in told] == ["p1", "p3"]


def test_the_rollout_draws_the_order():
    arms = Arms()
    one, _ = golden(arms, seed="r1")
    one.run()
    assert arms.asked == [one.id for one in unused(PROMPTS, (), "r1")] != [one.id for one in PROMPTS]


def test_a_prompt_begins_two_seconds_after_the_one_before_at_thirty_a_minute():
    clock = Clock()

    def slow(prompt, given_up):
        clock.now += {"p0": 0.5, "p1": 30.0}.get(prompt.id, 0.0)
        return Replayed("yes", "yes")

    one, _ = golden(slow, clock)
    one.run()
    assert clock.waits == [1.5, 0.0, 2.0]


def test_a_prompt_that_neither_answers_makes_no_pair_and_gets_more_chances_at_the_end():
    both, once = Replayed(None, None, "all is down"), [Replayed(None, None), Replayed("no", "yes")]
    arms = Arms(p0=both, p1=once)
    one, told = golden(arms)
    one.run()
    assert [pair.prompt for pair in told] == ["p2", "p3", "p1"]
    assert arms.asked.count("p0") == CHANCES and arms.asked.count("p1") == 2
    assert (one.left, one.trouble) == (0, "all is down")


def test_a_prompt_that_cannot_be_asked_yet_keeps_its_place():
    arms = Arms(p0=[Absent("the candidate release has no replica")] * 3 + [Replayed("yes", "yes")])
    one, told = golden(arms)
    one.run()
    assert arms.asked == ["p0"] * 4 + ["p1", "p2", "p3"]
    assert [pair.prompt for pair in told] == ["p0", "p1", "p2", "p3"] and one.trouble == ""


def test_what_it_waits_for_is_told():
    one, told = golden(Arms(p0=Absent("the candidate release has no replica")), Clock(stop_after=5))
    one.run()
    assert (told, one.left, one.trouble) == ([], 4, "the candidate release has no replica")


def test_what_nobody_foresaw_makes_no_pair_and_the_next_prompt_is_asked():
    one, told = golden(Arms(p0=KeyError("x")), Clock(stop_after=2))
    one.run()
    assert [pair.prompt for pair in told] == ["p1"] and one.left == 3


@pytest.mark.parametrize(
    ("candidate", "stable", "pair"),
    [
        ("yes", "no", Pair("p0", 1.0, 0.0)),
        (None, "yes", Pair("p0", 0.0, 1.0)),
        (None, "no", Pair("p0", 0.0, 0.0)),
        ("", "yes", Pair("p0", 0.0, 1.0)),
        (None, None, None),
    ],
)
def test_a_pair_needs_one_answer_and_a_failure_is_worth_nothing(candidate, stable, pair):
    assert scored(SETTINGS, PROMPTS[0], Replayed(candidate, stable)) == pair


def test_a_thread_asks_real_replicas_and_the_bet_is_lost_by_the_worse_release():
    service, told = Service(), queue.SimpleQueue()
    try:
        service.serve(service.replica(raw(says("Yes."))), service.replica(raw(says("no"))))
        quick = msgspec.structs.replace(SETTINGS, per_minute=600.0)
        prompts = tuple(Prompt(f"p{at}", ("yes",), "Is it?") for at in range(30))
        one = Golden(quick, prompts, service.replay().ask, told.put, seed=SEED, wait=lambda seconds: False)
        one.start()
        pairs, found = Pairs(tolerated=quick.tolerated), [told.get(timeout=30) for _ in prompts]
        assert all(pairs.add(pair.prompt, pair.candidate, pair.stable) for pair in found)
        assert pairs.difference == -1.0 and pairs.log_e > 8.3
        one.close()
    finally:
        service.close()


def test_close_gives_up_what_is_under_way_and_leaves_no_thread():
    before, service, told = set(threading.enumerate()), Service(), []
    slow = service.replica(held(unary()))
    service.serve(slow, slow)
    one = Golden(SETTINGS, PROMPTS, service.replay().ask, told.append, seed=SEED)
    one.start()
    wait_for(lambda: slow.asked)
    one.close()
    service.close()
    assert set(threading.enumerate()) <= before
    assert told == [] and one.left == 4


def test_one_that_was_never_started_closes():
    golden(Arms())[0].close()


def test_a_file_is_loaded_and_a_missing_one_is_told(tmp_path):
    (tmp_path / "golden.jsonl").write_text('{"prompt": "a", "expect": "b"}\n{"prompt": 1}')
    with pytest.raises(SpecError, match=r"^golden.jsonl:2: "):
        load_prompts(tmp_path / "golden.jsonl", "golden.jsonl")
    with pytest.raises(SpecError, match="the golden prompts cannot be read: No such file or directory"):
        load_prompts(tmp_path / "none.jsonl")
    (tmp_path / "golden.jsonl").write_text('{"prompt": "a", "expect": "b"}\n')
    assert [one.prompt for one in load_prompts(tmp_path / "golden.jsonl")] == ["a"]
