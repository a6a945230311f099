"""Measure every split: both models and both baselines on the same rows, asked as the release will be asked."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from guideway.core.protocols import Job
from guideway.pipeline.stages.evaluate.answers import cut, is_right
from guideway.pipeline.stages.evaluate.nearest import Nearest
from guideway.pipeline.stages.evaluate.ngram import NGrams
from guideway.pipeline.stages.evaluate.report import Figure, Shown, SplitReport, write_report
from guideway.pipeline.stages.evaluate.splits import split_names
from guideway.pipeline.stages.examples import Example, Voice, rows_of
from guideway.pipeline.stages.intervals import bootstrap, wilson
from guideway.pipeline.stages.models import Compressed, Model, Trained, losses

BASELINE_TOKENS = 2_000_000
"""Tokens that the n-gram baseline learns from at the most: it keeps all its counts in memory."""
LARGEST = 700.0
"""The mean loss, in nats, above which a perplexity no longer fits into a float."""

Say = Callable[[float], None]


class Question(NamedTuple):
    """One held-out row: the whole example, and for a conversation the prompt alone, its text and the right answer."""

    example: Example
    prompt: list[int]
    asked: str
    wanted: str


def measure(job: Job) -> None:
    """Leave the figures of every split as evidence, and write the report."""
    bench, splits, reports = Bench(job), split_names(job.inputs["data"]), []
    for number, name in enumerate(splits):

        def say(done: float, number: int = number, name: str = name) -> None:
            job.progress(number + done, len(splits), name)

        reports.append(bench.split(name, say))
    for report in reports:
        leave(job, report)
    if not splits:
        job.fact("no split is held out, so nothing was measured")
    write_report(job.out, reports, job.params["ships"])


class Bench:
    """Both models, both baselines and the voice of the release, ready to be asked."""

    def __init__(self, job: Job) -> None:
        params, self._data = job.params, job.inputs["data"]
        template = (job.root / params["template"]).read_text(encoding="utf-8") if params["template"] else ""
        self._voice = Voice(job.inputs["train"], template=template, system=params["system"])
        trained = Trained(job.inputs["train"])
        self._models: dict[str, Model] = {"train": trained, "compress": Compressed(job.inputs["compress"])}
        self._context = trained.context
        self._examples, self._max_tokens, self._seed = params["examples"], params["max_tokens"], params["seed"]
        self._stop: Sequence[str] = params["stop"]
        self._ngrams, self._nearest = self._baselines(Voice(job.inputs["train"]))

    def split(self, name: str, say: Say) -> SplitReport:
        """Every figure of one split."""
        questions = self._questions(name)
        report = SplitReport(name, len(questions))
        counts = [question.example.predicted for question in questions]
        for number, (about, model) in enumerate(self._models.items()):
            sums = [float(losses(model, question.example).sum()) for question in questions]
            report.figures += _loss_figures(about, sums, counts, self._seed)
            broken = sum(not math.isfinite(one) for one in sums)
            spread = wilson(broken, len(sums))
            report.figures.append(Figure("non_finite_outputs", broken, "rows", about, len(sums), spread))
            say((2 * number + 1) / 4)
            if self._nearest:
                report.figures.append(self._exact_match(about, model, questions, report))
            say((2 * number + 2) / 4)
        return self._with_baselines(report, questions, counts)

    def _exact_match(self, about: str, model: Model, questions: Sequence[Question], report: SplitReport) -> Figure:
        """The share of right answers of one model; every answer goes into the report."""
        found = model.answers([question.prompt for question in questions], self._max_tokens, self._voice.stop_ids)
        right = 0
        for question, ids in zip(questions, found, strict=True):
            said = cut(self._voice.decode(ids), self._stop)
            right += is_right(said, question.wanted)
            report.shown.append(Shown(about, question.asked, said, question.wanted, is_right(said, question.wanted)))
        return Figure(
            "exact_match", right / len(questions), "share", about, len(questions), wilson(right, len(questions))
        )

    def _with_baselines(self, report: SplitReport, questions: Sequence[Question], counts: Sequence[int]) -> SplitReport:
        """The same figures of the two baselines, once about each model, because a gate compares within a subject."""
        sums = [self._ngrams.loss(question.example) for question in questions]
        perplexity, tokens = _perplexity(sum(sums) / sum(counts)), sum(counts)
        around = bootstrap(sums, counts, self._seed, _perplexity)
        for about in self._models:
            report.figures.append(Figure("baseline_perplexity", perplexity, "", about, tokens, around))
        if self._nearest:
            right = sum(is_right(self._nearest.answer(question.prompt), question.wanted) for question in questions)
            share, n = right / len(questions), len(questions)
            for about in self._models:
                report.figures.append(Figure("baseline_exact_match", share, "share", about, n, wilson(right, n)))
        return report

    def _questions(self, name: str) -> list[Question]:
        """A sample of the rows of a split: those with the smallest ids, which are digests and so as good as random."""
        rows = sorted(rows_of(self._data / f"{name}.jsonl"), key=lambda row: str(row["id"]))[: self._examples]
        return [self._question(row) for row in rows]

    def _question(self, row: dict[str, Any]) -> Question:
        example = self._voice.example(row).clipped(self._context)
        room = self._context - min(self._max_tokens, self._context // 2)
        messages = row.get("messages", [{"content": ""}])
        asked = messages[-2]["content"] if len(messages) > 1 else ""
        return Question(example, example.ids[: example.start][-room:], asked, messages[-1]["content"])

    def _baselines(self, voice: Voice) -> tuple[NGrams, Nearest | None]:
        """Both baselines, made from the training rows; without conversations there is nothing to be nearest to."""
        ngrams = NGrams(voice.vocabulary)
        prompts, answers, left = [], [], BASELINE_TOKENS
        for row in rows_of(self._data / "train.jsonl"):
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
    ships = {one.metric: one.value for one in report.figures if one.about == job.params["ships"]}
    if "exact_match" in ships:
        nearest = ships["baseline_exact_match"]
        job.fact(f"exact match {ships['exact_match']:.1%} on {report.split} (nearest neighbour {nearest:.1%})")
    else:
        grams = ships["baseline_perplexity"]
        job.fact(f"perplexity {ships['perplexity']:.1f} on {report.split} (3-grams {grams:.1f})")


def _loss_figures(about: str, sums: Sequence[float], counts: Sequence[int], seed: int) -> list[Figure]:
    """Loss and perplexity over all predicted tokens, with intervals over rows."""
    tokens, mean = sum(counts), sum(sums) / sum(counts)
    return [
        Figure("loss", mean, "nats/token", about, tokens, bootstrap(sums, counts, seed)),
        Figure("perplexity", _perplexity(mean), "", about, tokens, bootstrap(sums, counts, seed, _perplexity)),
    ]


def _perplexity(loss: float) -> float:
    return math.exp(min(loss, LARGEST))
