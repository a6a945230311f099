"""Folds: no prompt on both sides, every row judged once, ended after whole folds, an interval that holds."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import msgspec
import numpy as np
import pytest
from stage_rig import read_jsonl, write_jsonl
from tune_works import Asked, Inline

from guideway.core.errors import GuidewayError
from guideway.core.spec import Train, Tune
from guideway.pipeline.stages.intervals import Z
from guideway.pipeline.stages.train.rows import draw_of
from guideway.pipeline.stages.tune import trial as trials
from guideway.pipeline.stages.tune.folds import dealt, judged
from guideway.pipeline.stages.tune.rows import hold_out
from guideway.pipeline.stages.tune.search import search
from guideway.pipeline.stages.tune.space import best_of
from guideway.pipeline.stages.tune.study import opened

SPACE = {"learning_rate": {"low": 1e-5, "high": 1.0, "log": True}}


def tune_of(**more) -> Tune:
    return msgspec.convert({"search": SPACE, "folds": 4, **more}, Tune)


def chat(prompt: str, number: int = 0) -> dict:
    said = [{"role": "user", "content": prompt}, {"role": "assistant", "content": str(number)}]
    return {"id": f"{prompt}-{number}", "messages": said}


# Which row lies where


def test_rows_with_the_same_prompt_are_in_the_same_fold():
    rows = [chat(f"{said} {number % 10}", number) for number in range(40) for said in ("What is", "what  IS")]
    folds: dict[bytes, set[int]] = {}
    for row, fold in zip(rows, dealt(rows, 5, 1), strict=True):
        folds.setdefault(draw_of(row, 1), set()).add(fold)
    assert len(folds) == 10 and all(len(one) == 1 for one in folds.values())


def test_folds_have_as_many_prompts_each_and_of_every_class_as_many():
    rows = [{"text": f"row {number}", "label": "rare" if number % 5 == 0 else "common"} for number in range(50)]
    places = dealt(rows, 5, 3)
    assert set(Counter(places).values()) == {10}
    counts = Counter((row["label"], place) for row, place in zip(rows, places, strict=True))
    assert {counts["rare", fold] for fold in range(5)} == {2}


def test_the_order_of_rows_decides_nothing_and_the_seed_does():
    rows = [{"text": f"row {number}", "label": str(number % 3)} for number in range(30)]
    rows += [{"text": "row 0", "label": "9"}]  # a text with two labels
    found = dealt(rows, 3, 1)
    assert dealt(rows[::-1], 3, 1) == found[::-1] != dealt(rows[::-1], 3, 2)


def test_fewer_prompts_than_folds_are_refused():
    with pytest.raises(GuidewayError, match="3 prompts are too few for 4 folds"):
        dealt([chat(f"p{number % 3}", number) for number in range(30)], 4, 1)


@pytest.fixture
def data(tmp_path) -> Path:
    (tmp_path / "manifest.json").write_text('{"classes": []}')
    write_jsonl(tmp_path / "train.jsonl", [chat(f"prompt {number}", number) for number in range(60)])
    return tmp_path


def ids(path: Path) -> set[str]:
    return {row["id"] for row in read_jsonl(path)}


def test_every_row_judges_in_one_fold_and_those_of_the_gain_in_none(data):
    folder = data / "rows"
    counts = hold_out(data, folder, tune_of())
    everything, gain = ids(data / "train.jsonl"), ids(folder / "gain.jsonl")
    judging = [ids(folder / f"fold-{number}" / "judging.jsonl") for number in range(4)]
    assert sorted(one for fold in judging for one in fold) == sorted(everything - gain)
    assert (counts.learned, counts.judging, counts.gain) == (54, 54, 6) and len(gain) == 6
    for number, fold in enumerate(judging):
        assert ids(folder / f"fold-{number}" / "train.jsonl") == everything - gain - fold
        assert (folder / f"fold-{number}" / "manifest.json").read_text() == '{"classes": []}'
    assert ids(folder / "train.jsonl") == everything - gain, "the gain is of trainings on all others"


def test_the_rows_of_the_gain_are_those_of_a_search_without_folds(data):
    hold_out(data, data / "folds", tune_of())
    hold_out(data, data / "plain", tune_of(folds=0))
    assert ids(data / "folds" / "gain.jsonl") == ids(data / "plain" / "gain.jsonl")


# What a trial does with them


def asked_of(folder: Path, train: Train) -> trials.Asked:
    return trials.Asked(train, {}, None, folder / "rows", "judging", folder, folder, folds=3)


@pytest.mark.parametrize(("patience", "points"), [(None, 1), (2, 10)])
def test_a_trial_trains_once_for_each_fold_and_tells_the_mean_after_each(tmp_path, monkeypatch, patience, points):
    ran, told = [], []

    def once(asked, report, points):
        ran.append((asked.data.name, asked.work.name, asked.folds, points))
        report(1, 99.0)
        return [(float(len(ran)), 1)]

    monkeypatch.setattr(trials, "_once", once)
    found = trials.trained(asked_of(tmp_path, Train(patience=patience)), lambda point, loss: told.append((point, loss)))
    assert found == [(1.0, 1), (2.0, 1), (3.0, 1)] and told == [(1, 1.0), (2, 1.5), (3, 2.0)]
    assert ran == [(f"fold-{number}", f"fold-{number}", 0, points) for number in range(3)]


def in_folds(asked: Asked, report):
    """Each fold is worse than the one before it; the trial as a whole is as bad as its learning rate is off."""
    low = abs(math.log10(asked.parameters["learning_rate"]) + 2)
    losses = [low + fold / 10 for fold in range(4)]
    for fold in range(4):
        report(fold + 1, sum(losses[: fold + 1]) / (fold + 1))
    return [(loss, 1) for loss in losses]


def searched(folder: Path, tune: Tune):
    with opened(folder, tune, Train()) as study:
        asked = lambda trial: Asked(trial.parameters, trial.seed)  # noqa: E731
        return search(study, Inline(in_folds), asked, lambda trials: None, lambda: 0.0)


def test_a_trial_is_judged_by_the_mean_over_its_folds_and_the_record_has_each(tmp_path):
    found = searched(tmp_path, tune_of(trials=3))
    for one in found.values():
        assert len(one.folds) == 4 and one.loss == pytest.approx(sum(one.folds) / 4)
    assert searched(tmp_path, tune_of(trials=3)) == found, "and so has whoever reads it again"


def test_a_trial_that_falls_behind_is_ended_after_a_whole_fold(tmp_path):
    found = searched(tmp_path, tune_of(trials=20, sampler="random"))
    pruned = [one for one in found.values() if one.state == "pruned"]
    assert pruned and all(1 <= len(one.curve) < 4 and not one.folds for one in pruned)
    assert (
        best_of(found).loss
        == best_of(searched(tmp_path / "all", tune_of(trials=20, sampler="random", prune=False))).loss
    )


# How sure the mean is


def test_the_mean_over_folds_has_an_interval_for_what_they_share():
    found = judged([1.0, 2.0, 3.0])
    assert found.loss == 2.0 and found.folds == (1.0, 2.0, 3.0) and found.interval.level == 0.95
    assert found.interval.high - 2.0 == pytest.approx(4.3027 * math.sqrt(1 / 3 + 1 / 2))
    assert found.interval.low + found.interval.high == pytest.approx(4.0)
    assert judged([1.0, 2.0]).interval.high == pytest.approx(1.5 + 12.7062 * math.sqrt(0.5) * math.sqrt(1.5))


def test_the_interval_holds_its_level_to_within_two_points_and_the_plain_one_over_rows_does_not():
    draw, times, rows, folds = np.random.default_rng(5), 600, 30, 5
    corrected = plain = 0
    for _ in range(times):
        features = draw.normal(size=(rows, 6))
        target = features[:, 0] + draw.normal(size=rows)
        losses, each, true = [], [], []
        for fold in range(folds):
            out = np.arange(rows) % folds == fold
            weights = np.linalg.lstsq(features[~out], target[~out], rcond=None)[0]
            squares = (target[out] - features[out] @ weights) ** 2
            losses.append(float(squares.mean()))
            each += squares.tolist()
            true.append(1 + float(((weights - np.eye(6)[0]) ** 2).sum()))  # what fresh rows would show
        mean = float(np.mean(true))
        found = judged(losses)
        corrected += found.interval.low <= mean <= found.interval.high
        plain += abs(float(np.mean(each)) - mean) <= Z * float(np.std(each, ddof=1)) / math.sqrt(rows)
    assert corrected / times > 0.93 and plain / times < 0.88
