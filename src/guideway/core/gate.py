"""A gate maps evidence to a verdict: PASS, FAIL or UNKNOWN. Missing evidence is UNKNOWN."""

from __future__ import annotations

import enum

import msgspec

from guideway.core.artifact import Digest


class Verdict(enum.StrEnum):
    """Three-valued: what is not known is not good news."""

    PASS = "PASS"
    FAIL = "FAIL"
    UNKNOWN = "UNKNOWN"


class Judgement(msgspec.Struct, frozen=True):
    """One clause judged: the figure found, the limit asked for, the proof, and what to do next."""

    clause: str
    asks: str
    verdict: Verdict
    figure: str
    limit: str
    blocking: bool = True
    evidence: Digest | None = None
    try_this: str = ""
