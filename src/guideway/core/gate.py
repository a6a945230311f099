"""A gate maps evidence to a verdict: PASS, FAIL or UNKNOWN. Missing evidence is UNKNOWN."""

from __future__ import annotations

import enum
from typing import Literal

import msgspec

from guideway.core.artifact import Digest

Bite = Literal["inform", "warn", "block"]
"""How hard a clause bites in one environment."""
Level = Literal["dev", "staging", "prod"]
"""Which column of the Standard an environment is judged by."""
When = Literal["seal", "admit", "serve"]
"""Which step asks first."""


class Verdict(enum.StrEnum):
    """Three-valued: what is not known is not good news."""

    PASS = "PASS"
    FAIL = "FAIL"
    UNKNOWN = "UNKNOWN"


class Judgement(msgspec.Struct, frozen=True):
    """One clause judged: the figure found, the limit asked for, the proof, and what to do next.

    ``blocking``: would stop the step that asked, unless the verdict is PASS. A waived clause does not block;
    ``waived`` says by whom, why and until when. ``automatic`` is False when people, not a tool, gave the proof.
    """

    clause: str
    asks: str
    verdict: Verdict
    figure: str
    limit: str
    blocking: bool = True
    evidence: Digest | None = None
    try_this: str = ""
    asks_zh: str = ""
    try_this_zh: str = ""
    bite: Bite = "block"
    when: When = "seal"
    waived: str = ""
    automatic: bool = True

    @property
    def stops(self) -> bool:
        """Does this judgement stop the step?"""
        return self.blocking and self.verdict is not Verdict.PASS
