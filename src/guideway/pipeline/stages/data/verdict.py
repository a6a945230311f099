"""After the pass: what makes a data set unusable, the manifest that describes it, and the evidence about it."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import msgspec

from guideway.core.errors import GuidewayError, SpecError, did_you_mean
from guideway.core.protocols import Job
from guideway.pipeline.stages.data.labels import about_labels, check_labels, report_labels
from guideway.pipeline.stages.data.pairs import about_pairs, check_pairs, report_pairs
from guideway.pipeline.stages.data.sort import Tally
from guideway.pipeline.stages.data.split import TRAIN

SPDX = re.compile(r"\(*[A-Za-z0-9.+-]+\)*(?: (?:AND|OR|WITH) \(*[A-Za-z0-9.+-]+\)*)*")
"""The shape of an SPDX licence expression: identifiers joined by AND, OR and WITH."""


def check(tally: Tally) -> None:
    """Refuse a data set that is not what the spec asks for.

    Raises:
        SpecError: a split goes by a field or a value that no row has.
        GuidewayError: too many broken rows, a file without rows, a split without rows, nothing to train on.
    """
    for found in tally.files:
        if not tally.per_file[found.shown]:
            raise GuidewayError("there are no rows in this file", where=found.shown)
    if tally.counts["rejected"] > tally.data.max_bad_rows * tally.counts["read"]:
        raise _too_many_bad(tally)
    if not tally.counts["kept"]:
        raise GuidewayError("every row is empty", where=tally.files[0].shown, try_this="mend the names of the fields")
    for name in tally.data.splits:
        _check_split(name, tally)
    if not tally.rows[TRAIN] and not (tally.imported and tally.task == "classify"):
        raise GuidewayError("nothing is left to train on", where="data.splits", try_this="hold out less")
    if tally.task == "classify":
        check_labels(tally)
    if tally.task == "embed":
        check_pairs(tally)


def report(job: Job, tally: Tally) -> None:
    """Write ``manifest.json`` to ``job.out``, and leave the evidence."""
    text = json.dumps(manifest(tally, job.out), indent=1, sort_keys=True, ensure_ascii=False)
    (job.out / "manifest.json").write_text(text + "\n", encoding="utf-8")
    counts, rows = tally.counts, tally.rows
    for name in (TRAIN, *tally.data.splits):
        job.measure("rows", rows[name], "rows", about="out", n=rows[name], slice=name)
    for name in tally.data.splits if not tally.imported else ():
        job.measure("exact_overlap", tally.overlap(name), "rows", about="out", n=rows[name], slice=name)
    for metric, count in (("rejected_rows", "rejected"), ("duplicate_rows", "duplicates")):
        job.measure(metric, counts[count] / counts["read"], "share", about="out", n=counts["read"])
    if tally.imported:
        job.fact("what the model was trained on is not known: clauses about it stay UNKNOWN")
    else:
        _describe(job, tally)
    if tally.task == "classify":
        report_labels(job, tally)
    if tally.task == "embed":
        report_pairs(job, tally)
    job.fact(", ".join(f"{rows[name]:,} {name}" for name in (TRAIN, *tally.data.splits)))
    dropped = [f"{counts[kind]:,} {kind}" for kind in ("duplicates", "empty", "rejected") if counts[kind]]
    if dropped:
        job.fact("left out: " + ", ".join(dropped))


def _describe(job: Job, tally: Tally) -> None:
    """What is said of the sources: origin, an SPDX licence, and how much of the datasheet is filled in."""
    sources = tally.data.sources
    filled = [
        bool(str(value).strip())
        for source in sources
        for value in (source.licence, source.origin, *msgspec.to_builtins(source.datasheet).values())
    ]
    unnamed = sum(not source.origin.strip() for source in sources)
    unlicensed = sum(not SPDX.fullmatch(source.licence) for source in sources)
    job.measure("sources_without_origin", unnamed, "sources", about="out", n=len(sources))
    job.measure("sources_without_licence", unlicensed, "sources", about="out", n=len(sources))
    job.measure("datasheet_completeness", sum(filled) / len(filled), "share", about="out", n=len(filled))


def manifest(tally: Tally, out: Path) -> dict[str, Any]:
    """What a reader must know of the data set, in the manner of a datasheet; the same bytes for the same data."""
    return {
        "schema": "guideway.data-manifest.v1",
        "task": tally.task,
        "sources": [
            {
                "path": found.shown,
                "digest": _digest(found.path),
                "bytes": found.path.stat().st_size,
                "rows": tally.per_file[found.shown],
                "format": found.format,
                "licence": found.source.licence,
                "origin": found.source.origin,
                "datasheet": msgspec.to_builtins(found.source.datasheet),
            }
            for found in tally.files
        ],
        "rows": dict(tally.counts),
        "splits": {name: _about_split(name, tally, out) for name in (TRAIN, *tally.data.splits)},
        "cleaning": {
            "unicode": "NFC",
            "control_characters": "removed",
            "trailing_space": "removed",
            "duplicates": "removed" if tally.data.deduplicate else "kept",
        },
        "seed": tally.data.seed,
        "fields": sorted(tally.fields),
        **({"trained_on": "unknown: the model is imported, and these rows only judge it"} if tally.imported else {}),
        **(about_labels(tally) if tally.task == "classify" else {}),
        **(about_pairs(tally) if tally.task == "embed" else {}),
    }


def _about_split(name: str, tally: Tally, out: Path) -> dict[str, Any]:
    about = {
        "rows": tally.rows[name],
        "characters": tally.characters[name],
        "digest": _digest(out / f"{name}.jsonl"),
    }
    if name == TRAIN:
        return about
    rule = msgspec.to_builtins(tally.data.splits[name])
    return about | {"groups": len(tally.groups[name]), "exact_overlap": tally.overlap(name), "rule": rule}


def _check_split(name: str, tally: Tally) -> None:
    split, where = tally.data.splits[name], f"data.splits.{name}"
    for field in sorted({*split.by} - tally.fields):
        raise SpecError(
            f"no row has the field '{field}' that the split '{name}' goes by",
            where=f"{where}.by",
            try_this=did_you_mean(field, tally.fields),
        )
    for value in sorted({*split.values} - {group[0] for group in tally.groups[name]}):
        raise SpecError(
            f"the split '{name}' finds no row whose {split.by[0]} is '{value}'",
            where=f"{where}.values",
            try_this="rows that an earlier split took are gone; mend the value, or the order of the splits",
        )
    if not tally.rows[name]:
        raise GuidewayError(
            f"the split '{name}' came out empty", where=where, try_this="a larger share, or more groups in the data"
        )


def _too_many_bad(tally: Tally) -> GuidewayError:
    rejected = tally.counts["rejected"]
    named = "; ".join(f"{one.file}:{one.line}: {one.why}" for one in tally.bad)
    more = f"; and {rejected - len(tally.bad):,} more" if rejected > len(tally.bad) else ""
    allowed = f"data.max_bad_rows allows {tally.data.max_bad_rows:.2%}"
    return GuidewayError(
        f"{rejected:,} of {tally.counts['read']:,} rows cannot be used and {allowed}: {named}{more}",
        where=f"{tally.bad[0].file}:{tally.bad[0].line}",
        try_this="mend the rows, or the names of the fields in data",
    )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
