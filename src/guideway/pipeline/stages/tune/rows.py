"""Which training rows judge: some the trials, others the gain. No judged split is ever read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from guideway.core.errors import GuidewayError
from guideway.core.spec import Train, Tune, Validation
from guideway.pipeline.stages.examples import rows_of
from guideway.pipeline.stages.train.rows import Rows
from guideway.pipeline.stages.tune.folds import dealt, folder_of
from guideway.pipeline.stages.tune.space import seed_of

JUDGING = "judging"
"""The split that judges trials."""
GAIN = "gain"
"""The split that the gain is measured on: the best trial was not chosen by it."""
MOST = 400
"""Rows in each of the two: a trial is judged ten times, and must not spend its time on that."""
MANIFEST = "manifest.json"
LEAST = 20
"""Rows without which nothing can be said."""


class Counts(NamedTuple):
    """Rows that are learned, that judge trials, and that the gain is measured on; with folds the first two are one."""

    learned: int
    judging: int
    gain: int


def hold_out(data: Path, folder: Path, tune: Tune) -> Counts:
    """Write to *folder* what stage data would have written, had both held-out parts been splits.

    With folds only the gain has a part of its own; the folds of all other rows are folders in *folder*. No row of
    one part has the prompt of a row in another.

    Raises:
        GuidewayError: there are too few training rows, or fewer prompts than folds.
    """
    count = sum(1 for _ in rows_of(data / "train.jsonl"))
    held = min(MOST, round(tune.validation * count))
    if count < LEAST or held < 1 or count - 2 * held < 1:
        raise GuidewayError(
            f"{count} training rows are too few to hold some out for tuning",
            where="tune.validation",
            try_this=f"at least {LEAST} rows, or another share",
        )
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(data / MANIFEST, folder / MANIFEST)
    rest, gain = _parted(data, seed_of(tune.seed, GAIN), held / count, folder, GAIN)
    if tune.folds:
        _fold(folder, tune)
        return Counts(rest, rest, gain)
    learned, judging = _parted(folder, seed_of(tune.seed, JUDGING), held / rest, folder, JUDGING)
    return Counts(learned, judging, gain)


def _parted(data: Path, seed: int, share: float, folder: Path, name: str) -> tuple[int, int]:
    """Part the rows of *data* into ``train.jsonl`` and *name* in *folder*; how many each has."""
    rows = Rows(data, Train(seed=seed, validation=Validation(share=share, rows=MOST)))
    learned = list(rows.learned())
    return _write(folder / "train.jsonl", learned), _write(folder / f"{name}.jsonl", rows.held)


def _fold(folder: Path, tune: Tune) -> None:
    """Write each fold of the rows in *folder*: what a training without it learns, and what judges that training."""
    rows = list(rows_of(folder / "train.jsonl"))
    places = dealt(rows, tune.folds, seed_of(tune.seed, JUDGING))
    for number in range(tune.folds):
        fold = folder_of(folder, number)
        fold.mkdir(exist_ok=True)
        shutil.copyfile(folder / MANIFEST, fold / MANIFEST)
        for name, inside in (("train", False), (JUDGING, True)):
            _write(
                fold / f"{name}.jsonl",
                (row for row, place in zip(rows, places, strict=True) if (place == number) == inside),
            )


def _write(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    path.write_text("".join(lines), encoding="utf-8")
    return len(lines)
