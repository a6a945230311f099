"""Wrong words of an answer put right, although they come in pieces."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from guideway.guardrails.denied import HOLD, Pattern


class Replacement(msgspec.Struct, frozen=True):
    """What *pattern* finds becomes *text*; ``pattern.begun`` must be known."""

    pattern: Pattern
    text: str


class Corrected:
    """Replaces every match, from left to right, of equal ones that of the first rule; holds back what could become one.

    *applied* hears the name of a rule each time. What was put in is not looked at again. Of a match longer than
    ``HOLD`` characters, of which the end has not come yet, nothing is replaced.
    """

    __slots__ = ("_applied", "_from", "_rules", "_sent", "_text")

    def __init__(self, rules: Sequence[Replacement], applied: Callable[[str], None]) -> None:
        self._rules, self._applied = rules, applied
        self._text = ""  # what is held, and before it one character that tells about word borders
        self._from = 0  # where a match may begin
        self._sent = 0  # how much of it went already

    def feed(self, text: str) -> str:
        """What can no longer be part of a match, put right."""
        self._text += text
        return self._give(last=False)

    def end(self) -> str:
        """All that is held, put right."""
        return self._give(last=True)

    def _give(self, *, last: bool) -> str:
        out = ""
        while True:
            settled = len(self._text) if last else self._settled()
            found = self._first(settled)
            if found is None:
                break
            begin, end, rule = found
            out += self._text[self._sent : begin] + rule.text
            self._sent = self._from = end
            self._applied(rule.pattern.name)
        out += self._text[self._sent : settled]
        self._sent = self._from = max(settled, self._sent)
        cut = max(0, self._from - 1)
        self._text, self._sent, self._from = self._text[cut:], self._sent - cut, self._from - cut
        return out

    def _settled(self) -> int:
        """Up to where no match can begin any more of which the end has not come."""
        begun = [
            rule.pattern.begun.search(self._text, self._from).start() for rule in self._rules if rule.pattern.begun
        ]
        return max(self._from, min(begun, default=len(self._text)), len(self._text) - HOLD)

    def _first(self, settled: int) -> tuple[int, int, Replacement] | None:
        """The first match that begins before *settled*, so that nothing that follows can change it."""
        best: tuple[int, int, Replacement] | None = None
        for rule in self._rules:
            found = rule.pattern.whole.search(self._text, self._from)
            if found is not None and found.start() < settled and (best is None or found.start() < best[0]):
                best = found.start(), found.end(), rule
        return best
