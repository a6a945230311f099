"""One training for the search, in a process of its own, by the code of stage train. It keeps no model."""

from __future__ import annotations

import functools
import hashlib
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import torch

from guideway.core.evidence import Evidence, Interval
from guideway.core.protocols import Job
from guideway.core.spec import Train, Validation
from guideway.kit.files import write_atomic
from guideway.pipeline.stages.examples import Voice
from guideway.pipeline.stages.train.course import Examples, examples_of
from guideway.pipeline.stages.train.learn import fit
from guideway.pipeline.stages.train.loop import Learned
from guideway.pipeline.stages.tune.folds import folder_of
from guideway.pipeline.stages.tune.pool import Report
from guideway.pipeline.stages.tune.space import POINTS

Rows = list[tuple[float, int]]


class Asked(msgspec.Struct, frozen=True):
    """What to train, on the rows in ``data``, judged by its split ``judge``, and on each row of it if ``by_row``.

    ``params`` are those of stage train, ``root`` is the folder of the spec, and ``work`` one to write in. With
    ``folds``, ``data`` has one folder for each, and the training is done so often.
    """

    train: Train
    params: dict[str, Any]
    base: Path | None
    data: Path
    judge: str
    root: Path
    work: Path
    by_row: bool = False
    folds: int = 0


def trained(asked: Asked, report: Report) -> Rows:
    """Train; the loss on each judging row as a sum over what is predicted, in nats, and how much that is.

    That are tokens, or for a classifier one label. Where nobody asks for rows, it is one row: the mean of the last
    validation; with folds, one row for each.
    """
    if not asked.folds:
        return _once(asked, report, POINTS)
    points = POINTS if asked.train.patience else 1  # only patience looks at a fold before its end
    losses: Rows = []
    for number in range(asked.folds):
        losses += _once(_fold(asked, number), lambda point, loss: None, points)
        report(number + 1, sum(loss for loss, _ in losses) / len(losses))
    return losses


def _fold(asked: Asked, number: int) -> Asked:
    """The training without one fold. What is kept of its rows is no other fold's."""
    work = folder_of(asked.work, number)
    work.mkdir(exist_ok=True)
    return msgspec.structs.replace(asked, data=folder_of(asked.data, number), work=work, folds=0)


def _once(asked: Asked, report: Report, points: int) -> Rows:
    """Train once, and report so many validations."""
    train = msgspec.structs.replace(
        asked.train,
        validation=Validation(split=asked.judge, rows=1 << 30),
        validate_every=max(1, asked.train.steps // points),
        checkpoint_every=asked.train.steps,  # none: a trial that is killed begins again
    )
    with tempfile.TemporaryDirectory(dir=asked.work) as out:
        job, hear = _Quiet(asked, Path(out)), _Numbered(report).take
        fitted = (_classifier if asked.params.get("task") == "classify" else _language)(asked, job, train, hear)
        if asked.by_row:
            return fitted.rows()
    assert fitted.learned.validation
    return [(fitted.learned.validation.loss, 1)]


class _Fitted(NamedTuple):
    """How a training went, and a way to the loss on each judging row."""

    learned: Learned
    rows: Callable[[], Rows]


def _language(asked: Asked, job: Job, train: Train, hear: Callable[[Any], None]) -> _Fitted:
    from guideway.pipeline.stages.train.language import row_losses

    fitted = fit(job, train, asked.base, hear, functools.partial(kept_examples, asked.work))

    def rows() -> Rows:
        found = row_losses(fitted.model.eval(), fitted.held, train.batch, train.precision)
        return list(zip(found.sums, found.tokens, strict=True))

    return _Fitted(fitted.learned, rows)


def _classifier(asked: Asked, job: Job, train: Train, hear: Callable[[Any], None]) -> _Fitted:
    from guideway.pipeline.stages.classify.learn import fit, row_losses

    assert asked.base, "the spec is checked: a classifier has a base"
    fitted = fit(job, train, asked.base, hear)

    def rows() -> Rows:
        with torch.no_grad():
            return [(loss, 1) for loss in row_losses(fitted.model.eval(), fitted.held, train).tolist()]

    return _Fitted(fitted.learned, rows)


def kept_examples(folder: Path, job: Job, voice: Voice, rows: Iterable[dict[str, Any]], context: int) -> Examples:
    """The examples of *rows*, kept in *folder*: every trial with this tokenizer and context learns the same ones."""
    files = [path for path in sorted(job.out.iterdir()) if path.is_file()]
    tokenizer = hashlib.sha256(b"".join(path.name.encode() + path.read_bytes() for path in files))
    path = folder / f"{tokenizer.hexdigest()}-{context}.msgpack"
    if path.exists():
        return msgspec.msgpack.decode(path.read_bytes(), type=Examples)
    found = examples_of(job, voice, rows, context)
    write_atomic(path, msgspec.msgpack.encode(found), durable=False)
    return found


class _Numbered:
    """Passes on the loss of each validation, with its number."""

    def __init__(self, report: Report) -> None:
        self._report, self._point = report, 0

    def take(self, found: Any) -> None:
        self._point += 1
        self._report(self._point, found.loss)


class _Quiet:
    """The ``Job`` of a training whose facts nobody keeps: the search has its own."""

    def __init__(self, asked: Asked, out: Path) -> None:
        self.params: Mapping[str, Any] = asked.params
        self.inputs: Mapping[str, Path] = {"data": asked.data}
        self.root, self.out, self.resume = asked.root, out, out / "resume"
        self.recalled: Sequence[Evidence] = ()
        self.runner: Mapping[str, Any] = {}

    def progress(self, done: float, total: float, note: str = "") -> None:
        pass

    def measure(
        self,
        metric: str,
        value: float,
        unit: str,
        *,
        about: str,
        n: int = 0,
        interval: Interval | None = None,
        slice: str = "",
        source: str | None = None,
        repeatable: bool = True,
    ) -> None:
        pass

    def fact(self, text: str) -> None:
        pass
