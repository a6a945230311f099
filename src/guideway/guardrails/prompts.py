"""The rules that the texts of a request must pass."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from guideway.core.classifier import Classifier
from guideway.core.guardrails import Guardrails, Topic
from guideway.core.text_forms import forms, latin
from guideway.guardrails.regex import compiled
from guideway.guardrails.said import Said

OFF_LOOP = 16 * 1024
"""Characters from which a prompt is judged beside the event loop."""


class PromptRules:
    """The rules for prompts of one release. ``broken`` gives the name of the first that a request breaks."""

    __slots__ = ("_all", "_classifier", "_deny", "_max_input", "_only", "_threshold")

    def __init__(self, rules: Guardrails, classifier: Classifier | None) -> None:
        if (rules.threshold is None) is not (classifier is None):
            raise ValueError("a classifier and its threshold come together")
        patterns = [(f"deny:{rule.name}", compiled(rule.pattern)) for rule in rules.deny if rule.on != "output"]
        topics = [(f"topic:{topic.name}", _words(topic)) for topic in rules.topics.deny]
        self._deny = (*patterns, *topics)
        self._only = tuple(_words(topic) for topic in rules.topics.only)
        self._max_input = rules.max_input
        self._classifier, self._threshold = classifier, rules.threshold or 0.0
        self._all = rules.roles == "all"

    @property
    def any(self) -> bool:
        """Is there a rule at all?"""
        return bool(self._deny or self._only or self._max_input or self._classifier)

    def broken(self, asked: Said) -> str | None:
        """The name of a rule that *asked* breaks, or None."""
        if self._max_input and asked.size > self._max_input:
            return "max_input"
        if asked.tokens:
            return "tokens"
        seen = [form for text in (*asked.texts, *asked.aside) for form in forms(text)]
        for name, pattern in self._deny:
            if any(pattern.search(form) is not None for form in seen):
                return name
        if self._only and not (asked.asked and all(_about(self._only, group) for group in asked.asked)):
            return "topic"
        return "classifier" if self._harmful(asked) else None

    def _harmful(self, asked: Said) -> bool:
        """Each text by itself, and all together: a request may be spread over several turns."""
        if self._classifier is None:
            return False
        judged = [*asked.told, *(text for group in asked.asked for text in group), *(asked.given if self._all else ())]
        texts = [*judged, "\n".join(judged)] if len(judged) > 1 else judged
        return any(self._classifier.score(text) >= self._threshold for text in texts)


def _about(topics: Sequence[Any], texts: Sequence[str]) -> bool:
    return any(topic.search(form) is not None for text in texts for form in forms(text) for topic in topics)


def _words(topic: Topic) -> Any:
    """A pattern for the words of *topic*: whole words where words are written apart."""
    parts = [part for word in topic.words for part in dict.fromkeys((word, latin(word)))]
    return compiled("|".join(_bounded(part) for part in parts))


def _bounded(word: str) -> str:
    border = r"\b" if word.isascii() else ""
    escaped = r"\s+".join(re.escape(piece) for piece in word.split())
    left = border if word[:1].isalnum() else ""
    right = border if word[-1:].isalnum() else ""
    return f"{left}{escaped}{right}"
