"""Tell what was judged, in one line each."""

from __future__ import annotations

from collections.abc import Sequence

from guideway.core.events import Note
from guideway.core.gate import Judgement, Verdict
from guideway.pipeline.process import Emit


def tell(judgements: Sequence[Judgement], emit: Emit) -> None:
    """One line per clause that was proven, failed or blocks; the others are only counted."""
    quiet = [one for one in judgements if one.verdict is Verdict.UNKNOWN and not one.stops and not one.waived]
    for one in judgements:
        if one not in quiet:
            emit(_told(one))
    if quiet:
        clauses = [one.clause for one in quiet]
        emit(
            Note(
                f"{len(quiet)} clauses have no proof yet and do not block here; `guideway assess` lists them",
                {"unproven": clauses},
            )
        )


def _told(one: Judgement) -> Note:
    """One line per clause: verdict, what it asks, the figure and the limit."""
    soft = one.verdict is not Verdict.PASS and not one.blocking
    bite = f" (waived {one.waived})" if one.waived else f" ({one.bite}s)" if soft else ""
    text = f"{one.clause:<7} {one.verdict} {one.asks}: {one.figure}, limit {one.limit}{bite}"
    return Note(text, {"clause": one.clause, "verdict": one.verdict, "evidence": one.evidence})
