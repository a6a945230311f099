"""Evaluate embeddings: held-out questions look for their passages among all of them, in every model and by words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from guideway.core.protocols import Job
from guideway.pipeline.stages.choose import settings as chosen
from guideway.pipeline.stages.classify.model import load_encoder
from guideway.pipeline.stages.classify.scores import Score, share
from guideway.pipeline.stages.embed import scores
from guideway.pipeline.stages.embed.map import Placed, page
from guideway.pipeline.stages.embed.model import SentenceEncoder, embed, load_embedder
from guideway.pipeline.stages.embed.report import Missed, SplitReport, write_report
from guideway.pipeline.stages.embed.rows import Query, corpus_of, encoded, queries_of, text_of
from guideway.pipeline.stages.embed.scores import Each
from guideway.pipeline.stages.embed.shipped import Shipped
from guideway.pipeline.stages.embed.words import Words
from guideway.pipeline.stages.evaluate.splits import split_names
from guideway.pipeline.stages.examples import rows_of
from guideway.pipeline.stages.train.places import is_folder
from guideway.replica.embedder import Embeddings

MISSED = 20
"""Questions in the report whose passages are found last."""
MAPPED = 300
"""Texts on the map at the most."""

See = Callable[[Sequence[Sequence[int]]], Embeddings]


def measure(job: Job) -> None:
    """Leave the figures of every split as evidence, and write the report with its map."""
    names = split_names(job.inputs["data"])
    bench, reports = _Bench(job), []
    for name in names:
        report = bench.split(name)
        if report:
            reports.append(report)
            _leave(job, report)
    if not reports:
        job.fact("no question is held out, so nothing was measured")
    write_report(job.out, reports, bench.corpus)
    (job.out / "report.html").write_text(page(bench.placed(), job.params["seed"]), encoding="utf-8")


class _Bench:
    """The models by their names, each with where it sees the passages; and the baseline."""

    def __init__(self, job: Job) -> None:
        self._data, self._examples, self._seed = job.inputs["data"], job.params["examples"], job.params["seed"]
        self.corpus = corpus_of(self._data)
        if self.corpus.all > len(self.corpus.passages):
            job.fact(f"searched {len(self.corpus.passages):,} of {self.corpus.all:,} passages")
        shipped = Shipped(job.inputs["compress"])
        self._reader = shipped.reader
        self._see: dict[str, See] = {"train": _by(load_embedder(job.inputs["train"])), "compress": shipped.embed}
        base = _base(job)
        if base:
            self._see["base"] = _by(base)
        given = encoded(self.corpus.passages, self._reader)
        self._passages: dict[str, Embeddings] = {}
        for number, (name, see) in enumerate(self._see.items()):
            job.progress(number, len(self._see) + 1, f"reading {len(given):,} passages")
            self._passages[name] = see(given)
        self._words = Words(self.corpus.passages)
        self._questions: list[tuple[str, str, Embeddings]] = []

    def split(self, name: str) -> SplitReport | None:
        """Every figure of one split; None: it has no question that could be answered."""
        queries = queries_of(self._data / f"{name}.jsonl", self.corpus, self._examples)
        if not queries:
            return None
        asked = encoded([one.text for one in queries], self._reader)
        seen = {about: see(asked) for about, see in self._see.items()}
        found = {about: rows @ self._passages[about].T for about, rows in seen.items()}
        figures = {about: scores.each(rows, queries) for about, rows in found.items()}
        words = scores.each(self._words.scores([one.text for one in queries]), queries)
        report = SplitReport(name, len(queries))
        for about in ("train", "compress"):
            report.figures[about] = [*self._figures(about, figures, words), _broken(seen[about])]
        report.missed = self._missed(found["compress"], queries)
        self._questions += [(name, one.text, row) for one, row in zip(queries, seen["compress"], strict=True)]
        return report

    def _figures(self, about: str, figures: dict[str, Each], words: Each) -> list[Score]:
        own, seed = figures[about], self._seed
        rows = [*scores.means(own, seed), *scores.means(words, seed, "baseline_")]
        rows.append(scores.gain("ndcg_over_baseline", own, words, seed))
        if "base" in figures:
            rows += [
                *scores.means(figures["base"], seed, "base_"),
                scores.gain("ndcg_over_base", own, figures["base"], seed),
            ]
        if about == "compress":
            rows.append(scores.gain("ndcg_over_source", own, figures["train"], seed))
        return rows

    def _missed(self, found: Embeddings, queries: Sequence[Query]) -> list[Missed]:
        """The questions whose passages stand lowest, and what was found instead."""
        best = found.argmax(axis=1)
        rows = [
            Missed(one.text, self.corpus.passages[int(first)], self.corpus.passages[min(one.right)], rank)
            for one, first, rank in zip(queries, best, scores.ranks(found, queries), strict=True)
            if rank > 1
        ]
        return sorted(rows, key=lambda one: (-one.rank, one.question))[:MISSED]

    def placed(self) -> Placed:
        """Where the model that ships sees a sample of questions and passages: by label, or by kind and split."""
        labelled = _labels(self._data)
        most = MAPPED // 2
        passages = zip(self.corpus.passages[:most], self.corpus.splits, self._passages["compress"], strict=False)
        rows = [(text, f"passage, {split}", row) for text, split, row in passages]
        rows += [(text, f"question, {split}", row) for split, text, row in self._questions[:most]]
        groups = [labelled.get(text, kind) for text, kind, _ in rows]
        return Placed(np.stack([row for *_, row in rows]), groups, by_label=bool(labelled))


def _labels(data: Path) -> dict[str, str]:
    """The label of every text, if there are labels."""
    files = [data / f"{name}.jsonl" for name in (*split_names(data), "train")]
    return {text_of(row).question: row["label"] for path in files for row in rows_of(path) if "label" in row}


def _by(model: SentenceEncoder) -> See:
    return lambda texts: embed(model, texts)


def _base(job: Job) -> SentenceEncoder | None:
    """The encoder that training began from; None: nothing was trained, or it lies in no folder."""
    train = chosen(job, job.params["train"])
    if not train.steps:
        return None
    if not is_folder(str(train.base)):
        job.fact("the base is no folder, so the model was not compared with it")
        return None
    return SentenceEncoder(load_encoder(job.root / str(train.base)), train.contrast.pooling).eval()


def _broken(seen: Embeddings) -> Score:
    broken = int((~np.isfinite(seen).all(axis=1)).sum())
    return share("non_finite_outputs", broken, len(seen))._replace(value=float(broken), unit="rows")


def _leave(job: Job, report: SplitReport) -> None:
    """Leave every figure as evidence, and what people want as facts."""
    for about, figures in report.figures.items():
        for one in figures:
            job.measure(
                one.metric, one.value, one.unit, about=about, n=one.n, interval=one.interval, slice=report.split
            )
    ships = {one.metric: one.value for one in report.figures["compress"]}
    base = f", the base {ships['base_ndcg_at_10']:.3f}" if "base_ndcg_at_10" in ships else ""
    job.fact(
        f"nDCG@10 {ships['ndcg_at_10']:.3f}, first passage right {ships['recall_at_1']:.1%} on {report.split} "
        f"(BM25 {ships['baseline_ndcg_at_10']:.3f}{base})"
    )
