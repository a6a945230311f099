"""The report: drawings, maps, and texts that others wrote."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from stage_rig import FakeJob

from guideway.core.evidence import Interval
from guideway.pipeline.stages.explain.attribution import Attribution, tokens_of
from guideway.pipeline.stages.explain.deletion import SHARES, Deletion, Faithfulness
from guideway.pipeline.stages.explain.measure import leave
from guideway.pipeline.stages.explain.page import heat, page_of, to_html
from guideway.pipeline.stages.explain.places import maps
from guideway.pipeline.stages.explain.plots import COLOURS, bars, curves, legend, scatter, strip
from guideway.pipeline.stages.explain.record import Findings, Line, Map, Word, words

HOSTILE = "<script>alert(1)</script> \u202eevil & 'more'"


def line(text, weights, target="yes", *, right=True):
    found = Attribution(text, tokens_of(text), tuple(weights), target, "occlusion", -1.0, -9.0, "nats")
    tested = Deletion(tuple(2.0 for _ in SHARES), tuple(1.0 for _ in SHARES))
    return Line("1", found, HOSTILE, right, tested)


def findings(*lines, low=0.5, classes=False):
    said = Faithfulness(1.0, 9, Interval(low, 2.0, 0.95, "bootstrap"))
    places = [Map("PCA (90%)", [(0.0, 1.0), (1.0, 0.0)], [HOSTILE, "✗"])]
    return Findings("test", "compress", "occlusion", "nats", classes, lines, said, places)


def drawn(svg):
    """The drawing, read as XML: so it is well formed."""
    return ElementTree.fromstring(svg)


@pytest.mark.parametrize("classes", [False, True])
def test_what_others_wrote_runs_nothing_and_turns_nothing(classes):
    weights = [1.0] * len(tokens_of(HOSTILE))
    page = to_html(findings(line(HOSTILE, weights, target=HOSTILE, right=False), classes=classes))
    assert "<script" not in page and "\u202e" not in page
    assert "&lt;" in page and "default-src 'none'" in page


def test_a_method_that_is_no_better_than_chance_says_so_in_both_languages():
    page = to_html(findings(line("a b", [1.0, 2.0]), low=-0.1))
    assert "No better than chance" in page and "不比随机更好" in page and "More faithful" not in page
    assert "More faithful than chance" in to_html(findings(line("a b", [1.0, 2.0])))


@pytest.mark.parametrize(("low", "says"), [(-0.1, "NO BETTER THAN CHANCE"), (0.1, ": more faithful than chance")])
def test_the_stage_says_whether_it_is_better_than_chance(tmp_path, low, says):
    job = FakeJob({}, {"compress": tmp_path}, tmp_path, tmp_path / "out")
    leave(job, findings(line("a b", [1.0, 2.0]), low=low))
    assert says in job.facts[0] and job.one("faithfulness_gain", "compress", "test").interval.low == low


def test_a_page_of_one_text_has_its_heat_map_and_no_figures():
    found = line("a b", [1.0, -2.0]).found
    page = page_of(found)
    assert "<svg" not in page and heat(found) in page
    assert re.sub("<.*?>", "", heat(found)) == "a b"
    assert 'rgba(37,99,201,0.38)" title="+1">a' in heat(found) and 'rgba(217,98,43,0.75)" title="-2">b' in heat(found)


def test_important_words_are_ranked_and_a_single_one_comes_last():
    lines = [line("Sky is blue", [3.0, 0.1, 1.0]), line("sky is odd", [-1.0, 0.1, 9.0])]
    assert [word.text for word in words(lines, 3)] == ["odd", "sky", "is"]
    assert [word.text for word in words(lines, 2)] == ["sky", "is"]
    assert words(lines, 2)[0] == Word("sky", 2.0, (3.0, -1.0))


def test_drawings_are_well_formed_and_show_every_word_and_dot():
    found = [Word("<b>", 2.0, (3.0, -1.0)), Word("is", 0.1, (0.1,))]
    assert len([one for one in drawn(bars(found)).iter() if one.tag.endswith("rect")]) == 2
    assert len([one for one in drawn(strip(found)).iter() if one.tag.endswith("circle")]) == 3
    lines = [one for one in drawn(curves(SHARES, [1.0] * 9, [0.5] * 9)).iter() if one.tag.endswith("polyline")]
    assert len(lines) == 2
    assert drawn(curves(SHARES, [0.0] * 9, [0.0] * 9)) is not None  # a model that hears nothing


def test_more_groups_than_colours_share_the_last():
    groups = [str(number) for number in range(13)] + ["0"]
    named = legend(groups)
    assert named[0] == ("0", COLOURS[0], 2) and named[-1][0] == "…" and named[-1][2] == 3
    points = [(float(number), 0.0) for number in range(14)]
    assert len([one for one in drawn(scatter(Map("PCA", points, groups))).iter() if one.tag.endswith("circle")]) == 14


def test_two_heaps_are_apart_on_both_maps():
    draw = np.random.default_rng(5)
    places = np.concatenate([draw.normal(0, 0.1, (20, 8)), draw.normal(3, 0.1, (20, 8))])
    found = maps(places, ["a"] * 20 + ["b"] * 20, 7)
    assert [one.name.partition(" ")[0] for one in found] == ["PCA", "t-SNE"]
    for one in found:
        points = np.array(one.points)
        gap = np.linalg.norm(points[:20].mean(axis=0) - points[20:].mean(axis=0))
        assert gap > 2 * points[:20].std(axis=0).max()
    assert maps(places, ["a"] * 40, 7)[1].points == found[1].points


@pytest.mark.parametrize("shape", [(0, 4), (2, 4), (5, 1), (5, 4)])
def test_few_texts_or_dimensions_make_a_map_or_none(shape):
    found = maps(np.arange(shape[0] * shape[1], dtype=float).reshape(shape), ["a"] * shape[0], 7)
    assert len(found) == (shape[0] >= 3) and all(len(one.points) == shape[0] for one in found)
