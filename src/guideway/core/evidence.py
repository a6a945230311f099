"""Evidence: one measured fact about one subject."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from guideway.core.artifact import Digest

OBSERVER = "guideway/observe"
"""The tool of what anybody can see of a release, and what is seen and signed only when it is admitted."""
SubjectKind = Literal["data", "artifact", "release", "environment", "code", "organisation"]


class Subject(msgspec.Struct, frozen=True):
    """What a fact is about. ``role`` tells artifacts of one build apart: trained, compressed."""

    kind: SubjectKind
    digest: Digest
    role: str = ""


class Interval(msgspec.Struct, frozen=True):
    """``low <= value <= high`` at ``level`` (0.95), found by ``method`` (wilson, bootstrap, normal)."""

    low: float
    high: float
    level: float
    method: str


class Producer(msgspec.Struct, frozen=True):
    """Which tool measured, in which version, in which run (the key of a step)."""

    tool: str
    version: str
    run: str = ""


class Evidence(msgspec.Struct, frozen=True, omit_defaults=True):
    """One measured fact. Times are seconds since 1970, UTC.

    Not ``repeatable`` is what somebody elsewhere said, who may say another thing the next time.
    """

    metric: str
    value: float
    unit: str
    subject: Subject
    n: int = 0
    interval: Interval | None = None
    slice: str = ""
    source: Subject | None = None
    inputs: tuple[Digest, ...] = ()
    produced_by: Producer | None = None
    automatic: bool = True
    at: float = 0.0
    valid_until: float | None = None
    repeatable: bool = True
    schema: str = "guideway.evidence.v1"


def read_evidence(plain: Mapping[str, Any]) -> Evidence:
    """The evidence in *plain* values of JSON, which has no way to write NaN or infinity but null: both are NaN then.

    So a figure that is no number is still here, to fail, and does not vanish behind those of other slices.

    Raises:
        msgspec.ValidationError: it is no evidence of this schema.
    """
    filled = _numbers(plain, "value")
    if isinstance(plain.get("interval"), dict):
        filled["interval"] = _numbers(plain["interval"], "low", "high", "level")
    return msgspec.convert(filled, Evidence)


def _numbers(plain: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {**plain, **{name: math.nan for name in names if name in plain and plain[name] is None}}
