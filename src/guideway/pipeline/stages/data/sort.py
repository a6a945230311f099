"""Sort rows into files, in one pass, written as they are read."""

from __future__ import annotations

import contextlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec

from guideway.core.errors import GuidewayError
from guideway.core.protocols import Job
from guideway.core.spec import Data, Source
from guideway.pipeline.stages.data.clean import Empty, Row, Unusable, clean_row, fingerprint, same
from guideway.pipeline.stages.data.read import Bad, Format, Raw, read
from guideway.pipeline.stages.data.split import TRAIN, Group, assign
from guideway.pipeline.stages.data.strata import Labelled, chosen, is_stratified

NAMED = 3
"""How many broken rows an error names."""
SAY_EVERY = 2000
"""Rows between two words of progress."""
KEPT_TEXT = 2000
"""Characters of a broken row that are kept with the reason."""


class Found(NamedTuple):
    """One source file: where it is, how it is named in what is written, and its source in the spec, by number too."""

    path: Path
    shown: str
    format: Format
    source: Source
    number: int


def sort_rows(job: Job, data: Data, task: str, files: list[Found], *, imported: bool = False) -> Tally:
    """Read *files* and write every row to the file it belongs to: ``train``, a split, or ``rejected``.

    *imported*: nothing is trained on these rows.

    Raises:
        GuidewayError: a file is empty.
    """
    tally = Tally(data, task, files, imported=imported)
    tally.chosen = _strata(job, data, task, files)
    with contextlib.ExitStack() as stack:
        names = (TRAIN, *data.splits, "rejected")
        outs = {name: stack.enter_context((job.out / f"{name}.jsonl").open("wb")) for name in names}
        for number, found in enumerate(files):

            def say(rows: int, number: int = number, found: Found = found) -> None:
                job.progress(number, len(files), f"{found.shown}: {rows:,} rows")

            _sort_file(found, tally, outs, say)
        job.progress(len(files), len(files))
    return tally


class Tally:
    """What one pass has seen. Sixteen bytes per row and prompt stay in memory, never the text."""

    def __init__(self, data: Data, task: str, files: list[Found], *, imported: bool = False) -> None:
        self.data, self.task, self.files, self.imported = data, task, files, imported
        self.counts: Counter[str] = Counter(read=0, kept=0, duplicates=0, empty=0, rejected=0)
        self.rows: Counter[str] = Counter()
        self.characters: Counter[str] = Counter()
        self.per_file: Counter[str] = Counter()
        self.bad: list[Bad] = []
        self.fields: set[str] = set()
        self.groups: dict[str, set[Group]] = {name: set() for name in data.splits}
        self.chosen: Mapping[str, Collection[str]] = {}
        self.labels: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.conflicts = 0
        self._label_of: dict[bytes, str] = {}
        self._contents: set[bytes] = set()
        self._prompts: dict[str, set[bytes]] = {name: set() for name in (TRAIN, *data.splits)}

    def is_new(self, row: Row) -> bool:
        """Whether this content was not seen before."""
        content = fingerprint("\0".join(" ".join(part.split()) for part in (row.prompt, row.response)))
        fresh = content not in self._contents
        self._contents.add(content)
        return fresh

    def place(self, row: Row, fields: Mapping[str, Any]) -> str:
        """The name of the file for *row*, which was read from *fields*; counted."""
        prompt = fingerprint(same(row.prompt))
        name, group = assign(self.data.splits, fields, prompt.hex(), self.data.seed, self.chosen)
        if group is not None:
            self.groups[name].add(group)
        self._prompts[name].add(prompt)
        self.rows[name] += 1
        self.characters[name] += len(row.prompt) + len(row.response)
        if row.label:
            self.labels[row.label][name] += 1
            self.conflicts += self._label_of.setdefault(prompt, row.label) != row.label
        return name

    @property
    def classes(self) -> list[str]:
        """The labels to learn, in order; all that there are, where the model is imported."""
        outside = "" if self.data.learn_out_of_scope else self.data.out_of_scope
        there = (label for label, rows in self.labels.items() if rows[TRAIN] or self.imported)
        return sorted(label for label in there if label != outside)

    def overlap(self, name: str) -> int:
        """Prompts of the split *name* that stand in the training rows too, whatever their case and white space."""
        return len(self._prompts[name] & self._prompts[TRAIN])


def _strata(job: Job, data: Data, task: str, files: list[Found]) -> Mapping[str, Collection[str]]:
    """A first pass over labelled rows, for splits that take a share of every label."""
    if task != "classify" or not any(is_stratified(split) for split in data.splits.values()):
        return {}
    job.progress(0, len(files), "counting labels")
    return chosen(data.splits, _labelled(data, task, files), data.seed)


def _labelled(data: Data, task: str, files: list[Found]) -> Iterator[Labelled]:
    for found in files:
        for one in read(found.path, found.shown, found.format):
            if isinstance(one, Raw):
                with contextlib.suppress(Unusable, Empty, RecursionError):
                    row = clean_row(one.fields, data, task)
                    yield Labelled(fingerprint(same(row.prompt)).hex(), row.label, one.fields)


def _sort_file(found: Found, tally: Tally, outs: Mapping[str, IO[bytes]], say: Callable[[int], None]) -> None:
    if not found.path.stat().st_size:
        raise GuidewayError("the file is empty", where=found.shown, try_this="remove it from data.sources")
    for number, one in enumerate(read(found.path, found.shown, found.format)):
        if number % SAY_EVERY == 0:
            say(number)
        tally.counts["read"] += 1
        tally.per_file[found.shown] += 1
        bad = one if isinstance(one, Bad) else _sort_row(one, found.number, tally, outs)
        if bad:
            tally.counts["rejected"] += 1
            tally.bad += [bad] if len(tally.bad) < NAMED else []
            _write(outs["rejected"], {**bad._asdict(), "text": _writable(bad.text)[:KEPT_TEXT]})


def _sort_row(raw: Raw, source: int, tally: Tally, outs: Mapping[str, IO[bytes]]) -> Bad | None:
    """Write one row where it belongs, unless it is empty or known; what comes back is why it cannot be used."""
    row = cleaned(raw, tally.data, tally.task)
    if isinstance(row, Bad):
        return row
    if row is None:
        tally.counts["empty"] += 1
        return None
    tally.fields.update(raw.fields)
    if not tally.is_new(row) and tally.data.deduplicate:
        tally.counts["duplicates"] += 1
        return None
    tally.counts["kept"] += 1
    line = {"id": row.id, **row.content(), "source": source, "fields": row.fields}
    _write(outs[tally.place(row, raw.fields)], line)
    return None


def cleaned(raw: Raw, data: Data, task: str) -> Row | Bad | None:
    """The row as it is used, or why it cannot be; None: it is empty."""
    try:
        return clean_row(raw.fields, data, task)
    except Unusable as error:
        return Bad(raw.file, raw.line, str(error), json.dumps(raw.fields, ensure_ascii=False))
    except RecursionError:
        return Bad(raw.file, raw.line, "lists in lists, too deep to read", "")
    except Empty:
        return None


def _write(file: IO[bytes], line: Mapping[str, Any]) -> None:
    file.write(msgspec.json.encode(line, order="sorted") + b"\n")


def _writable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
