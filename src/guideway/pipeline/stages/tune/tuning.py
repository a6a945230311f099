"""The stage: hold rows out, search, show what the best gains, and say which parameters training takes."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from guideway.core.protocols import Job
from guideway.core.spec import Runner, Train, Tune
from guideway.core.spec.tune import Value, applied
from guideway.pipeline.stages.tune import part, space
from guideway.pipeline.stages.tune.confirm import Anew, Verdict
from guideway.pipeline.stages.tune.folds import judged
from guideway.pipeline.stages.tune.pool import Pool, Workers
from guideway.pipeline.stages.tune.report import Story, write_reports
from guideway.pipeline.stages.tune.rows import GAIN, JUDGING, hold_out
from guideway.pipeline.stages.tune.search import search
from guideway.pipeline.stages.tune.space import Trial, best_of
from guideway.pipeline.stages.tune.study import Resumed, opened
from guideway.pipeline.stages.tune.trial import Asked, trained

UNITS = {None: "nats/token", "classify": "nats/row"}
"""What a loss is measured in, by the task that the parameters of training name."""


def tune(job: Job, base: Path | None) -> None:
    """Run the search, or what a killed one left of it, from the model in *base* if there is one.

    Raises:
        GuidewayError: no trial ran to its end, or there are too few rows.
    """
    asked = msgspec.convert(part(job.params, "tune"), Tune)
    plain = part(job.params, "train")
    train = msgspec.convert({key: value for key, value in plain.items() if key in Train.__struct_fields__}, Train)
    with opened(job.resume, asked, train) as study, _workers(job, asked.parallel) as pool:
        counts = hold_out(job.inputs["data"], job.resume / "rows", asked)
        ask, progress = _Ask(job, base, asked, train), _Progress(job, asked, train)
        trials = search(study, pool, ask.trial, progress.searched)
        best = best_of(trials)
        assert best
        defaults = space.defaults(asked, train)
        trainings = Anew(pool, ask.anew, job.resume / "gain", progress.confirmed)
        verdict = trainings.confirm(asked, {"default": defaults, "best": best.parameters})
        unit, folds = UNITS[plain.get("task")], judged(best.folds) if best.folds else None
        story = Story(asked, defaults, best, trials, verdict, study.importance(), counts, unit, folds)
        resumed, again = study.resumed, pool.again
    _write(job.out, story)
    write_reports(job.out, story)
    _leave(job, story, resumed, again)


@contextlib.contextmanager
def _workers(job: Job, most: int) -> Iterator[Workers]:
    """Those who train, *most* at once at the most: processes of this machine, or of a cluster."""
    if job.runner.get("kind") != "ray":
        yield Pool(trained, most)
        return
    from guideway.pipeline.stages.tune import on_ray

    with on_ray.workers(msgspec.convert(dict(job.runner), Runner), most) as pool:
        yield pool


class _Ask:
    """Makes what those who train are given."""

    def __init__(self, job: Job, base: Path | None, tune: Tune, train: Train) -> None:
        self._params, self._base = part(job.params, "train"), base
        self._tune, self._train = tune, train
        self._root, self._rows, self._work = job.root, job.resume / "rows", job.resume / "work"
        shutil.rmtree(self._work, ignore_errors=True)
        self._work.mkdir(parents=True)

    def trial(self, trial: Trial) -> Asked:
        """A trial: as many steps as the search gives it, judged as a whole, in folds where it has any."""
        train = msgspec.structs.replace(self._train, steps=self._tune.steps or self._train.steps)
        return self._asked(train, trial.parameters, trial.seed, JUDGING, folds=self._tune.folds)

    def anew(self, parameters: Mapping[str, Value], seed: int) -> Asked:
        """A training for the gain: all steps, judged row by row on rows that chose nothing."""
        return self._asked(self._train, parameters, seed, GAIN, by_row=True)

    def _asked(self, train: Train, parameters: Mapping[str, Value], seed: int, judge: str, **more: Any) -> Asked:
        seeded = msgspec.structs.replace(applied(train, parameters), seed=seed)
        return Asked(seeded, self._params, self._base, self._rows, judge, self._root, self._work, **more)


class _Progress:
    """Says how far the search is, in steps of training."""

    def __init__(self, job: Job, tune: Tune, train: Train, clock: Callable[[], float] = time.monotonic) -> None:
        self._say, self._count = job.progress, space.count(tune)
        self._points = space.points_of(tune)
        self._trial = float(max(1, tune.folds) * (tune.steps or train.steps))
        self._anew = float(train.steps)
        self._repeats = 2 * tune.repeats
        self._began, self._limit, self._clock = clock(), (tune.minutes or 0.0) * 60, clock
        self._total = self._count * self._trial + self._repeats * self._anew

    def searched(self, trials: Mapping[int, Trial]) -> None:
        """So far are the trials."""
        parts = [len(one.curve) / self._points if one.state == "running" else 1.0 for one in trials.values()]
        spent = (self._clock() - self._began) / self._limit if self._limit else 0.0
        done = max(sum(parts), min(spent, 1.0) * self._count)
        best = best_of(trials)
        note = f", best loss {best.loss:.4g}" if best else ""
        self._say(min(done, self._count) * self._trial, self._total, f"trial {len(trials)} of {self._count}{note}")

    def confirmed(self, runs: float) -> None:
        """So many trainings of defaults and best are done."""
        done = self._count * self._trial + runs * self._anew
        self._say(done, self._total, f"defaults against best, training {min(int(runs) + 1, self._repeats)}")


def _write(out: Path, story: Story) -> None:
    """``trials.jsonl``, one trial a line, and ``best.json``."""
    lines = [msgspec.json.encode(story.trials[number]) for number in sorted(story.trials)]
    (out / "trials.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    verdict, states = story.verdict, _states(story.trials)
    best = {
        "parameters": story.best.parameters,
        "defaults": story.defaults,
        "trial": story.best.number,
        "outcome": verdict.outcome,
        "taken": verdict.taken,
        "gain": msgspec.to_builtins(verdict.gain),
        "folds": msgspec.to_builtins(story.folds),
        "unit": story.unit,
        "trials": {"all": len(story.trials), **states},
    }
    text = json.dumps(best, indent=1, sort_keys=True, ensure_ascii=False)
    (out / "best.json").write_text(text + "\n", encoding="utf-8")


def _states(trials: Mapping[int, Trial]) -> dict[str, int]:
    counted = Counter(one.state for one in trials.values())
    return {state: counted[state] for state in ("complete", "pruned", "failed")}


def _leave(job: Job, story: Story, resumed: Resumed, again: int) -> None:
    """Leave the figures as evidence, and the few that people want as facts."""
    count, states, gain = len(story.trials), _states(story.trials), story.verdict.gain
    job.measure("tuning_trials", count, "trials", about="out", n=count)
    for state in ("pruned", "failed"):
        job.measure(f"tuning_{state}", states[state], "trials", about="out", n=count)
    if story.folds:
        kept = story.folds
        job.measure("tuning_folds", len(kept.folds), "folds", about="out")
        job.measure("tuning_loss", kept.loss, story.unit, about="out", n=len(kept.folds), interval=kept.interval)
    if gain:
        job.measure("tuning_gain", gain.value, story.unit, about="out", n=gain.n, interval=gain.interval)
    elif story.verdict.outcome == "same":
        job.measure("tuning_gain", 0.0, story.unit, about="out")
    more = f", {resumed.kept} of them kept from before it was stopped" if resumed.kept else ""
    more += f", {resumed.again} that it was stopped in begun again" if resumed.again else ""
    more += f", {again} begun again on another worker" if again else ""
    job.fact(f"{count} trials, {states['pruned']} pruned, {states['failed']} failed{more}")
    job.fact(f"{_said(story.best.parameters)}: {told(story.verdict)}")


def _said(parameters: Mapping[str, Value]) -> str:
    return ", ".join(
        f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}" for key, value in parameters.items()
    )


def told(verdict: Verdict) -> str:
    """What came of the search, in one line."""
    gain = verdict.gain
    figure = f"{gain.value:.4g} [{gain.interval.low:.4g}, {gain.interval.high:.4g}]" if gain else ""
    match verdict.outcome:
        case "better":
            return f"gains {figure} over the defaults"
        case "not shown":
            return f"a gain of {figure} is none that is shown, so the defaults stay"
        case "worse":
            return f"worse than the defaults, {figure}, which stay"
        case "same":
            return "the defaults are the best"
        case "default failed":
            return f"taken, for training the defaults anew failed: {verdict.reason}"
        case "best failed":
            return f"training it anew failed, so the defaults stay: {verdict.reason}"
