"""Who is computed when: stepped by hand, without a thread."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from replica_fakes import Recorder, Remembering, solo

from guideway.replica.scheduler import Scheduler


def drain(scheduler: Scheduler) -> None:
    for _ in range(10_000):
        if not scheduler.busy:
            return
        scheduler.step()
    raise AssertionError("the scheduler never comes to an end")


def test_a_request_joins_between_two_steps_of_another() -> None:
    model = Remembering()
    scheduler, first, second = Scheduler(model), Recorder([5, 6], 6), Recorder([9], 2)
    scheduler.add(first)
    scheduler.step()
    scheduler.add(second)
    scheduler.step()
    assert (len(first.answer), len(second.answer)) == (3, 2)
    assert (scheduler.running, model.rows) == (1, [[5, 6, *first.answer[:-1]]])
    drain(scheduler)
    assert first.answer == solo(Remembering(), [5, 6], 6)
    assert second.answer == solo(Remembering(), [9], 2)


def test_first_come_first_served_when_slots_are_few() -> None:
    scheduler = Scheduler(Remembering(slots=1))
    works = [Recorder([number], 2) for number in range(4)]
    for work in works:
        scheduler.add(work)
    seen = []
    while scheduler.busy:
        scheduler.step()
        seen.append([len(work.answer) for work in works])
    assert seen == [[2, 0, 0, 0], [2, 2, 0, 0], [2, 2, 2, 0], [2, 2, 2, 2]]


def test_a_crowd_of_long_prompts_does_not_silence_who_runs_already() -> None:
    scheduler = Scheduler(Remembering(slots=4), prompt_budget=10)
    talker = Recorder([1], 50)
    scheduler.add(talker)
    scheduler.step()
    crowd = [Recorder([2] * 8, 1) for _ in range(3)]
    for work in crowd:
        scheduler.add(work)
    scheduler.step()
    assert [len(work.answer) for work in crowd] == [1, 1, 0]  # 8 < 10, so a second one, but no third
    assert len(talker.answer) == 3


def test_a_prompt_longer_than_the_budget_still_gets_its_turn() -> None:
    scheduler, work = Scheduler(Remembering(), prompt_budget=4), Recorder([3] * 40, 1)
    scheduler.add(work)
    drain(scheduler)
    assert len(work.answer) == 1


def test_while_a_long_prompt_is_read_the_others_get_a_token_at_every_step() -> None:
    scheduler = Scheduler(Remembering(), prompt_budget=4, piece=4)
    talker, long = Recorder([1], 50), Recorder(list(range(41)), 3)
    scheduler.add(talker)
    scheduler.step()
    scheduler.add(long)
    heard = []
    while not long.answer:
        scheduler.step()
        heard.append(len(talker.answer))
    assert heard == list(range(3, 14))  # eleven pieces of four tokens, one token between any two
    drain(scheduler)
    assert long.answer == solo(Remembering(), long.prompt, 3)
    assert talker.answer == solo(Remembering(), [1], 50)


def test_who_leaves_while_a_prompt_is_read_does_not_disturb_it() -> None:
    scheduler = Scheduler(Remembering(), prompt_budget=4, piece=4)
    short, longer, read = Recorder([1], 5), Recorder([2], 30), Recorder(list(range(30)), 6)
    for work in (short, longer):
        scheduler.add(work)
    scheduler.step()
    scheduler.add(read)
    drain(scheduler)
    for work in (short, longer, read):
        assert work.answer == solo(Remembering(), work.prompt, work.limit)


def test_a_request_that_leaves_in_the_middle_of_its_prompt_frees_its_slot() -> None:
    model = Remembering(slots=1)
    scheduler, gone, next_one = Scheduler(model, prompt_budget=4, piece=4), Recorder([1] * 40, 9), Recorder([2], 3)
    scheduler.add(gone)
    scheduler.add(next_one)
    scheduler.step()
    assert (model.begun, scheduler.running, scheduler.waiting) == ([1] * 4, 0, 1)
    gone.cancelled = True
    drain(scheduler)
    assert gone.answer == []
    assert next_one.answer == solo(Remembering(), [2], 3)


def test_a_prompt_that_breaks_in_the_middle_fails_alone_and_leaves_nothing_behind() -> None:
    model = Remembering()
    scheduler, running, bad = Scheduler(model, prompt_budget=4, piece=4), Recorder([1], 9), Recorder([2] * 12, 5)
    scheduler.add(running)
    scheduler.add(bad)
    scheduler.step()
    model.broken = {"read"}
    scheduler.step()
    assert (str(bad.error), model.begun) == ("no memory for this piece", [])
    model.broken = set()
    good = Recorder([3] * 7, 4)
    scheduler.add(good)
    drain(scheduler)
    for work in (running, good):
        assert work.answer == solo(Remembering(), work.prompt, work.limit)


def test_a_broken_step_does_not_cost_the_one_whose_prompt_is_read() -> None:
    model = Remembering()
    scheduler, running, read = Scheduler(model, prompt_budget=4, piece=4), Recorder([1], 9), Recorder([2] * 12, 5)
    scheduler.add(running)
    scheduler.add(read)
    scheduler.admit()
    assert model.begun
    model.broken = {"step"}
    scheduler.advance()
    model.broken = set()
    drain(scheduler)
    assert (str(running.error), read.error) == ("the model broke", None)
    assert read.answer == solo(Remembering(), read.prompt, 5)


PREFIX = [7, 8, 9, 10, 11]


@pytest.mark.parametrize(
    ("prompt", "fed"),
    [
        ([*PREFIX, 1], 1),
        ([*PREFIX, *range(20)], 20),
        (PREFIX, 5),  # nothing would be left to read for the scores
        (PREFIX[:4], 4),
        ([*PREFIX[:4], 1, 2], 6),  # whole or not at all
    ],
)
def test_the_prefix_of_the_release_is_read_once_and_used_whole_or_not_at_all(prompt: list[int], fed: int) -> None:
    model = Remembering()
    scheduler = Scheduler(model, prompt_budget=4, piece=4)
    scheduler.learn(PREFIX)
    works = [Recorder(prompt, 3), Recorder([1, 2], 2), Recorder(prompt, 4)]
    for work in works:
        scheduler.add(work)
    drain(scheduler)
    for work in works:
        assert work.answer == solo(Remembering(), work.prompt, work.limit)
    assert model.fed == 2 * fed + 2


def test_what_a_caller_wrote_is_read_anew_for_the_next_one() -> None:
    model = Remembering()
    scheduler = Scheduler(model)
    scheduler.learn(PREFIX)
    for _ in range(3):
        scheduler.add(Recorder([*PREFIX, *[5] * 30], 2))
        drain(scheduler)
    assert model.fed == 3 * 30


def test_a_prefix_that_cannot_be_recalled_fails_one_request() -> None:
    model = Remembering()
    scheduler, bad, good = Scheduler(model), Recorder([*PREFIX, 1], 3), Recorder([1, 2], 3)
    scheduler.learn(PREFIX)
    model.broken = {"recall"}
    for work in (bad, good):
        scheduler.add(work)
    drain(scheduler)
    assert str(bad.error) == "no memory for the prefix"
    assert good.answer == solo(Remembering(), [1, 2], 3)


def test_a_prompt_is_cut_at_the_same_places_whoever_else_is_there() -> None:
    class Cutting(Remembering):
        cuts: list[int]

        def read(self, ids: list[int]) -> None:
            self.cuts.append(len(ids))
            super().read(ids)

    model = Cutting()
    model.cuts = []
    scheduler = Scheduler(model, prompt_budget=8, piece=6)
    for work in (Recorder([1] * 3, 2), Recorder([1] * 25, 1), Recorder([1] * 13, 1)):
        scheduler.add(work)
    drain(scheduler)
    assert model.cuts == [6] * 4 + [6] * 2


def test_a_request_that_leaves_frees_its_slot_at_the_next_step() -> None:
    model = Remembering(slots=1)
    scheduler, gone, next_one = Scheduler(model), Recorder([1], 99), Recorder([2], 3)
    scheduler.add(gone)
    scheduler.add(next_one)
    scheduler.step()
    gone.cancelled = True
    before = len(gone.answer)
    scheduler.step()
    assert len(gone.answer) == before
    assert len(next_one.answer) == 2
    drain(scheduler)
    assert model.rows == []


def test_a_request_that_leaves_while_it_waits_is_never_computed() -> None:
    scheduler, running, waiting = Scheduler(Remembering(slots=1)), Recorder([1], 5), Recorder([2], 5)
    scheduler.add(running)
    scheduler.add(waiting)
    scheduler.step()
    waiting.cancelled = True
    scheduler.step()
    assert (scheduler.running, scheduler.waiting) == (1, 0)
    drain(scheduler)
    assert waiting.answer == []


def test_a_prompt_that_cannot_be_read_fails_alone() -> None:
    model = Remembering()
    scheduler, running, bad = Scheduler(model), Recorder([1], 5), Recorder([2], 5)
    scheduler.add(running)
    scheduler.step()
    model.broken = {"join"}
    scheduler.add(bad)
    drain(scheduler)
    assert str(bad.error) == "no memory for this prompt"
    assert running.answer == solo(Remembering(), [1], 5)


def test_a_broken_step_fails_all_who_ran_and_the_next_request_is_served() -> None:
    model = Remembering()
    scheduler, works = Scheduler(model), [Recorder([1], 5), Recorder([2], 5)]
    for work in works:
        scheduler.add(work)
    model.broken = {"step"}
    scheduler.step()
    assert [str(work.error) for work in works] == ["the model broke"] * 2
    model.broken = set()
    healthy = Recorder([4], 5)
    scheduler.add(healthy)
    drain(scheduler)
    assert healthy.answer == solo(Remembering(), [4], 5)


def test_a_request_that_chokes_on_its_own_token_fails_alone() -> None:
    class Choking(Recorder):
        def take(self, token: int) -> bool:
            if len(self.answer) == 2:
                raise FloatingPointError("no usable score")
            return super().take(token)

    scheduler, bad, good = Scheduler(Remembering()), Choking([1], 9), Recorder([2], 6)
    scheduler.add(bad)
    scheduler.add(good)
    drain(scheduler)
    assert isinstance(bad.error, FloatingPointError)
    assert good.answer == solo(Remembering(), [2], 6)


def test_when_all_must_go_everyone_hears_why() -> None:
    scheduler = Scheduler(Remembering(slots=2), prompt_budget=4, piece=4)
    works = [Recorder([1], 9), Recorder([2] * 40, 9), Recorder([3], 9)]
    for work in works:
        scheduler.add(work)
    scheduler.step()
    scheduler.abort(ConnectionAbortedError("the server stops"))
    assert [str(work.error) for work in works] == ["the server stops"] * 3
    assert not scheduler.busy


PROMPTS = st.lists(st.integers(0, 96), min_size=1, max_size=12)
DEEDS = st.lists(
    st.one_of(st.tuples(PROMPTS, st.integers(1, 7)), st.just("step"), st.integers(0, 11)), min_size=1, max_size=40
)


@given(DEEDS, st.integers(1, 4))
def test_whoever_joins_and_leaves_each_answer_is_what_it_would_be_alone(deeds: list[object], slots: int) -> None:
    scheduler, works = Scheduler(Remembering(slots=slots), prompt_budget=7, piece=3), []
    for deed in deeds:
        if deed == "step":
            scheduler.step()
        elif isinstance(deed, tuple):
            works.append(Recorder(*deed))
            scheduler.add(works[-1])
        elif deed < len(works):
            works[deed].cancelled = True
    drain(scheduler)
    for work in works:
        alone = solo(Remembering(), work.prompt, work.limit)
        assert work.answer == alone[: len(work.answer)]
        assert work.cancelled or len(work.answer) == work.limit
