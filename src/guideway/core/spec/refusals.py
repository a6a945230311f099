"""The key ``evaluate.refusals``: prompts that must be refused, and prompts that must not."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from guideway.core.spec.part import Part, Positive


class Prompts(Part, frozen=True):
    """A file of prompts, CSV or JSON lines: the field that holds them, and which values of other fields are meant."""

    path: Annotated[str, Meta(min_length=1)]
    prompt: Annotated[str, Meta(min_length=1)] = "prompt"
    where: dict[str, str] = msgspec.field(default_factory=dict)


Files = Annotated[tuple[Prompts, ...], Meta(min_length=1)]


class Refusals(Part, frozen=True):
    """What the release is asked to see whether it refuses; at most so many ``examples`` of each kind.

    ``phrases`` are further words by which an answer is known as a refusal. ``labelled`` are files of JSON lines
    ``{"answer": ..., "refused": true | false}``, judged by people: how often the recogniser errs on them is measured.
    """

    should_refuse: Files
    should_answer: Files
    examples: Positive = 1000
    max_tokens: Positive = 48
    phrases: tuple[Annotated[str, Meta(min_length=4)], ...] = ()
    labelled: tuple[str, ...] = ()
