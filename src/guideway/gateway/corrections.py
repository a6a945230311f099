"""Corrections: what people noticed is wrong, put right without a new release, until a day that each rule names.

The file is JSON lines, one rule a line. It belongs to an environment, and workers follow it: a change holds within a
second. A rule is about prompts (a fixed answer instead of the model's) or about answers (other words instead of those).
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from guideway.core.text_forms import forms
from guideway.gateway.guard.bounds import SHAPES
from guideway.gateway.guard.corrected import Corrected, Replacement
from guideway.gateway.guard.newest import newest
from guideway.gateway.log import log
from guideway.guardrails.denied import Pattern, pattern

MOST = 1000
"""Rules in one file."""
_DAY = 86_400.0

Words = Annotated[str, Meta(min_length=1, max_length=4096)]
Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]


class Correction(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One rule. ``exact`` or ``pattern`` (RE2) says what is wrong; ``author`` and ``reason`` are for who asks later.

    ``exact`` is all that a user asked last, or words of an answer; case never matters. ``expires``: its last day, UTC.
    """

    name: Name
    on: Literal["prompt", "answer"]
    answer: Annotated[str, Meta(max_length=16384)]
    author: Words
    reason: Words
    expires: datetime.date
    exact: Words | None = None
    pattern: Words | None = None

    @property
    def until(self) -> float:
        """When it ends, in seconds since 1970."""
        end = datetime.datetime.combine(self.expires, datetime.time(), datetime.UTC)
        return end.timestamp() + _DAY


class Rule(msgspec.Struct, frozen=True):
    """A correction made ready. ``found`` None: all that was asked has to be ``said``."""

    correction: Correction
    said: str = ""
    found: Pattern | None = None


def read_corrections(data: bytes) -> tuple[Rule, ...]:
    """The rules in the bytes of a file, in its order.

    Raises:
        ValueError: in which line what is wrong.
    """
    found: dict[str, Rule] = {}
    for number, line in enumerate(data.splitlines(), 1):
        if not line.strip():
            continue
        try:
            one = msgspec.json.decode(line, type=Correction)
            if one.name in found:
                raise ValueError(f"'{one.name}' is here twice")
            found[one.name] = _ready(one)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"line {number}: {error}") from None
    if len(found) > MOST:
        raise ValueError(f"more than {MOST} corrections: it is time for another release")
    return tuple(found.values())


def _ready(one: Correction) -> Rule:
    if (one.exact is None) is (one.pattern is None):
        raise ValueError("a correction has either 'exact' or 'pattern'")
    if one.on == "prompt" and one.exact is not None:
        return Rule(one, said=_plain(one.exact))
    text = one.pattern if one.pattern is not None else re.escape(one.exact or "")
    found = pattern(one.name, text)
    if found.whole.search("") is not None:
        raise ValueError("the pattern matches the empty text")
    if one.on == "answer" and found.begun is None:
        raise ValueError("the pattern cannot be followed through an answer that comes in pieces: write it more simply")
    return Rule(one, found=found)


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()


class Corrections:
    """The rules that hold now, for one worker; *wall* counts seconds since 1970."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._all: tuple[Rule, ...] = ()
        self._prompts: tuple[Rule, ...] = ()
        self._answers: tuple[Replacement, ...] = ()
        self._over: list[str] = []
        self._until = 0.0

    def set(self, data: bytes) -> None:
        """Take the content of a file.

        Raises:
            ValueError: in which line what is wrong.
        """
        self._all = read_corrections(data)
        self._choose(self._wall())
        log("corrections", prompts=len(self._prompts), answers=len(self._answers), over=len(self._over))

    @property
    def any(self) -> bool:
        """Does any rule hold now?"""
        if not self._all:
            return False
        self._look()
        return bool(self._prompts or self._answers)

    @property
    def of_answers(self) -> bool:
        """Does any rule about answers hold now?"""
        return self.any and bool(self._answers)

    def answer(self, body: Mapping[str, Any]) -> Correction | None:
        """The first rule about what *body* asks, if an answer in plain words can be given to it."""
        if not self.any or not self._prompts or _is_tied(body):
            return None
        texts = newest(body)
        if len(texts) != 1:
            return None
        plain, seen = _plain(texts[0]), forms(texts[0])
        return next((rule.correction for rule in self._prompts if _about(rule, plain, seen)), None)

    def stream(self, applied: Callable[[str], None]) -> Corrected:
        """What puts one text of an answer right; *applied* hears the names of rules."""
        return Corrected(self._answers, applied)

    def _look(self) -> None:
        now = self._wall()
        if now >= self._until:
            self._choose(now)

    def _choose(self, now: float) -> None:
        holds = [rule for rule in self._all if now < rule.correction.until]
        self._over = [rule.correction.name for rule in self._all if now >= rule.correction.until]
        self._until = min((rule.correction.until for rule in holds), default=float("inf"))
        self._prompts = tuple(rule for rule in holds if rule.correction.on == "prompt")
        self._answers = tuple(_replacements(holds))


def _replacements(rules: Iterable[Rule]) -> Iterable[Replacement]:
    for rule in rules:
        if rule.correction.on == "answer" and rule.found is not None:
            yield Replacement(rule.found, rule.correction.answer)


def _about(rule: Rule, plain: str, seen: tuple[str, ...]) -> bool:
    if rule.found is None:
        return plain == rule.said
    return any(rule.found.whole.search(form) is not None for form in seen)


def _is_tied(body: Mapping[str, Any]) -> bool:
    """Must the answer have a shape, or be a call? A text in its place would break whoever reads it."""
    choice = body.get("tool_choice")
    shape = body.get("response_format")
    plain = isinstance(shape, dict) and shape.get("type") == "text"
    shaped = any(body.get(name) is not None for name in SHAPES if name != "response_format" or not plain)
    return shaped or isinstance(choice, dict) or choice == "required"
