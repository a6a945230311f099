"""Personal data of one request behind placeholders, and the way back. A vault lives and dies with its request."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from typing import get_args

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
        found = self._finder(text, self._wanted)
        self._kinds.update(one.entity for one in found)
        blocked = self._blocked & self._kinds
        if blocked:
            raise Blocked(blocked)
        pieces, at = [], 0
        for one in found:
            pieces += [self._literals(text[at : one.start]), self._placeholder(one.entity, text[one.start : one.end])]
            at = one.end
        pieces.append(self._literals(text[at:]))
        return "".join(pieces)

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


__all__ = ["LONGEST", "PATTERN_ENTITIES", "PLACEHOLDER", "Blocked", "Finder", "Vault"]
