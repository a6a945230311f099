"""The key ``serve.guardrails``: what the model is not asked, and what it does not say."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from guideway.core.errors import SpecError
from guideway.core.guardrails import REFUSAL, By, Characters, DenyRule, Label, Ordinary, Outlier, Roles, Topics
from guideway.core.guardrails import Guardrails as Rules
from guideway.core.spec.marked import Marked
from guideway.core.spec.part import Part


class Classifier(Part, frozen=True):
    """Learns from ``data``, JSON lines of ``prompt`` and ``label`` (refuse or allow), which prompts to refuse.

    ``roles`` all: words of models and tools that a request brings are judged too.
    """

    data: Annotated[tuple[str, ...], Meta(min_length=1)]
    threshold: Annotated[float, Meta(gt=0.0, lt=1.0)] = 0.5
    seed: int = 7
    roles: Roles = "users"


class Outliers(Part, frozen=True):
    """What becomes of a prompt that is more unusual than this share of ordinary ones; null: nothing does.

    What is ordinary is learnt from the prompts of the training rows, or of ``data``: JSON lines of ``prompt``. Rows of
    task completion have no prompts, so that it needs ``data``. ``by`` meaning is for classifiers, and words for others.
    """

    flag: Ordinary | None = None
    refuse: Ordinary | None = None
    by: By = "words"
    data: tuple[str, ...] = ()
    seed: int = 7

    @property
    def strictest(self) -> float:
        """The largest share that is asked for."""
        return Outlier(self.flag, self.refuse).strictest


class Guardrails(Part, frozen=True):
    """Rules for prompts and answers. Limits are in characters, 0 is none; ``tools`` null allows every function."""

    deny: tuple[DenyRule, ...] = ()
    classifier: Classifier | None = None
    tools: tuple[Label, ...] | None = None
    max_input: Characters = 0
    max_output: Characters = 0
    topics: Topics = Topics()
    secret_prompt: bool = True
    neutralise: bool = True
    refusal: Annotated[str, Meta(min_length=1, max_length=500)] = REFUSAL
    outlier: Outliers | None = None


def rules_of(asked: Guardrails) -> Rules:
    """What of *asked* goes into the release's ``guardrails.json``."""
    plain = msgspec.structs.asdict(asked)
    classifier, outlier = plain.pop("classifier"), plain.pop("outlier")
    if outlier is not None:
        plain["outlier"] = Outlier(outlier.flag, outlier.refuse, outlier.by)
    if classifier is None:
        return Rules(**plain)
    return Rules(**plain, threshold=classifier.threshold, roles=classifier.roles)


def check_guardrails(asked: Guardrails, marked: Marked) -> None:
    """Refuse what could not work, when the spec is loaded.

    Raises:
        SpecError: a pattern that RE2 does not take or that matches nothing at all, a name that stands twice, or
            outliers for which nothing is to be done.
    """
    at = ("serve", "guardrails")
    _check_outlier(asked.outlier, marked.where((*at, "outlier")))
    for index, rule in enumerate(asked.deny):
        problem = _problem(rule.pattern)
        if problem:
            where = marked.where((*at, "deny", index, "pattern"))
            advice = "patterns are RE2's: no look-around, no back-references"
            raise SpecError(f"rule '{rule.name}': {problem}", where=where, try_this=advice)
    for keys, names in (
        (("deny",), [rule.name for rule in asked.deny]),
        (("topics", "deny"), [topic.name for topic in asked.topics.deny]),
        (("topics", "only"), [topic.name for topic in asked.topics.only]),
    ):
        twice = next((index for index, name in enumerate(names) if name in names[:index]), None)
        if twice is not None:
            where = marked.where((*at, *keys, twice, "name"))
            raise SpecError(f"'{names[twice]}' is here twice", where=where, try_this="give each its own name")


def _check_outlier(asked: Outliers | None, where: str) -> None:
    if asked is None:
        return
    if asked.flag is None and asked.refuse is None:
        advice = "write flag: 0.999, refuse: 0.9999 or both; or leave it out"
        raise SpecError("nothing is to become of outliers", where=where, try_this=advice)
    if asked.flag is not None and asked.refuse is not None and asked.refuse < asked.flag:
        advice = "refuse is for what is rarer still: a larger share than flag"
        raise SpecError("what is refused cannot be flagged: refuse is below flag", where=where, try_this=advice)


def _problem(pattern: str) -> str | None:
    import re2

    options = re2.Options()
    options.log_errors = False
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as error:
        said = error.args[0] if error.args else ""
        return said.decode(errors="replace") if isinstance(said, bytes) else str(said)
    return "it matches the empty text, and so every request" if compiled.search("") else None
