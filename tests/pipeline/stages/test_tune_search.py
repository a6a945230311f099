"""A search: what is tried next, what becomes of a trial that dies, and what a kill costs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from tune_works import Asked, bowl, unlucky

from guideway.core.errors import GuidewayError
from guideway.core.spec import Train, Tune
from guideway.pipeline.stages.tune.pool import Pool
from guideway.pipeline.stages.tune.search import search
from guideway.pipeline.stages.tune.space import best_of, count, points
from guideway.pipeline.stages.tune.study import opened

RATE = {"learning_rate": {"low": 1e-5, "high": 1.0, "log": True}}


def tune_of(**more) -> Tune:
    return msgspec.convert({"search": RATE, "trials": 12, **more}, Tune)


def searched(folder: Path, tune: Tune, work=bowl, train: Train | None = None, **asked):
    with opened(folder, tune, train or Train()) as study:
        pool = Pool(work, tune.parallel)
        return search(study, pool, lambda trial: Asked(trial.parameters, seed=trial.seed, **asked), lambda trials: None)


def parameters(trials):
    return [trials[number].parameters for number in sorted(trials)]


@pytest.mark.parametrize("sampler", ["tpe", "random", "gp"])
def test_the_same_seed_tries_the_same_parameters(tmp_path, sampler):
    one, two = (searched(tmp_path / name, tune_of(sampler=sampler)) for name in ("one", "two"))
    assert one == two
    assert parameters(one) != parameters(searched(tmp_path / "three", tune_of(sampler=sampler, seed=8)))
