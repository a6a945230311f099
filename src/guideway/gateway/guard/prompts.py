"""What a request says: its texts, and the rules that they must pass."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from guideway.core.classifier import Classifier
from guideway.core.guardrails import Guardrails, Topic
from guideway.core.text_forms import forms, latin
from guideway.gateway.guard.regex import compiled

OFF_LOOP = 16 * 1024
"""Characters from which a prompt is judged beside the event loop."""
DEPTH = 64

_PROMPTS = ("messages", "prompt", "suffix", "input", "instructions", "tools", "functions", "documents", "prediction")
_NO_TEXT = frozenset({"image_url", "input_audio", "audio", "role", "type"})
"""Parts of a message whose strings are data, or words of the API."""


class Said(msgspec.Struct, frozen=True):
    """The texts of one request: all of them, those of users, and whether some came as tokens, which nobody reads."""

    texts: tuple[str, ...]
    users: tuple[str, ...]
    tokens: bool = False

    @property
    def size(self) -> int:
        """Characters in all."""
        return sum(map(len, self.texts))


def said(body: Mapping[str, Any]) -> Said:
    """The texts of *body*.

    Raises:
        ValueError: it is nested too deeply.
    """
    texts = tuple(text for key in _PROMPTS for text in _texts(body.get(key), 0))
    messages = body.get("messages")
    if isinstance(messages, list):
        asked = [
            one for one in messages if isinstance(one, dict) and one.get("role") not in {"assistant", "tool", "system"}
        ]
        users = tuple(text for one in asked for text in _texts(one.get("content"), 0))
    else:
        users = tuple(text for key in ("prompt", "input") for text in _texts(body.get(key), 0))
    return Said(texts, users, any(_has_numbers(body.get(key)) for key in ("prompt", "input")))


class PromptRules:
    """The rules for prompts of one release. ``broken`` gives the name of the first that a request breaks."""

    __slots__ = ("_classifier", "_deny", "_max_input", "_only", "_threshold")

    def __init__(self, rules: Guardrails, classifier: Classifier | None) -> None:
        if (rules.threshold is None) is not (classifier is None):
            raise ValueError("a classifier and its threshold come together")
        patterns = [(f"deny:{rule.name}", compiled(rule.pattern)) for rule in rules.deny if rule.on != "output"]
        topics = [(f"topic:{topic.name}", _words(topic)) for topic in rules.topics.deny]
        self._deny = (*patterns, *topics)
        self._only = tuple(_words(topic) for topic in rules.topics.only)
        self._max_input = rules.max_input
        self._classifier, self._threshold = classifier, rules.threshold or 0.0

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
        seen = [form for text in asked.texts for form in forms(text)]
        for name, pattern in self._deny:
            if any(pattern.search(form) is not None for form in seen):
                return name
        if self._only and not _about(self._only, asked.users):
            return "topic"
        return "classifier" if self._harmful(asked.users) else None

    def _harmful(self, users: Sequence[str]) -> bool:
        """Each text by itself, and all together: a request may be spread over several turns."""
        if self._classifier is None or not users:
            return False
        texts = [*users, "\n".join(users)] if len(users) > 1 else users
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


def _texts(value: Any, depth: int) -> Iterator[str]:
    """Every string in *value* but data."""
    if depth > DEPTH:
        raise ValueError("nested too deeply")
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one, depth + 1)
    elif isinstance(value, dict):
        for key, one in value.items():
            if key not in _NO_TEXT:
                yield from _texts(one, depth + 1)


def _has_numbers(prompt: Any) -> bool:
    """Does *prompt* come as tokens, somewhere?"""
    if isinstance(prompt, list):
        return any(isinstance(one, int) or _has_numbers(one) for one in prompt)
    return False
