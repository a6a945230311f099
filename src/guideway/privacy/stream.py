"""Text that comes in pieces: values put back, and what the model says of its own kept back, wherever it is split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, get_args

from guideway.core.privacy import Entity
from guideway.privacy.mask import LONGEST, Vault

_STEMS = tuple(f"[{one.upper()}_" for one in (*get_args(Entity), "literal"))


class TextStream(Protocol):
    """Changes a text piece by piece; what it holds back comes with a later piece or at the end."""

    def feed(self, text: str) -> str:
        """A further piece. What may be passed on.

        Raises:
            Stop: the text must not go on.
        """

    def end(self) -> str:
        """The text is over. What was held back.

        Raises:
            Stop: that must not be passed on.
        """


class Stop(Exception):
    """The answer ends here, for *reason*. *text* is the last that may still be passed on."""

    def __init__(self, reason: str, text: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.text = text


class Restore:
    """Puts the values of a vault back. *escape*: the text is JSON, values go into its strings."""

    __slots__ = ("_escape", "_held", "_vault")

    def __init__(self, vault: Vault, *, escape: bool = False) -> None:
        self._vault, self._escape, self._held = vault, escape, ""

    def feed(self, text: str) -> str:
        """A further piece; what could be the beginning of a placeholder is held back."""
        text = self._held + text
        opened = text.rfind("[")
        if opened >= 0 and _may_grow(text[opened:]):
            text, self._held = text[:opened], text[opened:]
        else:
            self._held = ""
        return self._vault.restore(text, escape=self._escape)

    def end(self) -> str:
        """What was held back is no placeholder."""
        held, self._held = self._held, ""
        return held


class Chain:
    """One stream after another."""

    __slots__ = ("_streams",)

    def __init__(self, streams: Sequence[TextStream]) -> None:
        self._streams = streams

    def feed(self, text: str) -> str:
        """A further piece, through all of them."""
        for stream in self._streams:
            text = stream.feed(text)
        return text

    def end(self) -> str:
        """What all of them held back."""
        text = ""
        for stream in self._streams:
            text = stream.feed(text) + stream.end()
        return text


def _may_grow(text: str) -> bool:
    """Could *text*, which begins with a bracket, become a placeholder?"""
    if len(text) >= LONGEST:
        return False
    stem = text.rstrip("0123456789")
    if len(stem) < len(text):
        return stem in _STEMS
    return any(one.startswith(text) for one in _STEMS)
