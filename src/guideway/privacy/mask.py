"""Personal data of one request behind placeholders, and the way back. A vault lives and dies with its request."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import NamedTuple, get_args

from guideway.core.privacy import Action, Entity
from guideway.privacy.detect import PATTERN_ENTITIES, find
from guideway.privacy.fold import unescape
from guideway.privacy.found import Found

Finder = Callable[[str, Collection[Entity]], list[Found]]

PLACEHOLDER = re.compile(
    r"\[(?:" + "|".join(one.upper() for one in (*get_args(Entity), "literal")) + r")_[1-9][0-9]{0,6}\]"
)
"""``[EMAIL_1]``: plain ASCII words that models repeat without change, and sound inside JSON, XML and Markdown."""

LONGEST = max(map(len, (*get_args(Entity), "literal"))) + len("[_9999999]")


class Blocked(Exception):
    """The text has personal data of *kinds*, which must not pass. Carries no value."""

    def __init__(self, kinds: Collection[Entity]) -> None:
        super().__init__(f"personal data: {', '.join(sorted(kinds))}")
        self.kinds = frozenset(kinds)


class Span(NamedTuple):
    """Characters *start* to *end* of parts that belong together are of *kind*."""

    start: int
    end: int
    kind: str


class Vault:
    """Which placeholder stands for which value, in one request. *actions* says what is done with every kind.

    A placeholder that somebody typed himself is kept as a value of its own, so it never stands for another's.
    """

    __slots__ = ("_blocked", "_finder", "_kinds", "_names", "_numbers", "_values", "_wanted")

    def __init__(self, actions: Mapping[Entity, Action], finder: Finder = find) -> None:
        self._wanted = frozenset(entity for entity, action in actions.items() if action != "allow")
        self._blocked = frozenset(entity for entity, action in actions.items() if action == "block")
        self._finder = finder
        self._names: dict[tuple[str, str], str] = {}
        self._values: dict[str, str] = {}
        self._numbers: dict[str, int] = {}
        self._kinds: set[Entity] = set()

    @property
    def kinds(self) -> frozenset[Entity]:
        """What was found so far."""
        return frozenset(self._kinds)

    @property
    def values(self) -> Mapping[str, str]:
        """The value behind every placeholder."""
        return self._values

    def mask(self, text: str) -> str:
        """*text* with placeholders for what must not be read.

        Raises:
            Blocked: something in it must not pass at all.
        """
        pieces, at = [], 0
        for one in self._found(text):
            pieces += [self._literals(text[at : one.start]), self._placeholder(one.entity, text[one.start : one.end])]
            at = one.end
        pieces.append(self._literals(text[at:]))
        return "".join(pieces)

    def mask_parts(self, texts: Sequence[str]) -> list[str]:
        """*texts* that somebody reads as one: what begins in one part and ends in another is masked where it begins.

        Raises:
            Blocked: something in one of them, or in all together, must not pass at all.
        """
        if len(texts) < 2:
            return [self.mask(text) for text in texts]
        whole = "".join(texts)
        spans, at = self._spans(whole, 0), 0
        for text in texts:
            spans += self._spans(text, at)
            at += len(text)
        return list(self._cut(texts, whole, _united(spans)))

    def _found(self, text: str) -> list[Found]:
        found = self._finder(text, self._wanted)
        self._kinds.update(one.entity for one in found)
        blocked = self._blocked & self._kinds
        if blocked:
            raise Blocked(blocked)
        return found

    def _spans(self, text: str, at: int) -> list[Span]:
        """What must not be read in *text*, which begins at *at* of a whole."""
        found = [Span(at + one.start, at + one.end, one.entity) for one in self._found(text)]
        return found + [Span(at + one.start(), at + one.end(), "literal") for one in PLACEHOLDER.finditer(text)]

    def _cut(self, texts: Sequence[str], whole: str, spans: list[Span]) -> Iterator[str]:
        """*texts*, which are *whole*, without *spans*: a placeholder stands in the first of the texts that has one."""
        end = done = number = 0
        for text in texts:
            pieces, end = [], end + len(text)
            while number < len(spans) and spans[number].start < end:
                span = spans[number]
                pieces += [whole[done : span.start], self._placeholder(span.kind, whole[span.start : span.end])]
                done, number = span.end, number + 1
            yield "".join([*pieces, whole[done:end]])
            done = max(done, end)

    def restore(self, text: str, *, escape: bool = False) -> str:
        """*text* with the values back in their places; *escape* makes them fit into a JSON string."""
        if "[" not in text or not self._values:
            return text
        return PLACEHOLDER.sub(lambda found: self.value(found[0], escape=escape), text)

    def value(self, placeholder: str, *, escape: bool = False) -> str:
        """What stands behind *placeholder*, or itself."""
        value = self._values.get(placeholder, placeholder)
        return json.dumps(value, ensure_ascii=False)[1:-1] if escape else value

    def _literals(self, text: str) -> str:
        if "[" not in text:
            return text
        return PLACEHOLDER.sub(lambda found: self._placeholder("literal", found[0]), text)

    def _placeholder(self, kind: str, text: str) -> str:
        value = unescape(text)
        name = self._names.get((kind, value))
        if name is None:
            number = self._numbers[kind] = self._numbers.get(kind, 0) + 1
            name = self._names[kind, value] = f"[{kind.upper()}_{number}]"
            self._values[name] = value
        return name


def _united(spans: list[Span]) -> list[Span]:
    """*spans* in order, those that overlap as one of the kind of the first."""
    united: list[Span] = []
    for one in sorted(spans):
        if united and one.start < united[-1].end:
            united[-1] = united[-1]._replace(end=max(one.end, united[-1].end))
        else:
            united.append(one)
    return united


__all__ = ["LONGEST", "PATTERN_ENTITIES", "PLACEHOLDER", "Blocked", "Finder", "Vault"]
