"""Words taken out of a text until none is left, also of those that taking one out puts together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class Words:
    """Some words, none of them empty, ready to be taken out of texts."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words = frozenset(words)
        lengths: dict[str, set[int]] = {}
        for word in self._words:
            lengths.setdefault(word[-1], set()).add(len(word))
        self._lengths: Mapping[str, list[int]] = {last: sorted(sizes)[::-1] for last, sizes in lengths.items()}

    def out_of(self, text: str) -> str:
        """*text* without them. What it costs grows with the text, however they stand inside each other."""
        if not any(word in text for word in self._words):
            return text
        left: list[str] = []
        for letter in text:
            left.append(letter)
            for size in self._lengths.get(letter, ()):
                if "".join(left[-size:]) in self._words:
                    del left[-size:]
                    break
        return "".join(left)
