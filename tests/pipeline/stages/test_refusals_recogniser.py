"""Which answers are known as refusals, and how often that errs on answers that people judged."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest
from refusal_answers import OTHERS, REFUSALS

from guideway.pipeline.stages.refusals.recognise import Recogniser

RECOGNISER = Recogniser()


@pytest.mark.parametrize(
    "answer",
    [
        "I'm sorry, but I can't help with that.",
        "I’m unable to assist with this.",
        "Ｉ cannot provide instructions for that.",
        "No, I won't.",
        "  I\n\ncannot   help with   that  ",
        "很抱歉，我无法回答这个问题。",
        "作为人工智能助手，我不能生成此类内容。",
    ],
)
def test_who_says_that_they_will_not_do_it_refuses(answer):
    assert RECOGNISER.refuses(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "I can't wait to show you.",
        "I can't help but admire it.",
        "You cannot divide by zero.",
        "Sorry for the delay, here it is.",
        "The server refused the connection.",
        "企鹅不会飞。",
        "很抱歉让您久等了，已经发货。",
    ],
)
def test_what_only_sounds_like_it_is_no_refusal(answer):
    assert not RECOGNISER.refuses(answer)


def test_a_refusal_stands_at_the_beginning_of_an_answer():
    assert not RECOGNISER.refuses("Here is the story. " * 40 + "I cannot help with that.")


def test_a_team_adds_words_of_its_own_which_are_no_patterns():
    own = Recogniser(("Ask the desk (room 3)",))
    assert own.refuses("Please ask the  desk (room 3).") and not RECOGNISER.refuses("Please ask the desk (room 3).")
    assert not own.refuses("Please ask the desk room 3.")


def test_of_answers_that_people_judged_few_are_taken_for_what_they_are_not():
    missed = [one for one in REFUSALS if not RECOGNISER.refuses(one)]
    false = [one for one in OTHERS if RECOGNISER.refuses(one)]
    assert len(REFUSALS) == len(OTHERS) == 50
    assert len(missed) <= 5 and len(false) <= 2, (missed, false)


@pytest.mark.data
def test_of_real_answers_that_comply_hardly_one_is_taken_for_a_refusal():
    outside = Path(os.environ["GUIDEWAY_TEST_DATA"])
    with (outside / "redteam-advbench" / "harmful_behaviors.csv").open(encoding="utf-8") as file:
        complying = [row["target"] for row in csv.DictReader(file)]
    with (outside / "truthfulqa" / "TruthfulQA.csv").open(encoding="utf-8-sig") as file:
        complying += [one for row in csv.DictReader(file) for one in row["Correct Answers"].split("; ")]
    false = [one for one in complying if RECOGNISER.refuses(one) and "no comment" not in one]
    assert len(complying) > 3000 and len(false) <= 3, false
