"""How like an answer is to what was expected, from 0 to 1. Without a model: equal, contained, or words in common.

A word is a run of letters and digits, or a number with its sign and its points. Scripts that are written without spaces
(Chinese, Japanese, Thai and their like) count by the character. Case, width and the form of accents make no difference.
Of a very long answer only the beginning is looked at, so that no answer takes long.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable

from guideway.core.spec.golden import Score

COMPARED = 16_384
"""Characters of an answer that are compared; more than this is expected of none."""
_UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x3007),
    (0x3040, 0x30FF),  # kana
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x3FFFF),
)


def score(kind: Score, answer: str, expected: Iterable[str]) -> float:
    """The best score of *answer* against any of *expected*."""
    return max((_SCORES[kind](answer, one) for one in expected), default=0.0)


def exact(answer: str, expected: str) -> float:
    """1 if both say the same, but for case, spaces and the punctuation around them; 0 for a longer answer."""
    return float(len(answer.strip()) <= COMPARED and _bare(answer) == _bare(expected))


def contains(answer: str, expected: str) -> float:
    """1 if the words of *expected* stand in *answer* in one run: 12 does not stand in 112."""
    wanted, found = words(expected), words(answer)
    if not wanted:
        return float(_bare(expected) in _bare(answer[:COMPARED]))
    return float(_in_one_run(wanted) in _in_one_run(found))


def _in_one_run(found: list[str]) -> str:
    """Words with a space, which is in none of them, on each side."""
    return f" {' '.join(found)} "


def f1(answer: str, expected: str) -> float:
    """The harmonic mean of precision and recall of words, each counted as often as it stands there (as SQuAD does)."""
    wanted, found = words(expected), words(answer)
    if not wanted or not found:
        return exact(answer, expected)
    common = sum((Counter(wanted) & Counter(found)).values())
    return 2.0 * common / (len(wanted) + len(found))


def words(text: str) -> list[str]:
    """The words of the beginning of *text* in their order."""
    found: list[str] = []
    word = ""
    letters = _folded(text[:COMPARED])[:COMPARED]  # some letters become many
    for at, letter in enumerate(letters):
        if _is_unspaced(letter):
            found += [word, letter] if word else [letter]
            word = ""
        elif letter.isalnum() or (word and unicodedata.category(letter)[0] == "M") or _in_number(letters, at, word):
            word += letter
        elif word:
            found.append(word)
            word = ""
    return [*found, word] if word else found


def _folded(text: str) -> str:
    """*text* in one form of letters; every minus is the same one."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).replace("−", "-")


def _bare(text: str) -> str:
    """*text* without the spaces and the punctuation at its ends, but for the sign of a number."""
    folded = " ".join(_folded(text).split())
    begin, end = 0, len(folded)
    while end > begin and _is_around(folded[end - 1]):
        end -= 1
    while begin < end and _is_around(folded[begin]) and not _in_number(folded, begin, ""):
        begin += 1
    return folded[begin:end] or folded


def _is_around(letter: str) -> bool:
    return letter == " " or unicodedata.category(letter)[0] == "P"


def _is_unspaced(letter: str) -> bool:
    code = ord(letter)
    return code >= 0x0E00 and any(first <= code <= last for first, last in _UNSPACED)


def _in_number(letters: str, at: int, word: str) -> bool:
    """Is the letter at *at* the sign before a number, or a point or comma within the number *word*?"""
    if not letters[at + 1 : at + 2].isdigit():
        return False
    if letters[at] == "-":
        return not word and (at == 0 or not letters[at - 1].isalnum())
    return letters[at] in ".," and word[-1:].isdigit()


_SCORES: dict[Score, Callable[[str, str], float]] = {"exact": exact, "contains": contains, "f1": f1}
