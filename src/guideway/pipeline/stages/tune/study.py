"""The record of a search: an Optuna study in a journal that outlives whoever writes it, and what is tried next.

One process writes it, and holds its lock. A trial that ran when its process was killed is taken up again with the
same parameters and the same seed; nothing else is repeated.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from guideway.core.spec import Train, Tune
from guideway.core.spec.tune import Dimension, is_whole, values_of
from guideway.kit.files import locked
from guideway.pipeline.stages.tune import space
from guideway.pipeline.stages.tune.space import State, Trial, seed_of

PATIENT_TRIALS, PATIENT_POINTS = 4, 1
"""Trials that end before any is pruned, and points that each trial is granted."""
_STATES: dict[TrialState, State] = {
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}


class Resumed(NamedTuple):
    """What a search that was stopped finds of itself: trials that had ended, and those that begin again."""

    kept: int
    again: int


class Study:
    """The trials of one search. Open it with ``opened``."""

    def __init__(self, journal: Path, tune: Tune, train: Train) -> None:
        self.tune, self.train = tune, train
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        pruner = optuna.pruners.MedianPruner(PATIENT_TRIALS, PATIENT_POINTS)
        self._journal = journal
        storage = JournalStorage(_Journal(journal))
        self.study = optuna.create_study(
            storage=storage, study_name="tune", direction="minimize", load_if_exists=True, pruner=pruner
        )
        self._live: dict[int, optuna.Trial] = {}
        self._ended: dict[int, Trial] = {}
        found = self.trials().values()
        self._again = [one.number for one in found if one.state == "running"]
        self.resumed = Resumed(len(found) - len(self._again), len(self._again))

    @property
    def seconds(self) -> float:
        """How long the search has taken so far, over all processes that worked on it."""
        return float(self.study.user_attrs.get("seconds", 0.0))

    def trials(self) -> dict[int, Trial]:
        """Every trial by its number."""
        found = {one.number: self._ended.get(one.number) or _told(one, self.tune.seed) for one in self._frozen()}
        self._ended = {number: one for number, one in found.items() if one.state != "running"}
        return found

    def next(self) -> Trial | None:
        """What to try now: first what was left unfinished; None when there are as many trials as asked for."""
        number = self._again.pop(0) if self._again else len(self._frozen())
        if number >= space.count(self.tune):
            return None
        self.study.sampler = _sampler(self.tune, seed_of(self.tune.seed, "propose", number))
        unfinished = next((one for one in self._frozen() if one.number == number), None)
        trial = optuna.Trial(self.study, unfinished._trial_id) if unfinished else self._asked(number)
        for key, one in self.tune.search.items():
            _suggest(trial, key, _distribution(key, one))
        self._live[number] = trial
        return self.trials()[number]

    def report(self, number: int, point: int, loss: float) -> bool:
        """Note the validation loss of a running trial at *point*: should it go on?"""
        trial = self._live[number]
        if point not in self.trials()[number].curve:  # else it is one that is trained again
            trial.report(loss, point)
        return not (self.tune.prune and trial.should_prune())

    def complete(self, number: int, loss: float, folds: Sequence[float] = ()) -> None:
        """A trial ran to its end, judged by its *loss*; with folds that is the mean over *folds*."""
        if math.isfinite(loss):
            if folds:
                self._live[number].set_user_attr("folds", list(folds))
            self._tell(number, values=loss)
        else:
            self.failed(number, f"the validation loss is {loss}")

    def pruned(self, number: int) -> None:
        """A trial was ended because it fell behind."""
        self._tell(number, state=TrialState.PRUNED)

    def failed(self, number: int, reason: str) -> None:
        """A trial died, or its loss is no number."""
        self._live[number].set_user_attr("reason", reason)
        self._tell(number, state=TrialState.FAIL)

    def spend(self, seconds: float) -> None:
        """Note how long the search has taken."""
        self.study.set_user_attr("seconds", seconds)

    def importance(self) -> dict[str, float]:
        """The share of the spread of losses that each key explains (fANOVA); empty where that cannot be said."""
        done = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if len({one.value for one in done}) < 2:
            return {}
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=self.tune.seed)
        try:
            found = optuna.importance.get_param_importances(self.study, evaluator=evaluator)
        except (RuntimeError, ValueError):  # all the spread is noise between equal parameters
            return {}
        return {key: float(share) for key, share in found.items()}

    def _tell(self, number: int, **end: Any) -> None:
        """Note how a trial ended, on the disk: that of all things is not to be done again."""
        self.study.tell(number, **end)
        with self._journal.open("rb") as file:
            os.fsync(file.fileno())

    def _asked(self, number: int) -> optuna.Trial:
        """A new trial, with the parameters that are given rather than sampled, if any are."""
        waiting = self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        given = None if waiting else self._given(number)
        if given is not None:
            self.study.enqueue_trial(given)
        return self.study.ask()

    def _given(self, number: int) -> dict[str, Any] | None:
        """The grid's point; the defaults, first of all; what Hyperopt proposes; or None: Optuna samples."""
        if self.tune.sampler == "grid":
            return dict(space.points(self.tune)[number])
        if number == 0 and (found := space.first(self.tune, self.train)):
            return found
        if self.tune.backend == "hyperopt":
            from guideway.pipeline.stages.tune.hyper import propose

            return propose(self.tune, self.trials(), seed_of(self.tune.seed, "propose", number))
        return None

    def _frozen(self) -> list[FrozenTrial]:
        found: list[FrozenTrial] = self.study.get_trials(deepcopy=False)
        return [one for one in found if one.state in _STATES]


@contextlib.contextmanager
def opened(folder: Path, tune: Tune, train: Train) -> Iterator[Study]:
    """The study in *folder*, made if it is not there; another process that has it is waited for."""
    with locked(folder / "lock"):
        journal = folder / "study.jsonl"
        _mend(journal)
        yield Study(journal, tune, train)


class _Journal(JournalFileBackend):  # type: ignore[misc]
    """Optuna's journal, written by one process: it takes no lock, for whoever opens it holds that of the folder.

    It forces nothing to the disk. A killed process loses nothing by that, and what a power cut takes is the last
    lines, of trials that ran.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Add *logs*, a line each."""
        lines = "".join(json.dumps(one, separators=(",", ":")) + "\n" for one in logs)
        with self._path.open("ab") as file:
            file.write(lines.encode())


def _mend(journal: Path) -> None:
    """Cut off a last line that was being written when its writer died."""
    if not journal.exists():
        return
    with journal.open("r+b") as file:
        text = file.read()
        file.truncate(text.rfind(b"\n") + 1)


def _sampler(tune: Tune, seed: int) -> Any:
    """A fresh sampler for each trial: what it draws depends on the trials before and on *seed*, not on a process."""
    if tune.sampler == "tpe":
        return optuna.samplers.TPESampler(seed=seed)
    if tune.sampler == "gp":
        return optuna.samplers.GPSampler(seed=seed)
    return optuna.samplers.RandomSampler(seed=seed)


def _distribution(key: str, one: Dimension) -> BaseDistribution:
    if one.choices:
        return CategoricalDistribution(one.choices)
    assert one.low is not None and one.high is not None
    whole = is_whole(key)
    values = values_of(one, whole=whole)
    high = float(values[-1]) if values else one.high
    if whole:
        return IntDistribution(int(one.low), int(high), log=one.log, step=int(one.step or 1))
    return FloatDistribution(one.low, high, log=one.log, step=one.step)


def _suggest(trial: optuna.Trial, key: str, one: BaseDistribution) -> None:
    if isinstance(one, CategoricalDistribution):
        trial.suggest_categorical(key, one.choices)
    elif isinstance(one, IntDistribution):
        trial.suggest_int(key, one.low, one.high, step=one.step, log=one.log)
    else:
        assert isinstance(one, FloatDistribution)
        trial.suggest_float(key, one.low, one.high, step=one.step, log=one.log)


def _told(one: FrozenTrial, seed: int) -> Trial:
    state = _STATES[one.state]
    return Trial(
        number=one.number,
        parameters=dict(one.params),
        seed=seed_of(seed, "trial", one.number),
        state=state,
        loss=one.value if state == "complete" else None,
        curve={int(point): float(loss) for point, loss in sorted(one.intermediate_values.items())},
        folds=tuple(one.user_attrs.get("folds", ())),
        reason=str(one.user_attrs.get("reason", "")),
    )
