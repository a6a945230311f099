"""Hyperopt as the one who proposes: TPE or random draws, from the same space and the same record of trials."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from hyperopt import STATUS_FAIL, STATUS_OK, Trials, hp, rand, tpe
from hyperopt.base import JOB_STATE_DONE, Domain, trials_from_docs

from guideway.core.spec import Tune
from guideway.core.spec.tune import Dimension, Value, is_whole, values_of
from guideway.pipeline.stages.tune.space import Trial

RANDOM_FIRST = 10
"""Trials that are drawn at random before TPE has enough to go by; as many as Optuna takes."""


def propose(tune: Tune, trials: Mapping[int, Trial], seed: int) -> dict[str, Value]:
    """The parameters to try next; the same trials and the same seed give the same ones."""
    number = len(trials)
    domain = Domain(lambda _point: 0.0, {key: _label(key, one) for key, one in tune.search.items()})
    docs = [_doc(one, tune) for one in trials.values() if one.state != "running"]
    history = trials_from_docs(docs) if docs else Trials()
    if tune.sampler == "random":
        (found,) = rand.suggest([number], domain, history, seed)
    else:
        (found,) = tpe.suggest([number], domain, history, seed, n_startup_jobs=RANDOM_FIRST)
    return {key: _value(key, one, found["misc"]["vals"][key][0]) for key, one in tune.search.items()}


def _label(key: str, one: Dimension) -> Any:
    """What Hyperopt calls an expression of the space. A stepped range is a number of steps."""
    if one.choices:
        return hp.randint(key, len(one.choices))
    assert one.low is not None and one.high is not None
    if one.step is not None:
        return hp.uniformint(key, 0, len(values_of(one, whole=False)) - 1)
    if one.log:
        low, high = math.log(one.low), math.log(one.high)
        return hp.qloguniform(key, low, high, 1) if is_whole(key) else hp.loguniform(key, low, high)
    return hp.uniformint(key, one.low, one.high) if is_whole(key) else hp.uniform(key, one.low, one.high)


def _value(key: str, one: Dimension, drawn: Any) -> Value:
    """From Hyperopt's number to ours."""
    values = values_of(one, whole=is_whole(key))
    if values:
        return values[int(drawn)]
    assert one.low is not None and one.high is not None
    inside = min(max(float(drawn), one.low), one.high)
    return round(inside) if is_whole(key) else inside


def _drawn(key: str, one: Dimension, value: Value) -> float:
    """From our number to Hyperopt's."""
    values = values_of(one, whole=is_whole(key))
    return float(values.index(value)) if value in values else float(value)


def _doc(trial: Trial, tune: Tune) -> dict[str, Any]:
    """A finished trial in Hyperopt's own form. One that was pruned counts with the last loss that it had."""
    loss = trial.loss if trial.loss is not None else next(reversed(trial.curve.values()), None)
    failed = trial.state == "failed" or loss is None
    number = trial.number
    drawn = {key: _drawn(key, one, trial.parameters[key]) for key, one in tune.search.items()}
    misc = {
        "tid": number,
        "cmd": ("domain_attachment", "none"),
        "workdir": None,
        "idxs": {key: [number] for key in drawn},
        "vals": {key: [value] for key, value in drawn.items()},
    }
    times = {"book_time": None, "refresh_time": None, "exp_key": None, "owner": None, "version": 0}
    result = {"status": STATUS_FAIL} if failed else {"status": STATUS_OK, "loss": loss}
    return {"tid": number, "spec": None, "state": JOB_STATE_DONE, "result": result, "misc": misc, **times}
