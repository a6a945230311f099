"""Which rows are learned, and which are held out to watch the training by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from guideway.core.errors import GuidewayError
from guideway.core.spec import Train
from guideway.pipeline.stages.data.clean import fingerprint, same
from guideway.pipeline.stages.examples import rows_of

Row = Mapping[str, Any]


class Rows:
    """The rows in *folder*, which stage data wrote. ``held`` are for validation: no training row has their prompt."""

    def __init__(self, folder: Path, train: Train) -> None:
        asked = train.validation
        self._file, self._seed = folder / "train.jsonl", train.seed
        if asked.split:
            named = list(rows_of(folder / f"{asked.split}.jsonl"))
            chosen = self._drawn(named, asked.rows)
            self.held = [row for row in named if draw_of(row, self._seed) in chosen]
            self._left_out: set[bytes] = set()
        else:
            count = sum(1 for _ in rows_of(self._file))
            self._left_out = self._drawn(rows_of(self._file), min(asked.rows, round(asked.share * count)))
            self.held = [row for row in rows_of(self._file) if draw_of(row, self._seed) in self._left_out]

    def everything(self) -> Iterator[dict[str, Any]]:
        """All training rows, with those that are held out."""
        return rows_of(self._file)

    def learned(self) -> Iterator[dict[str, Any]]:
        """The rows that training sees, read anew each time.

        Raises:
            GuidewayError: validation took them all.
        """
        none = True
        for row in rows_of(self._file):
            if not self._left_out or draw_of(row, self._seed) not in self._left_out:
                none = False
                yield row
        if none:
            raise GuidewayError(
                "nothing is left to train on", where="train.validation", try_this="a smaller share, or more rows"
            )

    def _drawn(self, rows: Iterable[Row], count: int) -> set[bytes]:
        """The lowest draws that *count* rows have."""
        return set(sorted(draw_of(row, self._seed) for row in rows)[:count])


def draw_of(row: Row, seed: int) -> bytes:
    """A number for the prompt of *row*, drawn by *seed*: neither the order nor the number of rows matters."""
    given = row["text"] if "text" in row else "\n".join(one["content"] for one in row["messages"][:-1])
    return fingerprint(f"{seed} {same(given)}")
