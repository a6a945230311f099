"""Guard: learn the small classifier of prompts, if the spec asks for one, and measure it in cross-validation."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta

from guideway.core.classifier import BITS, features, read_classifier, write_classifier
from guideway.core.errors import SpecError
from guideway.core.guardrails import CLASSIFIER_FILE
from guideway.core.protocols import Job
from guideway.core.spec import Spec
from guideway.core.spec.guardrails import Classifier
from guideway.core.text_forms import latin
from guideway.pipeline.stages.intervals import wilson

name = "guard"
needs: tuple[str, ...] = ()
libraries = ("numpy", "torch")
code = ("guideway.core.classifier", "guideway.core.text_forms")

FOLDS = 5
DECAY = 0.1
"""Of the squared weights, against a loss that is summed over the rows."""
STEPS = 150


class Row(msgspec.Struct, frozen=True):
    """One prompt to learn from. Rows of one ``group`` are not both learnt from and judged."""

    prompt: Annotated[str, Meta(min_length=1)]
    label: Literal["refuse", "allow"]
    weight: Annotated[float, Meta(gt=0.0, le=1000.0)] = 1.0
    group: str = ""
    slice: str = ""


def params(spec: Spec) -> Mapping[str, Any]:
    """What the classifier is asked to be."""
    return {"classifier": msgspec.to_builtins(spec.serve.guardrails.classifier)}


def sources(spec: Spec, root: Path) -> Sequence[Path]:
    """The files of prompts.

    Raises:
        SpecError: one is missing.
    """
    asked = spec.serve.guardrails.classifier
    paths = tuple(root / path for path in asked.data) if asked else ()
    for path in paths:
        if not path.is_file():
            advice = "mend serve.guardrails.classifier.data"
            raise SpecError(f"there is no file '{path.name}'", where=str(root), try_this=advice)
    return paths


def run(job: Job) -> None:
    """Write the classifier, and ``report.json``, which says what it does on rows that it did not learn from."""
    if job.params["classifier"] is None:
        (job.out / "report.json").write_bytes(b'{"classifier":null}\n')
        job.fact("no classifier")
        return
    asked = msgspec.convert(job.params["classifier"], Classifier)
    rows = _rows([job.root / path for path in asked.data])
    indices = [np.fromiter(sorted(features(row.prompt)), dtype=np.int64) for row in rows]
    scores = _held_out_scores(job, rows, indices, asked.seed)
    (job.out / CLASSIFIER_FILE).write_bytes(learnt(rows, indices))
    report = _report(job, rows, scores, asked.threshold)
    text = msgspec.json.format(msgspec.json.encode({"classifier": {"threshold": asked.threshold, "shares": report}}))
    (job.out / "report.json").write_bytes(text + b"\n")
    blocked, wrong = report["refuse"][""], report["allow"][""]
    job.fact(f"refuses {blocked:.1%} of what it should and {wrong:.1%} of what it should not, in cross-validation")


def learnt(rows: Sequence[Row], indices: Sequence[np.ndarray]) -> bytes:
    """The file of the classifier for *rows*, whose features are *indices*: the same bytes for the same rows."""
    import torch

    torch.set_num_threads(1)  # so that sums are made in one order
    columns, place = np.unique(np.concatenate(indices), return_inverse=True)
    sizes = [len(index) for index in indices]
    row = np.repeat(np.arange(len(rows)), sizes)
    value = np.repeat([1.0 / max(1.0, size) ** 0.5 for size in sizes], sizes)
    sign = np.array([1.0 if one.label == "refuse" else -1.0 for one in rows])
    weight = np.array([one.weight for one in rows])
    point = torch.zeros(len(columns) + 1, dtype=torch.float64, requires_grad=True)

    def loss() -> Any:
        at = point.detach().numpy()
        margin = sign * (np.bincount(row, value * at[place], len(rows)) + at[-1])
        pull = -sign * weight / (1.0 + np.exp(np.minimum(margin, 700.0)))
        slope = np.bincount(place, value * pull[row], len(columns)) + DECAY * at[:-1]
        point.grad = torch.from_numpy(np.append(slope, pull.sum()))
        return torch.tensor(float(weight @ np.logaddexp(0.0, -margin) + DECAY / 2 * at[:-1] @ at[:-1]))

    search = torch.optim.LBFGS([point], max_iter=STEPS, line_search_fn="strong_wolfe", tolerance_grad=1e-4)
    search.step(loss)  # type: ignore[no-untyped-call]
    found = point.detach().numpy()
    weights = np.zeros(1 << BITS)
    weights[columns] = found[:-1]
    return write_classifier(weights.tolist(), float(found[-1]))


def _held_out_scores(job: Job, rows: Sequence[Row], indices: Sequence[np.ndarray], seed: int) -> list[float]:
    """The score of every row by a classifier that learnt from none of its group."""
    groups = [row.group or latin(row.prompt) for row in rows]
    names = sorted(set(groups))
    random.Random(seed).shuffle(names)
    fold = {group: at % FOLDS for at, group in enumerate(names)}
    scores = [0.0] * len(rows)
    for number in range(FOLDS):
        job.progress(number, FOLDS, "folds")
        inside = [at for at, group in enumerate(groups) if fold[group] != number]
        judge = read_classifier(learnt([rows[at] for at in inside], [indices[at] for at in inside]))
        for at, group in enumerate(groups):
            if fold[group] == number:
                scores[at] = judge.score(rows[at].prompt)
    return scores


def _report(job: Job, rows: Sequence[Row], scores: Sequence[float], threshold: float) -> dict[str, dict[str, float]]:
    """Leave the shares as evidence, of all rows (the slice '') and of every slice."""
    shares: dict[str, dict[str, float]] = {"refuse": {}, "allow": {}}
    for label, metric in (("refuse", "guard_block_share"), ("allow", "guard_false_block_share")):
        mine = [(row.slice, score >= threshold) for row, score in zip(rows, scores, strict=True) if row.label == label]
        for slice in sorted({"", *(slice for slice, _ in mine)}):
            hits = [hit for where, hit in mine if slice in ("", where)]
            shares[label][slice] = sum(hits) / len(hits)
            interval = wilson(sum(hits), len(hits))
            job.measure(metric, shares[label][slice], "share", about="out", n=len(hits), interval=interval, slice=slice)
    return shares


def _rows(paths: Sequence[Path]) -> list[Row]:
    """The rows of all files.

    Raises:
        SpecError: a line is no row, or there is too little of one label.
    """
    rows = []
    for path in paths:
        for number, line in enumerate(path.read_bytes().splitlines(), 1):
            if not line.strip():
                continue
            try:
                rows.append(msgspec.json.decode(line, type=Row))
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                advice = 'a line is {"prompt": ..., "label": "refuse" or "allow"}'
                raise SpecError(f"not a row: {error}", where=f"{path.name}:{number}", try_this=advice) from None
    for label in ("refuse", "allow"):
        if len({row.group or row.prompt for row in rows if row.label == label}) < 2 * FOLDS:
            where = ", ".join(path.name for path in paths)
            raise SpecError(
                f"fewer than {2 * FOLDS} prompts to {label}", where=where, try_this="give it more to learn from"
            )
    return rows
