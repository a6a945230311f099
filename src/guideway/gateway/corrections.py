"""Corrections: what people noticed is wrong, put right without a new release, until a day that each rule names.

The file is JSON lines, one rule a line. It belongs to an environment, and workers follow it: a change holds within a
second. A rule is about prompts (a fixed answer instead of the model's) or about answers (other words instead of those).
"""

from __future__ import annotations

import datetime
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from guideway.core.text_forms import forms
from guideway.gateway.guard.bounds import SHAPES
from guideway.gateway.guard.corrected import Corrected, Replacement, Replacements, check_followed, together
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
        check_followed(found)
    return Rule(one, text=text, found=found)


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()


class Held(msgspec.Struct, frozen=True):
    """What of *rules* holds until a time, in seconds since 1970, and the names of those that are over.

    ``patterns`` find whether any rule about prompts does. ``joined``: what is looked for together is one pattern of
    many, which takes a while to make.
    """

    rules: tuple[Rule, ...] = ()
    prompts: tuple[Rule, ...] = ()
    patterns: tuple[Pattern, ...] = ()
    answers: Replacements = Replacements()
    over: tuple[str, ...] = ()
    until: float = float("inf")
    joined: bool = True


def held(rules: tuple[Rule, ...], now: float, *, joined: bool = True) -> Held:
    """What of *rules* holds *now*; without *joined* at once, and what looks for many rules takes longer then."""
    holds = [one for one in rules if now < one.correction.until]
    prompts = [one for one in holds if one.correction.on == "prompt"]
    answers = [one for one in holds if one.correction.on == "answer"]
    changed = tuple(Replacement(one.found, one.correction.answer) for one in answers if one.found is not None)
    return Held(
        rules,
        tuple(prompts),
        _found(prompts, joined=joined),
        Replacements(changed, _found(answers, joined=joined)),
        tuple(one.correction.name for one in rules if now >= one.correction.until),
        min((one.correction.until for one in holds), default=float("inf")),
        joined,
    )


def _found(rules: Sequence[Rule], *, joined: bool) -> tuple[Pattern, ...]:
    pairs = [(one.found, one.text) for one in rules if one.found is not None]
    return together(pairs) if joined else tuple(one for one, _ in pairs)


class Corrections:
    """The rules that hold now, for one worker; *wall* counts seconds since 1970."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._held = Held()
        self._changing = threading.Lock()

    def set(self, data: bytes) -> None:
        """Take the content of a file.

        Raises:
            ValueError: in which line what is wrong.
        """
        self.take(self.ready(data))

    def ready(self, data: bytes) -> Held:
        """The content of a file made ready, by any thread: for many rules this takes a second, and changes nothing.

        Raises:
            ValueError: in which line what is wrong.
        """
        return held(read_corrections(data), self._wall())

    def again(self) -> Held:
        """The rules of now made ready anew, by any thread."""
        return held(self._held.rules, self._wall())

    def take(self, ready: Held) -> None:
        """Let *ready* hold from now on."""
        with self._changing:
            self._held = ready
        log("corrections", prompts=len(ready.prompts), answers=len(ready.answers.rules), over=len(ready.over))

    @property
    def stale(self) -> bool:
        """Did a rule end, so that what is left should be made ready again?"""
        return not self._held.joined

    @property
    def any(self) -> bool:
        """Does any rule hold now?"""
        now = self._now
        return bool(now.prompts or now.answers.rules)

    @property
    def of_answers(self) -> bool:
        """Does any rule about answers hold now?"""
        return bool(self._now.answers.rules)

    def answer(self, body: Mapping[str, Any]) -> Correction | None:
        """The first rule about what *body* asks, if an answer in plain words can be given to it."""
        now = self._now
        if not now.prompts or _is_tied(body):
            return None
        texts = newest(body)
        if len(texts) != 1:
            return None
        plain, seen = _plain(texts[0]), forms(texts[0])
        found = any(one.whole.search(form) is not None for one in now.patterns for form in seen)
        said = (rule.correction for rule in now.prompts if _about(rule, plain, seen if found else ()))
        return next(said, None)

    def stream(self, applied: Callable[[str], None]) -> Corrected:
        """What puts one text of an answer right; *applied* hears the names of rules."""
        return Corrected(self._now.answers, applied)

    @property
    def _now(self) -> Held:
        """What holds now. Where a rule has just ended, the others go on at once, as they are."""
        current = self._held
        if not current.rules or (now := self._wall()) < current.until:
            return current
        fresh = held(current.rules, now, joined=False)
        with self._changing:  # long prompts are looked at by threads
            if self._held is current:
                self._held = fresh
        return fresh


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
