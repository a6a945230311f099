"""What every test of the readers needs: the clauses by id, one figure, one refusal."""

from __future__ import annotations

import json
from typing import Any

import pytest

from guideway.core.errors import SpecError
from guideway.standard import default_clauses
from guideway.standard.imports import Imported, detect, read

CLAUSES = {clause.id: clause for clause in default_clauses()}
NAME = "report.txt"


def figure(data: bytes | str, clause: str, metric: str | None = None) -> Imported:
    """The one figure that a report gives for *clause*; with *metric*, the one of several."""
    text = data.encode() if isinstance(data, str) else data
    facts = read(text, detect(text, NAME), CLAUSES[clause], name=NAME).facts
    chosen = [one for one in facts if metric in (None, one.metric)]
    assert len(chosen) == 1, facts
    return chosen[0]


def refused(data: bytes | str, clause: str | None = None) -> str:
    """The one line of the refusal of a report, wherever it comes: seen, or read."""
    text = data.encode() if isinstance(data, str) else data
    with pytest.raises(SpecError) as caught:
        read(text, detect(text, NAME), CLAUSES[clause] if clause else None, name=NAME)
    said = str(caught.value)
    assert said.startswith(NAME) and "\n" not in said and len(said) < 400
    return said


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()
