"""The system prompt never comes out: not plain, not reversed, spaced, in other case, rot13, hexadecimal or base64.

Answer and prompt are compared by their letters and digits alone. A long run of the prompt ends the answer, and so
does a word of it that looks like a key. A bitmap of all runs of five tells which text could become one of these; only that is held back.
"""

from __future__ import annotations

import base64
import codecs
import re
import unicodedata
from collections.abc import Iterator

from guideway.gateway.guard.stream import Stop

RUN = 48
"""Letters and digits of the prompt in a row that are too many; in base64 these are 36 bytes."""
RUN_WIDE = 20
"""The same for a prompt that is written without an alphabet."""
SHORTEST = 16
"""A prompt with fewer letters and digits is no secret."""

_GRAM = 5
_BITS = 1 << 20
_WORD = re.compile(r"[^\s\"'`()\[\]{}<>,;]+")


class Secret:
    """What must not come out of one release: made once, used by the streams of all answers."""

    __slots__ = ("_map", "haystack", "needles", "run")

    def __init__(self, prompt: str) -> None:
        plain = squashed(prompt)
        wide = sum(char > "\u2e7f" for char in plain) > len(plain) // 2
        self.run = min(RUN_WIDE if wide else RUN, len(plain))
        kept = plain if len(plain) >= (SHORTEST // 2 if wide else SHORTEST) else ""
        variants = list(_disguises(prompt)) if kept else []
        keys = {form for word in _keys(prompt) for form in _disguises(word) if len(form) >= 8}
        self.haystack = "\n".join(variants)
        self.needles = tuple(sorted(keys))
        self._map = bytearray(_BITS // 8)
        for text in (*variants, *keys):
            for at in range(len(text) - _GRAM + 1):
                bit = hash(text[at : at + _GRAM]) % _BITS
                self._map[bit >> 3] |= 1 << (bit & 7)

    @property
    def empty(self) -> bool:
        """Is there nothing to keep?"""
        return not self.haystack and not self.needles

    def knows(self, gram: str) -> bool:
        """May these five stand in the prompt, in some disguise? Seldom a false yes, never a false no."""
        bit = hash(gram) % _BITS
        return bool(self._map[bit >> 3] >> (bit & 7) & 1)


class Secrecy:
    """Ends an answer before a piece of a secret."""

    __slots__ = ("_at", "_held", "_run", "_secret", "_tail")

    def __init__(self, secret: Secret) -> None:
        self._secret = secret
        self._tail = ""  # the last letters and digits, as many as a run may be long
        self._at: list[int] = []  # where in the held text the letters of the present run stand
        self._run = 0  # how many of the last letters and digits could be a run
        self._held = ""

    def feed(self, text: str) -> str:
        """What cannot be the beginning of a run."""
        offset = len(self._held)
        self._held += text
        for index, char in enumerate(text):
            if char.isalnum():
                self._letter(_folded(char), offset + index)
        safe = self._at[-self._run] if self._run else len(self._held)
        given, self._held = self._held[:safe], self._held[safe:]
        self._at = [at - safe for at in self._at[-self._run :]] if self._run else []
        return given

    def end(self) -> str:
        """What was held back did not become one."""
        held, self._held = self._held, ""
        self._run, self._at = 0, []
        return held

    def _letter(self, letter: str, at: int) -> None:
        secret = self._secret
        self._tail = self._tail[-(max(RUN, 96) - 1) :] + letter
        if not secret.knows(self._tail[-_GRAM:]):
            self._run = 0
            self._at = [*self._at[-(_GRAM - 2) :], at]
            return
        self._at.append(at)
        self._run = min(self._run + 1 if self._run else _GRAM, len(self._at))
        if self._tail.endswith(secret.needles) or self._is_long():
            raise Stop("secret", self._held[: self._at[-self._run]])

    def _is_long(self) -> bool:
        """Are the last letters a piece of the prompt? The first four of a run may have been sent and not be counted."""
        run = self._secret.run
        return 0 < run < self._run + _GRAM and len(self._tail) >= run and self._tail[-run:] in self._secret.haystack


def squashed(text: str) -> str:
    """The letters and digits of *text*, small, one character each."""
    return "".join(_folded(char) for char in text if char.isalnum())


def _folded(char: str) -> str:
    """The one letter that stands for *char*, however it is written."""
    if char.isascii():
        return char.lower()
    return unicodedata.normalize("NFKC", char).casefold()[:1]


def _disguises(text: str) -> Iterator[str]:
    """*text* as it could be told so that only another machine understands it; squashed."""
    plain = squashed(text)
    for form in (plain, codecs.encode(plain, "rot13")):
        yield form
        yield form[::-1]
    for cased in dict.fromkeys((text, text.lower(), text.upper(), text[::-1])):
        raw = cased.encode()
        yield raw.hex()
        for shift in range(3):
            code = base64.b64encode(bytes(shift) + raw).decode().rstrip("=")
            first = (8 * shift + 5) // 6  # what depends on the bytes before
            last = len(code) - bool((shift + len(raw)) % 3)  # and on the bytes after
            yield squashed(code[first:last])


def _keys(prompt: str) -> Iterator[str]:
    """The words of *prompt* that look like keys: long, with letters and digits; no address, for those are meant to be told."""
    for found in _WORD.finditer(prompt):
        word = found[0].strip(".:!?*_-")
        plain = squashed(word)
        kinds = [char.isdigit() for char in plain]
        changes = sum(a is not b for a, b in zip(kinds, kinds[1:], strict=False))
        keyish = len(plain) >= 10 or (len(plain) >= 8 and changes >= 3)
        if keyish and changes and "@" not in word and "/" not in word:
            yield word
