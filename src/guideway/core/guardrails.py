"""Guardrails as they lie inside a release, in ``guardrails.json``: what may be asked, and what may be answered."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Where = Literal["input", "output", "both"]
Roles = Literal["users", "all"]
Label = Annotated[str, Meta(min_length=1, max_length=80)]
Characters = Annotated[int, Meta(ge=0)]
Ordinary = Annotated[float, Meta(gt=0.5, lt=1.0)]
"""A share of ordinary prompts."""

RULES_FILE = "guardrails.json"
CLASSIFIER_FILE = "guardrails.safetensors"
OUTLIERS_FILE = "outliers.safetensors"
By = Literal["words", "meaning"]
REFUSAL = "this request is not answered here"


class DenyRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A pattern in RE2's syntax that no prompt, or no answer, may contain. Prompts are normalised before."""

    name: Label
    pattern: Annotated[str, Meta(min_length=1, max_length=4096)]
    on: Where = "both"


class Topic(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a prompt is about when it contains one of these words or phrases."""

    name: Label
    words: Annotated[tuple[Label, ...], Meta(min_length=1)]


class Topics(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Prompts about something in ``deny`` are refused; with ``only``, so are those about nothing in it."""

    deny: tuple[Topic, ...] = ()
    only: tuple[Topic, ...] = ()


class Outlier(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What becomes of a prompt that is more unusual than this share of ordinary ones; None: nothing does.

    ``flag``: it is answered, and answer, log and counters say so. ``refuse``: it is not answered. ``by``: words, which
    the gateway looks at; or meaning, of which a classifier tells with its answer.
    """

    flag: Ordinary | None = None
    refuse: Ordinary | None = None
    by: By = "words"

    @property
    def strictest(self) -> float:
        """The largest share that is asked for."""
        return max(share for share in (self.flag, self.refuse, 0.5) if share is not None)


class Guardrails(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The rules of one release.

    ``threshold``: refuse a prompt whose score reaches it; None: no classifier lies beside the rules. ``roles``: whose
    words it judges: those of users and instructions, or those of models and tools too. ``tools``: the
    only functions that the model may call; None: all. Limits are in characters, 0 is none. ``secret_prompt``: the
    system prompt is not told. ``neutralise``: what could run or load something is taken out of answers. ``outlier``
    None, or by meaning: no reference of ordinary prompts lies beside the rules.
    """

    deny: tuple[DenyRule, ...] = ()
    threshold: float | None = None
    roles: Roles = "users"
    tools: tuple[str, ...] | None = None
    max_input: Characters = 0
    max_output: Characters = 0
    topics: Topics = Topics()
    secret_prompt: bool = True
    neutralise: bool = True
    refusal: str = REFUSAL
    outlier: Outlier | None = None


def read_guardrails(data: bytes) -> Guardrails:
    """The rules in the text of a ``guardrails.json``.

    Raises:
        ValueError: it is not one. Nothing may be served then: a rule that cannot be read is no rule.
    """
    return msgspec.json.decode(data, type=Guardrails)
