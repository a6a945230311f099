"""A search: what is tried next, what is ended early, and that the same seed does the same."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from tune_works import Asked, Inline, bowl, unlucky

from guideway.core.errors import GuidewayError
from guideway.core.spec import Train, Tune
from guideway.pipeline.stages.tune.search import search
from guideway.pipeline.stages.tune.space import best_of
from guideway.pipeline.stages.tune.study import opened

RATE = {"learning_rate": {"low": 1e-5, "high": 1.0, "log": True}}
MIXED = {
    **RATE,
    "batch": {"choices": [8, 16, 32]},
    "weight_decay": {"low": 0, "high": 0.5},
    "warmup": {"low": 0, "high": 30, "step": 10},
    "architecture.layers": {"low": 1, "high": 4},
    "architecture.hidden": {"low": 16, "high": 256, "log": True},
}
SAMPLERS = [("optuna", "tpe"), ("optuna", "random"), ("optuna", "gp"), ("hyperopt", "tpe"), ("hyperopt", "random")]


def tune_of(**more) -> Tune:
    return msgspec.convert({"search": RATE, "trials": 12, "prune": False, **more}, Tune)


def searched(folder: Path, tune: Tune, work=bowl, train=None, clock=lambda: 0.0, tell=lambda trials: None):
    with opened(folder, tune, train or Train()) as study:
        pool = Inline(work, tune.parallel)
        return search(study, pool, lambda trial: Asked(trial.parameters, trial.seed), tell, clock)


def parameters(trials):
    return [trials[number].parameters for number in sorted(trials)]


@pytest.mark.parametrize(("backend", "sampler"), SAMPLERS)
def test_the_same_seed_tries_the_same_parameters_and_all_lie_in_the_space(tmp_path, backend, sampler):
    tune = tune_of(search=MIXED, backend=backend, sampler=sampler)
    trials = searched(tmp_path / "one", tune)
    assert trials == searched(tmp_path / "two", tune) and len(trials) == 12
    for one in parameters(trials):
        assert list(one) == list(MIXED)
        assert 1e-5 <= one["learning_rate"] <= 1 and 0 <= one["weight_decay"] <= 0.5
        assert one["batch"] in (8, 16, 32) and one["warmup"] in (0, 10, 20, 30)
        assert type(one["architecture.layers"]) is int and 1 <= one["architecture.layers"] <= 4
        assert type(one["architecture.hidden"]) is int and 16 <= one["architecture.hidden"] <= 256


@pytest.mark.parametrize("backend", ["optuna", "hyperopt"])
def test_another_seed_tries_others(tmp_path, backend):
    one, two = (
        searched(tmp_path / str(seed), tune_of(backend=backend, seed=seed, trials=3), train=Train(learning_rate=3.0))
        for seed in (1, 2)
    )
    assert all(a != b for a, b in zip(parameters(one), parameters(two), strict=True))


@pytest.mark.parametrize("backend", ["optuna", "hyperopt"])
def test_a_search_that_learns_comes_closer_than_random_draws(tmp_path, backend):
    def best(name: str, **more) -> float:
        return sum(best_of(searched(tmp_path / f"{name}{seed}", tune_of(trials=30, seed=seed, **more))).loss
                   for seed in (1, 2, 3))  # fmt: skip

    assert best("learns", backend=backend) < best("draws", sampler="random")


def test_the_defaults_are_the_first_trial_where_the_space_has_them(tmp_path):
    train = Train(learning_rate=0.02)
    assert parameters(searched(tmp_path / "in", tune_of(trials=2), train=train))[0] == {"learning_rate": 0.02}
    outside = {"learning_rate": {"low": 0.1, "high": 0.9}}
    found = parameters(searched(tmp_path / "out", tune_of(trials=2, search=outside), train=train))
    assert all(0.1 <= one["learning_rate"] <= 0.9 for one in found)


def test_a_grid_tries_every_point_once_and_no_more(tmp_path):
    space = {"batch": {"choices": [8, 16]}, "learning_rate": {"low": 0.1, "high": 0.3, "step": 0.1}}
    found = parameters(searched(tmp_path, tune_of(search=space, sampler="grid", trials=50)))
    assert len(found) == 6 == len({(one["batch"], one["learning_rate"]) for one in found})


def test_every_trial_has_a_seed_of_its_own(tmp_path):
    trials = searched(tmp_path, tune_of())
    assert len({one.seed for one in trials.values()}) == 12


def test_a_trial_that_falls_behind_is_ended_at_once(tmp_path):
    trials = searched(tmp_path, tune_of(prune=True, trials=20, sampler="random"))
    pruned = [one for one in trials.values() if one.state == "pruned"]
    best = best_of(trials)
    assert pruned and all(len(one.curve) < 10 and one.loss is None for one in pruned)
    assert len(best.curve) == 10
    free = searched(tmp_path / "free", tune_of(trials=20, sampler="random"))
    assert all(one.state == "complete" for one in free.values())
    assert best.loss == best_of(free).loss  # nothing that was ended would have won


def test_trials_at_once_do_not_try_the_same(tmp_path):
    pool_size = 4
    trials = searched(tmp_path, tune_of(parallel=pool_size, trials=16))
    rates = [one["learning_rate"] for one in parameters(trials)]
    assert len(set(rates)) == 16


def test_the_loss_of_a_trial_weighs_every_row_by_what_it_predicts(tmp_path):
    def two_rows(_asked, _report):
        return [(6.0, 1), (0.0, 3)]

    assert best_of(searched(tmp_path, tune_of(trials=1), work=two_rows)).loss == 1.5


def test_a_trial_whose_loss_is_no_number_is_a_failed_trial(tmp_path):
    space = {"batch": {"choices": [2, 3, 4, 5]}}
    trials = searched(tmp_path, tune_of(search=space, sampler="grid"), work=unlucky)
    reasons = {one.parameters["batch"]: (one.state, one.reason) for one in trials.values()}
    assert reasons[4] == ("complete", "")
    assert reasons[5] == ("failed", "the validation loss is nan")
    assert reasons[3][0] == reasons[2][0] == "failed"


def test_a_search_in_which_every_trial_fails_says_why(tmp_path):
    with pytest.raises(GuidewayError, match="2 of 2 trials failed and none ran to its end; the last one: the valid"):
        searched(tmp_path, tune_of(search={"batch": {"choices": [5]}}, trials=2), work=unlucky)


def test_a_search_ends_when_its_minutes_are_over(tmp_path):
    now = [0.0]

    def slow(asked, report):
        now[0] += 100
        return bowl(asked, report)

    assert len(searched(tmp_path, tune_of(minutes=5), work=slow, clock=lambda: now[0])) == 3


def test_minutes_count_over_every_process_that_worked_on_the_search(tmp_path):
    now, left = [0.0], [2]

    def slow(asked, report):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        now[0] += 100
        return bowl(asked, report)

    with pytest.raises(KeyboardInterrupt):
        searched(tmp_path, tune_of(minutes=5), work=slow, clock=lambda: now[0])
    left[0] = 100
    assert len(searched(tmp_path, tune_of(minutes=5), work=slow, clock=lambda: now[0] + 9999)) == 3


# Killed and gone on


@pytest.mark.parametrize(("backend", "sampler"), [("optuna", "tpe"), ("hyperopt", "tpe")])
def test_a_search_that_was_killed_ends_as_if_it_had_not_been(tmp_path, backend, sampler):
    tune = tune_of(search=MIXED, backend=backend, sampler=sampler, trials=12)
    whole = searched(tmp_path / "whole", tune)
    ran = []

    def dies(asked, report):
        ran.append(asked.seed)
        if len(ran) in (4, 12):
            report(1, 5.0)
            raise KeyboardInterrupt
        return bowl(asked, report)

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            searched(tmp_path / "killed", tune, work=dies)
    assert searched(tmp_path / "killed", tune, work=dies) == whole
    assert len(ran) == 12 + 2  # only what ran is repeated


def test_a_line_that_was_being_written_when_the_power_went_is_cut_off(tmp_path):
    whole = searched(tmp_path, tune_of(trials=6))
    journal = tmp_path / "study.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    for keep in range(1, len(lines), 7):
        journal.write_bytes(b"".join(lines[:keep]) + lines[keep][:-4])
        assert searched(tmp_path, tune_of(trials=6)) == whole


def test_the_journal_is_optunas_own(tmp_path):
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    trials = searched(tmp_path, tune_of(trials=3))
    study = optuna.load_study(
        study_name="tune", storage=JournalStorage(JournalFileBackend(str(tmp_path / "study.jsonl")))
    )
    assert study.best_params == best_of(trials).parameters
    assert json.loads(msgspec.json.encode(list(trials.values())))[0]["state"] == "complete"
