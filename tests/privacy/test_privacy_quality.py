"""How well personal data is found: in texts that others labelled, and in made ones."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from privacy_rig import LABELS, Labelled, made_chinese, made_innocent, read_labelled, read_seeds, score, total

from guideway.core.privacy import Entity
from guideway.privacy.detect import find

CHINESE: tuple[Entity, ...] = ("cn_id", "card", "phone")
SAMPLE = [
    ("Please charge ", "4111 1111 1111 1111", " for it", "card"),
    ("Call me at ", "(212) 555-0187", " or later", "phone"),
    ("Reach me on ", "+44 20 7946 0018", ".", "phone"),
    ("My new mail is ", "jo.doe@example.com", ", thanks", "email"),
    ("Transfer to ", "GB82WEST12345698765432", " today", "iban"),
    ("My social security number is ", "536-22-8145", "?", "us_ssn"),
    ("It came from ", "192.168.17.4", " last night", "ip"),
    ("I live on 5 Elm Street, 90210, and was born on 04/07/1976", "", "", ""),
    ("Meet Jo in room 4021 at 10:30 on 2026-11-25", "", "", ""),
]


def folder() -> Path:
    return Path(os.environ["GUIDEWAY_TEST_DATA"])


def test_all_of_a_small_labelled_sample_is_found() -> None:
    texts = [
        Labelled(before + value + after, frozenset({(len(before), len(before + value), kind)} if kind else ()))  # type: ignore[arg-type]
        for before, value, after, kind in SAMPLE
    ]
    assert total(score(texts, list(LABELS.values())).values()) == (7, 0, 0)


@pytest.mark.data
@pytest.mark.parametrize("name", ["generated_small.json", "generated_large.json"])
def test_what_others_labelled_is_found_with_f1_of_97_percent(name: str) -> None:
    scores = score(read_labelled(folder() / "pii-presidio-research" / name), list(LABELS.values()))
    assert total(scores.values()).f1 >= 0.97, scores
    assert all(one.f1 >= 0.97 for one in scores.values() if one.hits + one.misses), scores


def test_chinese_identities_cards_and_mobiles_are_found_to_99_percent() -> None:
    scores = score(made_chinese(random.Random(4), 1500), CHINESE)
    assert all(one.precision >= 0.99 and one.recall >= 0.99 for one in scores.values()), scores


@pytest.mark.data
def test_the_same_holds_for_all_regions_and_names() -> None:
    regions, names = read_seeds(folder())
    assert len(regions) > 2500
    assert len(names) > 100_000
    scores = score(made_chinese(random.Random(5), 5000, regions, names), CHINESE)
    assert all(one.precision >= 0.99 and one.recall >= 0.99 for one in scores.values()), scores


def test_of_a_thousand_order_numbers_and_time_stamps_at_most_one_is_taken_for_personal_data() -> None:
    texts = list(made_innocent(random.Random(6), 5000))
    alarms = [(text, found) for text in texts if (found := find(text))]
    assert len(alarms) <= 0.001 * len(texts), alarms[:20]
