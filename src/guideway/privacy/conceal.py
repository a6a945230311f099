"""Personal data in what a model says, replaced by its kind while the text comes in pieces."""

from __future__ import annotations

import re
from collections.abc import Collection

from guideway.core.privacy import Entity
from guideway.privacy.detect import find
from guideway.privacy.fold import fold
from guideway.privacy.quotes import Quotes
from guideway.privacy.words import REACH

LIMIT = 512
"""How many characters are held back at most."""

_KEPT = 128
_WINDOW = 2 * LIMIT
_BREAK = r"\s\"'`,;{}<>|^\u2e80-\u303e\u3041-\u3163\u3165-\ua4cf\uac00-\ud7a3\uf900-\ufaff\uff0c\uff1b\uff01\uff1f"
_WORD = rf"[^{_BREAK}]"
_BACKWARDS = re.compile(
    rf"(?:{_WORD}*[0-9+()\-./xX])?(?: {{1,3}}[0-9().\-/+]*[0-9).\-/])+(?:{_WORD}*)|{_WORD}*"
)  # of the text from its end: groups of digits with spaces between, or one word
_ACCOUNT = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}[0-9]{2}(?:[ \-]?[A-Za-z0-9])*[ \-]?\Z")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:(?:\\?/){2}[^\s/@\"'<>\\]*\Z")
_PEM = "-----BEGIN"
_PEM_OPEN = re.compile(r"-----BEGIN[A-Z0-9 ]*(?:-{0,4}|-----(?:[A-Za-z0-9+/=\s\\:,.]|-)*)\Z")
_PEM_END = re.compile(r"-----END[A-Z0-9 ]*-----")
_PEM_BODY = re.compile(r"[A-Za-z0-9+/=\s\\:,.\-]*")
_CALM = re.compile(r"[A-Za-z ,;!?'\"\n*#`()]*(?:[.:\-](?:[ \n]|\Z)[A-Za-z ,;!?'\"\n*#`()]*)*")
"""Text without digits or signs that personal data is made of; a sign at the end of a word is none."""
_LONG = re.compile(r"[A-Za-z]{15}")
_NAMING = ("key", "secret", "pass", "pwd", "token", "bearer", "credential", "eyj")
_NEAR = 16
"""What is new is calm if it is so together with as many characters before it, and these were."""
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ!?*#"
_GROUPING = re.compile(r"[.:\-()`]")
_WORD_GOES_ON = re.compile(rf"{_WORD}*")


class Conceal:
    """Replaces personal data of *entities* by ``[EMAIL]`` and the like. *is_json*: the text is JSON, and stays JSON.

    Only what could still become personal data is held back, at most ``LIMIT`` characters: a word, digits with
    spaces between, a URL. Of a longer one the rest is dropped.
    """

    __slots__ = ("_before", "_calm", "_dropping", "_entities", "_held", "_quotes")

    def __init__(self, entities: Collection[Entity], *, is_json: bool = False) -> None:
        self._entities = entities
        self._quotes = Quotes() if is_json else None
        self._before = self._held = ""
        self._calm = True  # nothing is in what was sent or is held that a word or two could turn into personal data
        self._dropping: re.Pattern[str] | None = None

    def feed(self, text: str) -> str:
        """A further piece."""
        if self._quotes is None and self._dropping is None and len(text) < _KEPT:
            known = self._words(text)
            if known is not None:
                return known
        if self._dropping is not None:
            text = self._drop(text)
        text = self._held + text
        if not text:
            return ""
        cut = _open_tail(text)
        if len(text) - cut > LIMIT:
            return self._overflow(text)
        return self._pass(text, cut)

    def _words(self, text: str) -> str | None:
        """What `feed` would give, where words of letters follow such words; None: it has to be looked at closely."""
        held = self._held
        if not self._calm and not is_calm(self._before + held):
            return None
        self._calm = is_calm(self._before[-_NEAR:] + held + text)
        if not self._calm or len(held) > _KEPT:
            return None
        text = held + text
        cut = len(text.rstrip(_LETTERS)) if _GROUPING.search(text) is None else _open_tail(text)
        if cut:
            self._before = (self._before + text[:cut])[-REACH:]
        self._held = text[cut:]
        return text[:cut]

    def end(self) -> str:
        """Nothing follows: what was held back is judged as it is."""
        self._calm = False
        if self._dropping is not None:
            self._dropping, self._held = None, ""
        return self._pass(self._held, len(self._held)) if self._held else ""

    def _pass(self, text: str, cut: int) -> str:
        """Let *text* go up to *cut*, or to the beginning of what reaches beyond it; hold the rest."""
        if cut == 0:
            self._held = text
            return ""
        begun = len(self._before)
        pieces, at = [], 0
        for one in find(self._before + text, self._entities):
            start, end = max(one.start - begun, at), one.end - begun
            if end <= at or start >= cut:
                continue
            if end > cut:
                cut = start
                break
            pieces += [text[at:start], self._label(one.entity, text[at:start])]
            at = end
        pieces.append(text[at:cut])
        if self._quotes is not None:
            self._quotes.read(pieces[-1])
        self._before, self._held = (self._before + text[:cut])[-REACH:], text[cut:]
        return "".join(pieces)

    def _label(self, entity: Entity, before: str) -> str:
        """What stands for a value; a number of JSON becomes a string."""
        label = f"[{entity.upper()}]"
        if self._quotes is None:
            return label
        self._quotes.read(before)
        return label if self._quotes.inside else f'"{label}"'

    def _overflow(self, text: str) -> str:
        """Too long to wait: what is found at the end is dropped as long as it goes on, else the most of it passes."""
        begun = len(self._before)
        found = find(self._before + text, self._entities)
        if not found or found[-1].end - begun < len(text):
            return self._pass(text, max(found[-1].end - begun if found else 0, len(text) - _KEPT))
        out = self._pass(text, len(text))
        self._dropping = _PEM_BODY if _PEM in text else _WORD_GOES_ON
        return out

    def _drop(self, text: str) -> str:
        """What does not belong to the dropped value any more."""
        pattern, self._held = self._dropping, ""
        assert pattern is not None
        if pattern is _PEM_BODY:
            seen = self._before + text
            closed = _PEM_END.search(seen)
            if closed:
                self._dropping = None
                self._before = ""
                return seen[closed.end() :]
            self._before = seen[-REACH:]
        rest = text[_end_of(pattern, text) :]
        if rest:
            self._dropping = None
        return rest


def is_calm(text: str) -> bool:
    """Is there surely nothing in *text* that is personal data? Cheaper than to look for it, and often wrong."""
    if _CALM.fullmatch(text) is None or _LONG.search(text) is not None:
        return False
    return not any(map(text.lower().__contains__, _NAMING))


def _end_of(pattern: re.Pattern[str], text: str) -> int:
    found = pattern.match(text)
    return found.end() if found else 0


def _open_tail(text: str) -> int:
    """Where that part at the end of *text* begins that could still become personal data."""
    skipped = max(0, len(text) - _WINDOW)
    view = fold(text[skipped:])
    plain = view.plain
    found = _BACKWARDS.match(plain[::-1])
    start = len(plain) - (found.end() if found else 0)
    if len(plain) > 4 and not plain.isalpha():
        start = min(start, _further(plain))
    return skipped + (start if view.origin is None else view.origin[start])


def _further(plain: str) -> int:
    """The beginnings of what has spaces or quotes inside: accounts, URLs, private keys."""
    start = len(plain)
    account = _ACCOUNT.search(plain, max(0, start - 44))
    if account:
        start = account.start()
    if ":/" in plain or ":\\" in plain:
        url = _URL.search(plain)
        start = min(start, url.start()) if url else start
    opened = plain.rfind(_PEM)
    if opened >= 0 and _PEM_OPEN.match(plain, opened):
        start = min(start, opened)
    return start
