"""The key tune: what may be searched, and the one clear line when it may not."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from guideway.core.errors import SpecError
from guideway.core.spec import Train, build_part, load
from guideway.core.spec.tune import Dimension, applied, grid, values_of

HEAD = "guideway: 1\nname: small\ndata:\n  sources:\n    - path: a.jsonl\n"
WHOLE = """tune:
  search:
    learning_rate: {low: 1e-4, high: 1e-2, log: true}
    batch: {choices: [16, 32]}
    weight_decay: {low: 0, high: 0.5}
    architecture.layers: {low: 1, high: 4, step: 1}
  sampler: tpe
  trials: 20
  minutes: 30
  parallel: 2
"""


def loaded(folder: Path, text: str):
    path = folder / "guideway.yaml"
    path.write_text(HEAD + text, encoding="utf-8")
    return load(path, "dev", {}).spec


def search(*lines: str, **more: str) -> str:
    keys = "".join(f"  {key}: {value}\n" for key, value in more.items())
    return "tune:\n" + keys + "  search:\n" + "".join(f"    {line}\n" for line in lines)


def test_a_whole_search_is_read(tmp_path):
    tune = loaded(tmp_path, WHOLE).tune
    assert tune.search["learning_rate"] == Dimension(low=1e-4, high=1e-2, log=True)
    assert tune.search["batch"].choices == (16, 32)
    assert (tune.trials, tune.minutes, tune.parallel, tune.prune, tune.repeats) == (20, 30.0, 2, True, 3)
    assert tune.folds == 0 and loaded(tmp_path, WHOLE + "  folds: 5\n").tune.folds == 5


def test_a_spec_without_a_search_has_the_build_part_that_it_always_had(tmp_path):
    assert "tune" not in build_part(loaded(tmp_path, ""))
    assert build_part(loaded(tmp_path, WHOLE))["tune"]["trials"] == 20


@pytest.mark.parametrize("written", ["1e-4", "1E-4", "1.0e-4", "+1e-04", ".1e-3"])
def test_a_number_with_an_exponent_is_a_number(tmp_path, written):
    assert loaded(tmp_path, f"train: {{learning_rate: {written}}}\n").train.learning_rate == 1e-4


def test_a_quoted_exponent_stays_text(tmp_path):
    assert loaded(tmp_path, "policy: {intended_use: '1e-4'}\n").policy.intended_use == "1e-4"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (search("learning_rat: {low: 1, high: 2}"),
         "8: 'learning_rat' is no key of train (did you mean 'learning_rate'?)"),
        (search("architecture: {choices: [1]}"), "8: 'architecture' is no key of train"),
        (search("seed: {choices: [1, 2]}"), "8: 'seed' is not searched: a seed that happens to be lucky"),
        (search("base: {choices: [a, b]}"), "8: 'base' is not searched"),
        (search("validation.rows: {low: 1, high: 9}"), "8: 'validation.rows' is not searched"),
        (search("architecture.vocabulary: {low: 300, high: 900}"), "8: 'architecture.vocabulary' is not searched"),
        (search("learning_rate: {low: 0, high: 1, log: true}"),
         "8: 'learning_rate' is searched by orders of magnitude, so 'low' must be above 0"),
        (search("learning_rate: {low: 0.1, high: 0.1}"), "8: the range of 'learning_rate' is empty"),
        (search("learning_rate: {low: .inf, high: 1}"), "8: 'learning_rate' needs both 'low' and 'high'"),
        (search("learning_rate: {low: 0.1}"), "8: 'learning_rate' needs both 'low' and 'high'"),
        (search("learning_rate: {}"), "8: 'learning_rate' has either 'low' and 'high', or 'choices'"),
        (search("learning_rate: {low: 1, high: 2, choices: [1]}"),
         "8: 'learning_rate' has either 'low' and 'high', or 'choices'"),
        (search("learning_rate: {low: 0, high: 1}"), "8: train.learning_rate cannot be 0: it must be more than 0"),
        (search("batch: {low: 1, high: 2, log: true, step: 1}"), "8: 'batch' has 'log' and 'step'"),
        (search("batch: {low: 1, high: 3, step: 5}"), "8: the step of 'batch' is larger than its range"),
        (search("batch: {low: 1.5, high: 3}"), "8: 'batch' takes whole numbers only"),
        (search("batch: {choices: [0, 8]}"), "8: train.batch cannot be 0"),
        (search("batch: {choices: [many]}"), "8: train.batch cannot be many: it must be a whole number, not text"),
        (search("batch: {choices: [8, 8]}"), "8: a choice of 'batch' is there twice"),
        (search("batch: {choices: [8], log: true}"), "8: 'batch' has choices, so neither 'log' nor 'step'"),
        (search("precision: {low: 1, high: 2}"), "8: 'precision' is no number, so it has no range"),
        (search("batch: {low: 1, high: 3}", sampler="grid"), "9: a grid needs choices or a step for 'batch'"),
        (search("weight_decay: {low: 0, high: 1, step: 1e-6}", sampler="grid"), "8: the grid has more than 10,000"),
        (search("batch: {choices: [8]}", sampler="gp", backend="hyperopt"), "7: hyperopt has no sampler 'gp'"),
        (search("batch: {choices: [8]}", sampler="tpp"), "7: tune.sampler: 'tpp' is not one of gp, grid, random, tpe"),
        (search("batch: {choices: [8]}", folds="1"), "7: one fold leaves nothing to train on (5, or 0 for one"),
        (search("batch: {choices: [8]}", folds="21"), "7: tune.folds: must be at most 20"),
        (search("steps: {low: 5, high: 9}", steps="7"), "7: tune.steps fixes what tune.search looks for"),
        (search("lora.rank: {choices: [4, 8]}"), "8: recipe 'scratch' does not read 'lora.rank'"),
        (search("batch: {choices: [4, 8]}") + "train: {recipe: full, base: b, privacy: {epsilon: 3}}\n",
         "6: trials on private rows would spend privacy that no budget counts"),
        (search("batch: {choices: [4, 8]}", folds="5") + "train: {recipe: full, base: b, privacy: {epsilon: 3}}\n",
         "6: trials on private rows would spend privacy that no budget counts"),
        ("tune: {search: {}}\n", "6: tune.search: must not be empty"),
        (search("batch: {choices: [8]}", repeats="2"), "7: tune.repeats: must be at least 3"),
        ("environments:\n  prod:\n    tune: {search: {batch: {choices: [1]}}}\n", "8: 'tune' is part of the release"),
    ],
)  # fmt: skip
def test_a_search_that_could_not_be_run_is_one_clear_line(tmp_path, text, says):
    with pytest.raises(SpecError) as caught:
        loaded(tmp_path, text)
    assert str(caught.value).startswith(f"guideway.yaml:{says}") and "\n" not in str(caught.value)


def test_dotted_keys_reach_into_train():
    train = applied(Train(), {"architecture.layers": 7, "batch": 5})
    assert (train.architecture.layers, train.architecture.hidden, train.batch) == (7, 256, 5)
    with pytest.raises(msgspec.ValidationError):
        applied(Train(), {"architecture.layers": 0})


@pytest.mark.parametrize(
    ("dimension", "whole", "values"),
    [
        (Dimension(low=1, high=4, step=1), True, (1, 2, 3, 4)),
        (Dimension(low=1, high=4, step=2), True, (1, 3)),
        (Dimension(low=0, high=0.3, step=0.1), False, (0.0, 0.1, 0.2, 0.3)),
        (Dimension(choices=("a", "b")), False, ("a", "b")),
        (Dimension(low=0, high=1), False, ()),
    ],
)
def test_a_stepped_range_has_both_its_ends_where_they_are_steps(dimension, whole, values):
    assert values_of(dimension, whole=whole) == values
    assert all(type(value) is (int if whole else type(value)) for value in values)


def test_a_grid_has_every_point_once(tmp_path):
    spec = loaded(tmp_path, search("batch: {choices: [8, 16]}", "warmup: {low: 0, high: 20, step: 10}", sampler="grid"))
    found = grid(spec.tune)
    assert len(found) == len({tuple(one.items()) for one in found}) == 6
    assert found[:2] == [{"batch": 8, "warmup": 0}, {"batch": 8, "warmup": 10}]
