"""The candidates of a compression in the model card: side by side, in both languages, from evidence alone."""

from __future__ import annotations

import pytest
from report_rig import drawn, fact, proofs, rich

from guideway.core.evidence import Interval
from guideway.standard.reports import render


def compared():
    found = []
    for name, kl, time in (("int4", 0.01, 0.001), ("int8", 0.0, 0.002), ("fp32", 1e-8, 0.004)):
        around = Interval(time * 0.9, time * 1.1, 0.95, "bootstrap")
        found += [
            fact("candidate_kl_to_source", kl, "train", "nats/token", slice=name, n=2000),
            fact("candidate_time_per_token", time, "train", "s", slice=name, n=9, interval=around),
            fact("candidate_model_bytes", 3e6, "train", "bytes", slice=name),
        ]
    return rich(proofs=(*proofs(), *found))


@pytest.mark.parametrize(("language", "ships"), [("en", "int8 (ships)"), ("zh", "int8（上线）")])
def test_the_card_shows_what_was_compared_and_what_ships(language, ships):
    text = render("card", drawn(compared()), language=language, form="md").replace("`", "").replace("*", "")
    assert ships in text and "| int4 | 0.01 | – | 1 \\[0.9, 1.1\\] | – | 3.0 MB | – |" in text


def test_the_page_draws_them_and_the_one_that_ships_in_a_colour_of_its_own():
    page = render("card", drawn(compared()), language="en", form="html")
    assert page.count('class="dot best"') == 1 and page.count('class="dot plain"') == 2


def test_without_a_choice_nothing_was_compared():
    assert "What was compared" not in render("card", drawn(rich()), language="en", form="md")
