"""Stage evaluate: true figures about what ships, asked as the release will be asked."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stage_rig import colour_spec, run_stage, write_jsonl

from guideway.core.errors import GuidewayError, SpecError
from guideway.pipeline.stages import evaluate
from guideway.pipeline.stages.evaluate.answers import cut, is_right
from guideway.pipeline.stages.evaluate.measure import PARTS, _spread_figures
from guideway.pipeline.stages.evaluate.nearest import Nearest
from guideway.pipeline.stages.evaluate.ngram import NGrams
from guideway.pipeline.stages.examples import Example
from guideway.pipeline.stages.intervals import bootstrap, wilson

BOTH = ("train", "compress")


def evaluate_again(colours, name, root=None, **parts):
    inputs = {need: colours.out[need] for need in evaluate.needs}
    return run_stage("evaluate", colour_spec(**parts), root or colours.root, colours.root / name, **inputs)


def test_every_split_and_both_models_have_every_figure(colours):
    job = colours.jobs["evaluate"]
    for about in BOTH:
        for metric in ("loss", "perplexity", "exact_match", "baseline_perplexity", "baseline_exact_match"):
            found = job.one(metric, about, "unseen")
            assert found.n > 0 and found.interval.low <= found.value <= found.interval.high


def test_a_model_that_learned_answers_phrasings_it_never_saw(colours):
    job = colours.jobs["evaluate"]
    # A guess is right once in twelve. How much better so short a training is depends on the processor's arithmetic.
    assert job.one("exact_match", "train", "unseen").value >= 0.25
    assert job.one("exact_match", "compress", "unseen").value >= 0.25
    assert any(fact.startswith("exact match") for fact in job.facts)


def test_perplexity_is_the_exponential_of_the_loss(colours):
    job = colours.jobs["evaluate"]
    for about in BOTH:
        loss, perplexity = job.one("loss", about, "unseen"), job.one("perplexity", about, "unseen")
        assert perplexity.value == pytest.approx(math.exp(loss.value))
        assert loss.unit == "nats/token"


def test_a_broken_template_shows_as_a_collapse(colours, tmp_path):
    (tmp_path / "broken.jinja").write_text("{% for m in messages %}{% endfor %}<|assistant|>")
    job = evaluate_again(colours, "broken", root=tmp_path, serve={"prompt": {"template": "broken.jinja"}})
    assert job.one("exact_match", "compress", "unseen").value < 0.25
    assert (
        job.one("loss", "compress", "unseen").value > colours.jobs["evaluate"].one("loss", "compress", "unseen").value
    )


def test_a_template_that_cannot_be_read_is_one_clear_line(colours, tmp_path):
    (tmp_path / "broken.jinja").write_text("{% for m in %}")
    with pytest.raises(GuidewayError) as refused:
        evaluate_again(colours, "unreadable", root=tmp_path, serve={"prompt": {"template": "broken.jinja"}})
    assert "\n" not in str(refused.value)


def test_the_template_is_a_source_and_must_exist(tmp_path):
    spec = colour_spec(serve={"prompt": {"template": "own.jinja"}})
    with pytest.raises(SpecError, match=r"no template 'own\.jinja'"):
        evaluate.sources(spec, tmp_path)
    (tmp_path / "own.jinja").write_text("x")
    assert list(evaluate.sources(spec, tmp_path)) == [tmp_path / "own.jinja"]


def test_a_system_prompt_reaches_the_model(colours):
    job = evaluate_again(colours, "system", serve={"prompt": {"system": "zebra zebra zebra"}})
    plain = colours.jobs["evaluate"]
    assert job.one("loss", "compress", "unseen").value != plain.one("loss", "compress", "unseen").value


def test_what_is_required_changes_no_figure_and_so_not_the_key():
    strict = colour_spec(evaluate={"max_tokens": 8, "require": [{"metric": "exact_match", "at_least": 0.9}]})
    assert evaluate.params(strict) == evaluate.params(colour_spec())


def test_the_engine_decides_which_model_the_facts_speak_of(colours):
    assert evaluate.params(colour_spec())["ships"] == "compress"
    spec = colour_spec(serve={"engine": "transformers"})
    assert evaluate.params(spec)["ships"] == "train"
    job = evaluate_again(colours, "transformers", serve={"engine": "transformers"})
    assert json.loads((job.out / "report.json").read_text())["ships"] == "train"


def test_evaluating_twice_writes_the_same_bytes(colours):
    one, two = colours.out["evaluate"], evaluate_again(colours, "twice").out
    assert {p.name: p.read_bytes() for p in one.iterdir()} == {p.name: p.read_bytes() for p in two.iterdir()}


def test_no_more_rows_are_asked_than_the_spec_allows(colours):
    job = evaluate_again(colours, "few", evaluate={"examples": 3, "max_tokens": 8})
    assert job.one("exact_match", "compress", "unseen").n == 3


def test_an_answer_ends_at_a_stop_string(colours):
    decoding = {"stop": ["e"]}
    job = evaluate_again(colours, "stop", serve={"decoding": decoding})
    said = [one["said"] for one in json.loads((job.out / "report.json").read_text())["splits"][0]["answers"]]
    assert said and not [answer for answer in said if "e" in answer]


def test_the_report_shows_right_and_wrong_answers(colours):
    text = (colours.out["evaluate"] / "report.md").read_text()
    assert "## unseen" in text and "Right:" in text and "| exact_match | compressed |" in text
    report = json.loads((colours.out["evaluate"] / "report.json").read_text())
    answers = report["splits"][0]["answers"]
    right = sum(one["right"] for one in answers)
    assert right / len(answers) == colours.jobs["evaluate"].one("exact_match", "compress", "unseen").value


def test_what_damaged_prompts_cost_is_evidence_about_what_ships(colours):
    job = colours.jobs["evaluate"]
    rows = job.one("exact_match", "compress", "unseen").n
    for kind in ("typos", "homoglyphs", "capitals", "truncation", "noise"):
        drop = job.one("perturbation_drop", "compress", kind)
        assert drop.n == rows and drop.interval.low <= drop.value <= drop.interval.high
    assert job.one("perturbation_drop", "compress", "noise").value <= job.one("exact_match", "compress", "unseen").value
    clean = job.one("exact_match", "compress", "unseen").value
    assert any(fact.startswith("damaged prompts cost") and f": {clean:.1%} to " in fact for fact in job.facts)
    report = (job.out / "report.md").read_text()
    assert f"## Damaged prompts\n\nUndamaged: exact match {clean:.4g}. A drop of 0.05 is five points of it." in report


def test_each_slice_has_its_score_and_its_floor(colours):
    asked = {"max_tokens": 8, "slices": [{"by": "thing", "floor": 1.0, "least": 1}], "perturb": {"kinds": []}}
    job = evaluate_again(colours, "slices", evaluate=asked)
    report = json.loads((job.out / "report.json").read_text())
    assert len(report["slices"]) == 12 and report["robustness"] == {}
    below = sum(one["score"] < 1.0 for one in report["slices"])
    assert job.one("slices_below_floor", "compress").value == below
    assert job.one("slices_below_floor", "compress").n == 12
    assert job.one("slice_score", "compress", "thing=sky").n == 1


def test_a_split_that_is_not_judged_tells_nothing_about_slices_and_damage(colours):
    unjudged = {"unseen": {"by": ["phrasing"], "values": ["p7"], "judged": False}}
    job = evaluate_again(colours, "unjudged", data={"sources": [{"path": "rows.jsonl"}], "splits": unjudged})
    assert not [name for name, _ in job.heard if name == "perturbation_drop"]


def test_the_gain_over_the_baseline_is_paired(colours):
    job = colours.jobs["evaluate"]
    gain = job.one("exact_match_gain", "compress", "unseen")
    apart = (
        job.one("exact_match", "compress", "unseen").value - job.one("baseline_exact_match", "compress", "unseen").value
    )
    assert gain.value == pytest.approx(apart)
    loss = job.one("loss_gain", "compress", "unseen")
    grams = math.log(job.one("baseline_perplexity", "compress", "unseen").value)
    assert loss.value == pytest.approx(grams - job.one("loss", "compress", "unseen").value)


def test_the_spread_of_the_loss_between_parts_of_the_held_out_rows_is_evidence(colours):
    for about in ("train", "compress"):
        spread = colours.jobs["evaluate"].one("held_out_loss_spread", about, "unseen")
        assert spread.n == PARTS and spread.unit == "nats/token"
        assert spread.interval.low <= spread.value <= spread.interval.high
    (even,) = _spread_figures("train", [2.0, 4.0] * PARTS, [1, 2] * PARTS)
    assert even.value == pytest.approx(0.0)
    (apart,) = _spread_figures("train", [1.0, 1.0, 1.0, 1.0, 6.0] * 2, [1] * 10)
    assert apart.value == pytest.approx(5**0.5)
    (none,) = _spread_figures("train", [math.inf] + [1.0] * 9, [1] * 10)
    assert math.isnan(none.value)
    assert _spread_figures("train", [1.0] * 9, [1] * 9) == [], "too few rows"


def test_without_splits_there_is_nothing_to_report(colours, tmp_path):
    write_jsonl(tmp_path / "data" / "train.jsonl", [])
    write_jsonl(tmp_path / "data" / "rejected.jsonl", [])
    inputs = {"data": tmp_path / "data", "train": colours.out["train"], "compress": colours.out["compress"]}
    job = run_stage("evaluate", colours.spec, colours.root, tmp_path / "out", **inputs)
    assert job.heard == [] and job.facts == ["no split is held out, so nothing was measured"]


# The baselines


@given(
    st.lists(st.lists(st.integers(0, 5), min_size=2, max_size=9), max_size=9), st.lists(st.integers(0, 5), min_size=1)
)
def test_the_probabilities_of_all_tokens_sum_to_one(texts, before):
    grams = NGrams(6)
    for text in texts:
        grams.learn(Example(text, 1))
    assert sum(grams.probability([*before, token], len(before)) for token in range(6)) == pytest.approx(1.0)


def test_what_was_seen_often_is_likely():
    grams = NGrams(10)
    for _ in range(50):
        grams.learn(Example([1, 2, 3, 4], 1))
    assert grams.loss(Example([1, 2, 3, 4], 1)) < 0.5 < grams.loss(Example([4, 3, 2, 1], 1))


def test_an_untaught_baseline_gives_every_token_the_same_chance():
    assert NGrams(8).loss(Example([1, 2, 3], 1)) == pytest.approx(2 * math.log(8))


def test_the_nearest_question_gives_its_answer_and_rare_words_weigh_more():
    nearest = Nearest([[1, 1, 2, 9], [1, 2, 8], [1, 2, 7]], ["nine", "eight", "seven"])
    assert nearest.answer([1, 2, 2, 3, 8]) == "eight"
    assert nearest.answer([7]) == "seven"
    assert nearest.answer([100]) == "nine"


# What is right, and how sure we are


@pytest.mark.parametrize(
    ("said", "wanted", "right"),
    [
        ("Heapq", "heapq ", True),
        ("heap  q", "heap q", True),
        ("heapq.", "heapq", False),
        ("", "a", False),
        ("é", "e\u0301", True),
    ],
)
def test_an_answer_is_right_whatever_its_case_and_space(said, wanted, right):
    assert is_right(said, wanted) is right


def test_the_earliest_stop_string_ends_an_answer():
    assert cut("one two three", ["three", "two"]) == "one "
    assert cut("one", []) == cut("one", ["x"]) == "one"


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_share_and_stays_between_zero_and_one(case):
    hits, n = case
    interval = wilson(hits, n)
    assert 0 <= interval.low <= hits / n <= interval.high <= 1
    assert interval.high - interval.low > 0


def test_wilson_gives_the_textbook_figure():
    interval = wilson(8, 10)
    assert (round(interval.low, 3), round(interval.high, 3)) == (0.49, 0.943)


@given(st.lists(st.tuples(st.floats(0, 50), st.integers(1, 9)), min_size=1, max_size=40))
def test_the_bootstrap_holds_the_mean_and_repeats_itself(rows):
    sums, counts = [one for one, _ in rows], [n for _, n in rows]
    interval = bootstrap(sums, counts, 7)
    assert interval.low <= sum(sums) / sum(counts) + 1e-9 and interval.high >= sum(sums) / sum(counts) - 1e-9
    assert bootstrap(sums, counts, 7) == interval
