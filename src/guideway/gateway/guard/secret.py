"""The system prompt never comes out: not plain, not reversed, spaced, in other case, rot13, hexadecimal or base64.

Answer and prompt are compared by their letters and digits alone. A long run of the prompt ends the answer, and so
does a word of it that looks like a key. A table of all runs of five tells which text could become one of these, and
only that is held back.
"""

from __future__ import annotations

import base64
import codecs
import re
import unicodedata
from collections.abc import Iterator
from itertools import pairwise

from guideway.gateway.guard.stream import Stop

RUN = 48
"""Letters and digits of the prompt in a row that are too many; in base64 these are 36 bytes."""
RUN_WIDE = 20
"""The same for a prompt that is written without an alphabet."""
SHORTEST = 16
"""A prompt with fewer letters and digits is no secret."""

_GRAM = 5
_SLOTS = 1 << 18
_LONGEST = 96
_WORD = re.compile(r"[^\s\"'`()\[\]{}<>,;]+")


class Secret:
    """What must not come out of one release: made once, used by the streams of all answers."""

    __slots__ = ("haystack", "map", "needles", "run", "shortest")

    def __init__(self, prompt: str) -> None:
        plain = squashed(prompt)
        wide = sum(char > "\u2e7f" for char in plain) > len(plain) // 2
        self.run = min(RUN_WIDE if wide else RUN, len(plain))
        kept = len(plain) >= (SHORTEST // 2 if wide else SHORTEST)
        variants = list(_disguises(prompt)) if kept else []
        keys = {form for word in _keys(prompt) for form in _disguises(word) if len(form) >= 8}
        self.haystack = "\n".join(variants)
        self.needles = tuple(sorted(keys))
        self.shortest = min([len(key) for key in keys] + [self.run] * kept, default=0)
        self.map = bytearray(_SLOTS)
        for text in (*variants, *keys):
            for at in range(len(text) - _GRAM + 1):
                self.map[hash(text[at : at + _GRAM]) % _SLOTS] = 1

    @property
    def empty(self) -> bool:
        """Is there nothing to keep?"""
        return not self.shortest

    def begins(self, letters: str, start: int) -> int | None:
        """Where the first piece of a secret begins that ends in *letters* after *start*, or None."""
        found = [letters.find(key, max(0, start - len(key) + 1)) for key in self.needles]
        ends = [(at + len(key), at) for at, key in zip(found, self.needles, strict=True) if at >= 0]
        if self.haystack:
            for end in range(max(start, self.run - 1) + 1, len(letters) + 1):
                if letters[end - self.run : end] in self.haystack:
                    ends.append((end, end - self.run))
                    break
        return min(ends)[1] if ends else None


class Secrecy:
    """Ends an answer before a piece of a secret. Of such a piece at most its first four letters may have been sent."""

    __slots__ = ("_held", "_run", "_secret", "_tail")

    def __init__(self, secret: Secret) -> None:
        self._secret = secret
        self._tail = ""  # the last letters and digits, as many as a secret may be long
        self._run = 0  # how many runs of five before the end stand in the secret, without a gap
        self._held = ""

    def feed(self, text: str) -> str:
        """What cannot be the beginning of a piece of a secret."""
        letters = squashed(text)
        held = self._held + text
        if letters:
            self._look(letters, held)
        cut = _back(held, self._run + _GRAM - 1) if self._run else len(held)
        self._held = held[cut:]
        return held[:cut]

    def end(self) -> str:
        """What was held back did not become one."""
        held, self._held = self._held, ""
        self._run = 0
        return held

    def _look(self, letters: str, held: str) -> None:
        secret, known = self._secret, self._secret.map
        line = self._tail[1 - _GRAM :] + letters
        grams = range(max(0, len(line) - _GRAM + 1 - len(letters)), len(line) - _GRAM + 1)
        hits = bytes([known[hash(line[at : at + _GRAM]) % _SLOTS] for at in grams])
        if b"\x01" not in hits and (hits or not self._run):  # as in nearly every text
            self._run = 0
            self._tail = (self._tail + letters)[-_LONGEST:]
            return
        runs = b"\x01" * self._run + hits
        self._run = len(runs) - len(runs.rstrip(b"\x01"))
        whole = self._tail + letters
        if b"\x01" * max(1, secret.shortest - _GRAM + 1) in runs:
            begins = secret.begins(whole, len(self._tail))
            if begins is not None:
                before = runs[: max(0, len(runs) - len(whole) + begins + _GRAM - 1)]
                begins -= len(before) - len(before.rstrip(b"\x01"))  # what led to it is of the secret too
                raise Stop("secret", held[: _back(held, len(whole) - begins)])
        self._run = min(self._run, _LONGEST)
        self._tail = whole[-_LONGEST:]


def _back(text: str, letters: int) -> int:
    """The index in *text* of the letter or digit from which on there are so many; 0 if there are fewer."""
    for at in range(len(text) - 1, -1, -1):
        if text[at].isalnum():
            letters -= 1
            if letters == 0:
                return at
    return 0


def squashed(text: str) -> str:
    """The letters and digits of *text*, small, one character each."""
    if text.isascii():
        word = text.strip()
        if word.isalnum():
            return word.lower()
        return "".join(filter(str.isalnum, text.lower()))
    return "".join([_folded(char) for char in text if char.isalnum()])


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
    """The words of *prompt* that look like keys: long, with letters and digits. Addresses are meant to be told."""
    for found in _WORD.finditer(prompt):
        word = found[0].strip(".:!?*_-")
        plain = squashed(word)
        kinds = [char.isdigit() for char in plain]
        changes = sum(a is not b for a, b in pairwise(kinds))
        keyish = len(plain) >= 10 or (len(plain) >= 8 and changes >= 3)
        if keyish and changes and "@" not in word and "/" not in word:
            yield word
