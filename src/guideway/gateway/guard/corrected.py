"""Wrong words of an answer put right, although they come in pieces."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

import msgspec

from guideway.guardrails.denied import HOLD, Pattern, pattern

KNOWN = 256
"""Matches of one answer whose rule is remembered."""
AT_ONCE = 64
"""Rules that become one pattern. RE2 makes a pattern in one go, in which no other thread of Python does anything."""
_SAMPLE = "a word, and another\none more"


class Replacement(msgspec.Struct, frozen=True):
    """What *pattern* finds becomes *text*; ``pattern.begun`` must be known."""

    pattern: Pattern
    text: str


class Replacements(msgspec.Struct, frozen=True):
    """Rules, and the patterns that stand for all of them where they are looked for."""

    rules: tuple[Replacement, ...] = ()
    any: tuple[Pattern, ...] = ()


def check_followed(one: Pattern) -> None:
    """Refuse a pattern that cannot be followed through pieces.

    Raises:
        ValueError: it is one.
    """
    if one.begun is None:
        raise ValueError("the pattern cannot be followed through an answer that comes in pieces: write it more simply")


def together(patterns: Sequence[tuple[Pattern, str]]) -> tuple[Pattern, ...]:
    """Patterns that find what any of *patterns*, each with its text, does: as few as can be made of them.

    Each has searched once when it is given: RE2 makes half of a pattern only then.
    """
    found: list[Pattern] = []
    for first in range(0, len(patterns), AT_ONCE):
        found += _joined(patterns[first : first + AT_ONCE])
    for one in found:
        one.whole.search(_SAMPLE)
        if one.begun is not None:
            one.begun.search(_SAMPLE)
    return tuple(found)


def _joined(patterns: Sequence[tuple[Pattern, str]]) -> Sequence[Pattern]:
    """One pattern for all of *patterns*; they themselves, where there is none."""
    each = [one for one, _ in patterns]
    if len(each) < 2:
        return each
    with contextlib.suppress(ValueError):
        union = pattern("", "|".join(f"(?:{text})" for _, text in patterns))
        if union.begun is not None or not all(one.begun for one in each):
            return [union]
    return each


class Corrected:
    """Replaces every match, from left to right, of equal ones that of the first rule; holds back what could become one.

    *applied* hears the name of a rule each time. What was put in is not looked at again. Of a match longer than
    ``HOLD`` characters nothing is replaced. A long text is taken in pieces, so that what it costs grows with its
    length and not with the square of it.
    """

    __slots__ = ("_any", "_applied", "_from", "_known", "_rules", "_sent", "_text")

    def __init__(self, rules: Replacements, applied: Callable[[str], None]) -> None:
        self._rules, self._any, self._applied = rules.rules, rules.any, applied
        self._known: dict[tuple[str, int], Replacement] = {}
        self._text = ""  # what is held, and before it one character that tells about word borders
        self._from = 0  # where a match may begin
        self._sent = 0  # how much of it went already

    def feed(self, text: str) -> str:
        """What can no longer be part of a match, put right."""
        out = []
        for at in range(0, len(text), HOLD):
            self._text += text[at : at + HOLD]
            out.append(self._give(last=False))
        return "".join(out)

    def end(self) -> str:
        """All that is held, put right."""
        return self._give(last=True)

    def _give(self, *, last: bool) -> str:
        out = ""
        settled = len(self._text) if last else self._settled()
        while (found := self._first(settled)) is not None:
            begin, end, rule = found
            out += self._text[self._sent : begin] + rule.text
            self._sent = self._from = end
            self._applied(rule.pattern.name)
            if end > settled:
                settled = len(self._text) if last else self._settled()
        out += self._text[self._sent : settled]
        self._sent = self._from = max(settled, self._sent)
        cut = max(0, self._from - 1)
        self._text, self._sent, self._from = self._text[cut:], self._sent - cut, self._from - cut
        return out

    def _settled(self) -> int:
        """Up to where no match can begin any more of which the end has not come."""
        begun = [one.begun.search(self._text, self._from).start() for one in self._any if one.begun is not None]
        return max(self._from, min(begun, default=len(self._text)), len(self._text) - HOLD)

    def _first(self, settled: int) -> tuple[int, int, Replacement] | None:
        """The first match that begins before *settled*, so that nothing that follows can change it."""
        found = [one.whole.search(self._text, self._from) for one in self._any]
        first = min((one for one in found if one is not None), key=lambda one: one.start(), default=None)
        if first is None or first.start() >= settled or first.start() == first.end():
            return None
        return first.start(), first.end(), self._rule_of(first.start(), first.end())

    def _rule_of(self, begin: int, end: int) -> Replacement:
        """The first rule whose match is this one: a character on either side is all that decides about its borders."""
        before = max(0, begin - 1)
        around = self._text[before : end + 1], begin - before
        rule = self._known.get(around)
        if rule is None:
            rule = next(one for one in self._rules if _matches(one.pattern, *around, end - before))
            if len(self._known) < KNOWN:
                self._known[around] = rule
        return rule


def _matches(one: Pattern, text: str, begin: int, end: int) -> bool:
    found = one.whole.match(text, begin)
    return found is not None and bool(found.end() == end)
