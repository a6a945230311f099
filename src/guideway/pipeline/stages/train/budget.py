"""How much privacy the rows of a data set have lost to all models that learned them: basic composition, by evidence."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from guideway.core.artifact import Digest
from guideway.core.errors import Refused
from guideway.core.evidence import Evidence
from guideway.core.spec import Privacy

EPSILON, DELTA = "epsilon", "delta"
"""Metrics of a private training; their slice is the digest of its rows."""


def digest_of_rows(rows: Iterable[Mapping[str, Any]]) -> Digest:
    """The digest of the content of *rows*, whatever their order."""
    hasher = hashlib.sha256()
    for name in sorted(row["id"] for row in rows):
        hasher.update(name.encode() + b"\n")
    return "sha256:" + hasher.hexdigest()


def spent(facts: Iterable[Evidence], rows: Digest, metric: str) -> list[float]:
    """What each earlier training of these *rows* spent."""
    return [one.value for one in facts if one.metric == metric and one.slice == rows]


def refuse_overspending(asked: Privacy, facts: Iterable[Evidence], rows: Digest) -> None:
    """Stop before any work when this training could lead beyond the budget of its rows.

    Raises:
        Refused: says what was spent, asked and allowed.
    """
    before = spent(facts, rows, EPSILON)
    budget = asked.budget or asked.epsilon
    if sum(before) + asked.epsilon > budget * (1 + 1e-9):
        times = f"{len(before)} training{'s' if len(before) != 1 else ''}"
        raise Refused(
            f"these rows have spent ε {sum(before):.3g} in {times}, and ε {asked.epsilon:.3g} more "
            f"would exceed their budget of {budget:.3g}",
            where="train.privacy",
            try_this="a larger budget, if those whom the rows are about accept it; other rows; or a smaller epsilon",
        )
