"""Measure every split: both models and both baselines on the same rows, asked as the release will be asked."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from guideway.core.evidence import Interval
from guideway.core.protocols import Job
from guideway.pipeline.stages.evaluate.answers import is_right
from guideway.pipeline.stages.evaluate.ask import Asker, Question
from guideway.pipeline.stages.evaluate.further import further
from guideway.pipeline.stages.evaluate.nearest import Nearest
from guideway.pipeline.stages.evaluate.ngram import NGrams
from guideway.pipeline.stages.evaluate.report import Figure, Shown, SplitReport, write_report
from guideway.pipeline.stages.evaluate.splits import split_names
from guideway.pipeline.stages.examples import Voice, rows_of
from guideway.pipeline.stages.intervals import LEVEL, Z, bootstrap, wilson
from guideway.pipeline.stages.models import Compressed, Model, Trained, losses

BASELINE_TOKENS = 2_000_000
"""Tokens that the n-gram baseline learns from at the most: it keeps all its counts in memory."""
PARTS = 5
"""Of the held-out rows, whose losses are compared."""
LARGEST = 700.0
"""The mean loss, in nats, above which a perplexity no longer fits into a float."""

Say = Callable[[float], None]


def measure(job: Job) -> None:
    """Leave the figures of every split as evidence, and write the report."""
    bench, splits, reports = Bench(job), split_names(job.inputs["data"]), []
    parts = len(splits) + 1
    for number, name in enumerate(splits):

        def say(done: float, number: int = number, name: str = name) -> None:
            job.progress(number + done, parts, name)

        reports.append(bench.split(name, say))
    for report in reports:
        leave(job, report)
    if not splits:
        job.fact("no split is held out, so nothing was measured")
    judged = [report.split for report in reports if report.split in job.params["judged"]]
    more = further(job, bench, judged, lambda done: job.progress(len(splits) + done, parts, "damaged prompts"))
    write_report(job.out, reports, job.params["ships"], more)


class Bench:
    """Both models, both baselines and the voice of the release, ready to be asked."""

    def __init__(self, job: Job) -> None:
        trained = Trained(job.inputs["train"])
        self._models: dict[str, Model] = {"train": trained, "compress": Compressed(job.inputs["compress"])}
        self.asker, self.seed = Asker(job, trained.context), job.params["seed"]
        self._ngrams, self._nearest = _baselines(job.inputs["data"], Voice(job.inputs["train"]))
        self._ships = self._models[job.params["ships"]]

    def split(self, name: str, say: Say) -> SplitReport:
        """Every figure of one split."""
        questions = [self.asker.question(row) for row in self.asker.rows(name)]
        report = SplitReport(name, len(questions))
        counts = [question.example.predicted for question in questions]
        grams = [self._ngrams.loss(question.example) for question in questions]
        for number, (about, model) in enumerate(self._models.items()):
            sums = [float(losses(model, question.example).sum()) for question in questions]
            report.figures += _loss_figures(about, sums, counts, self.seed)
            broken = sum(not math.isfinite(one) for one in sums)
            spread = wilson(broken, len(sums))
            report.figures.append(Figure("non_finite_outputs", broken, "rows", about, len(sums), spread))
            report.figures += _gram_figures(about, sums, grams, counts, self.seed)
            say((2 * number + 1) / 4)
            if self._nearest:
                report.figures += self._exact_match(about, model, questions, report)
            say((2 * number + 2) / 4)
        return report

    def scores(self, rows: Sequence[Mapping[str, Any]]) -> list[float]:
        """How well the model that ships does on each row."""
        return self.asker.scores(self._ships, rows)

    def _exact_match(
        self, about: str, model: Model, questions: Sequence[Question], report: SplitReport
    ) -> list[Figure]:
        """The shares of right answers of one model and of its baseline; every answer goes into the report."""
        assert self._nearest
        right, simple = [], []
        for question, said in zip(questions, self.asker.answers(model, questions), strict=True):
            right.append(is_right(said, question.wanted))
            simple.append(is_right(self._nearest.answer(question.prompt), question.wanted))
            report.shown.append(Shown(about, question.asked, said, question.wanted, right[-1]))
        gains = [float(own) - float(other) for own, other in zip(right, simple, strict=True)]
        n = len(questions)
        return [
            Figure("exact_match", sum(right) / n, "share", about, n, wilson(sum(right), n)),
            Figure("baseline_exact_match", sum(simple) / n, "share", about, n, wilson(sum(simple), n)),
            Figure("exact_match_gain", sum(gains) / n, "share", about, n, bootstrap(gains, [1] * n, self.seed)),
        ]


def _baselines(data: Path, voice: Voice) -> tuple[NGrams, Nearest | None]:
    """Both baselines, made from the training rows; without conversations there is nothing to be nearest to."""
    ngrams = NGrams(voice.vocabulary)
    prompts, answers, left = [], [], BASELINE_TOKENS
    for row in rows_of(data / "train.jsonl"):
        example = voice.example(row)
        if "messages" in row:
            prompts.append(example.ids[: example.start])
            answers.append(row["messages"][-1]["content"])
        ngrams.learn(example)
        left -= example.predicted
        if left <= 0:
            break
    return ngrams, Nearest(prompts, answers) if prompts else None


def leave(job: Job, report: SplitReport) -> None:
    """Leave every figure of *report* as evidence, and the few that people want as facts."""
    for one in report.figures:
        job.measure(
            one.metric, one.value, one.unit, about=one.about, n=one.n, interval=one.interval, slice=report.split
        )
    ships_by = job.params["ships"]
    ships = {one.metric: one.value for one in report.figures if one.about == ships_by}
    if "exact_match" in ships:
        nearest = ships["baseline_exact_match"]
        gain = next(one for one in report.figures if (one.metric, one.about) == ("exact_match_gain", ships_by))
        noise = ", within noise" if gain.interval.low <= 0 <= gain.interval.high else ""
        share = ships["exact_match"]
        job.fact(f"exact match {share:.1%} on {report.split} (nearest neighbour {nearest:.1%}{noise})")
    else:
        grams = ships["baseline_perplexity"]
        job.fact(f"perplexity {ships['perplexity']:.1f} on {report.split} (3-grams {grams:.1f})")


def _loss_figures(about: str, sums: Sequence[float], counts: Sequence[int], seed: int) -> list[Figure]:
    """Loss and perplexity over all predicted tokens, with intervals over rows."""
    tokens, mean = sum(counts), sum(sums) / sum(counts)
    return [
        *_spread_figures(about, sums, counts),
        Figure("loss", mean, "nats/token", about, tokens, bootstrap(sums, counts, seed)),
        Figure("perplexity", _perplexity(mean), "", about, tokens, bootstrap(sums, counts, seed, _perplexity)),
    ]


def _spread_figures(about: str, sums: Sequence[float], counts: Sequence[int]) -> list[Figure]:
    """How far the losses per token of parts of the held-out rows are apart; 0.1 is a tenth of the perplexity.

    It is no cross-validation: the model is not trained again, so that this tells how much the figure depends on which
    rows were held out, and nothing of how much the model depends on which it learnt from.
    """
    if len(sums) < 2 * PARTS:
        return []
    losses = [sum(sums[part::PARTS]) / sum(counts[part::PARTS]) for part in range(PARTS)]
    with np.errstate(invalid="ignore"):  # a loss that is no number makes a spread that is none
        spread = float(np.std(losses, ddof=1))
    half = Z * spread / (2 * (PARTS - 1)) ** 0.5  # of a standard deviation, as for a normal sample
    around = Interval(max(0.0, spread - half), spread + half, LEVEL, "normal")
    return [Figure("held_out_loss_spread", spread, "nats/token", about, PARTS, around)]


def _gram_figures(
    about: str, sums: Sequence[float], grams: Sequence[float], counts: Sequence[int], seed: int
) -> list[Figure]:
    """The perplexity of the n-grams, and how much better than they the model is, on the same rows."""
    tokens, mean = sum(counts), sum(grams) / sum(counts)
    gains = [other - own for own, other in zip(sums, grams, strict=True)]
    around = bootstrap(grams, counts, seed, _perplexity)
    return [
        Figure("baseline_perplexity", _perplexity(mean), "", about, tokens, around),
        Figure("loss_gain", sum(gains) / tokens, "nats/token", about, tokens, bootstrap(gains, counts, seed)),
    ]


def _perplexity(loss: float) -> float:
    return math.exp(min(loss, LARGEST))
