"""The key ``rollout.golden``: prompts with known answers that both arms are asked while a canary runs."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from guideway.core.spec.part import Part, Share

Score = Literal["exact", "contains", "f1"]


class Golden(Part, frozen=True):
    """A file of JSON lines, how answers are scored, how many prompts a minute, and the loss of score that is no fault.

    ``max_tokens`` 0 is the release's own; ``timeout`` is how many seconds an arm has for an answer.
    """

    file: Annotated[str, Meta(min_length=1)]
    score: Score = "f1"
    per_minute: Annotated[float, Meta(gt=0.0, le=600.0)] = 30.0
    tolerated: Share = 0.02
    max_tokens: Annotated[int, Meta(ge=0, le=131_072)] = 0
    timeout: Annotated[float, Meta(ge=1.0, le=600.0)] = 60.0
