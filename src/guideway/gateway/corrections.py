"""Corrections: what people noticed is wrong, put right without a new release, until a day that each rule names.

The file is JSON lines, one rule a line. It belongs to an environment, and workers follow it: a change holds within a
second. A rule is about prompts (a fixed answer instead of the model's) or about answers (other words instead of those).
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from guideway.core.text_forms import forms
from guideway.gateway.guard.bounds import SHAPES
from guideway.gateway.guard.corrected import Corrected, Replacements, replacements, together
from guideway.gateway.guard.newest import newest
from guideway.gateway.log import log
from guideway.guardrails.denied import Pattern, pattern

MOST = 1000
"""Rules in one file."""
_DAY = 86_400.0
_BORDERS = "a a\n\na \n a"
"""Every border of words, lines and texts: what matches nothing between two characters does so here."""

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
    """A correction made ready: ``said`` is all that was asked, or ``found`` is searched for, whose text is ``text``."""

    correction: Correction
    said: str = ""
    text: str = ""
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
    if any(one.start() == one.end() for one in found.whole.finditer(_BORDERS)):
        raise ValueError("the pattern matches the empty text")
    if one.on == "answer":
        replacements([(one.name, text, one.answer)])
    return Rule(one, text=text, found=found)


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()


class Corrections:
    """The rules that hold now, for one worker; *wall* counts seconds since 1970."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._all: tuple[Rule, ...] = ()
        self._prompts: tuple[Rule, ...] = ()
        self._patterns: tuple[Pattern, ...] = ()
        self._answers = Replacements()
        self._over: list[str] = []
        self._until = 0.0

    def set(self, data: bytes) -> None:
        """Take the content of a file.

        Raises:
            ValueError: in which line what is wrong.
        """
        self._all = read_corrections(data)
        self._choose(self._wall())
        log("corrections", prompts=len(self._prompts), answers=len(self._answers.rules), over=len(self._over))

    @property
    def any(self) -> bool:
        """Does any rule hold now?"""
        if not self._all:
            return False
        self._look()
        return bool(self._prompts or self._answers.rules)

    @property
    def of_answers(self) -> bool:
        """Does any rule about answers hold now?"""
        return self.any and bool(self._answers.rules)

    def answer(self, body: Mapping[str, Any]) -> Correction | None:
        """The first rule about what *body* asks, if an answer in plain words can be given to it."""
        if not self.any or not self._prompts or _is_tied(body):
            return None
        texts = newest(body)
        if len(texts) != 1:
            return None
        plain, seen = _plain(texts[0]), forms(texts[0])
        found = any(one.whole.search(form) is not None for one in self._patterns for form in seen)
        said = (rule.correction for rule in self._prompts if _about(rule, plain, seen if found else ()))
        return next(said, None)

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
        self._patterns = together([(rule.found, rule.text) for rule in self._prompts if rule.found is not None])
        answers = [(rule.correction, rule.text) for rule in holds if rule.correction.on == "answer"]
        self._answers = replacements([(one.name, text, one.answer) for one, text in answers])


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
