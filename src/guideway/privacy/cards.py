"""Cards among groups of digits. Each group may be the first of one, so nothing is added up twice."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import accumulate

from guideway.privacy import checks, words
from guideway.privacy.checks import luhn_between
from guideway.privacy.found import Candidate

_GROUPS = re.compile(r"[0-9]+")
_FEWEST, _MOST = 12, 19
_MOST_GROUPS = 6
_SHAPES = frozenset(
    {
        (4, 4, 4, 4),
        (4, 6, 5),
        (4, 6, 4),
        (4, 4, 4, 4, 3),
        (4, 4, 4, 4, 2),
        (4, 4, 4, 4, 1),
        (6, 13),
        (4, 4, 4, 3),
        (8, 8),
    }
)


class Run:
    """The digits of *text* between *start* and *end*, and the places where groups of them begin and end."""

    __slots__ = ("digits", "ends", "offsets", "sizes", "starts", "sums", "text")

    def __init__(self, text: str, start: int, end: int) -> None:
        spans = [found.span() for found in _GROUPS.finditer(text, start, end)]
        self.text = text
        self.starts, self.ends = [one for one, _ in spans], [other for _, other in spans]
        self.sizes = [other - one for one, other in spans]
        self.digits = "".join([text[one:other] for one, other in spans])
        self.offsets = [0, *accumulate(self.sizes)]
        self.sums = checks.luhn_sums(self.digits)

    def is_one(self, first: int, last: int) -> bool:
        """Does the same single separator stand between all groups from *first* to *last*?"""
        if first == last:
            return True
        between = self.text[self.ends[first] : self.starts[first + 1]]
        if between not in {" ", "-"}:
            return False
        number = self.text[self.starts[first] : self.ends[last]]
        return number.count(between) == last - first == len(number) - self.offsets[last + 1] + self.offsets[first]

    def has_known_shape(self, first: int, last: int) -> bool:
        """Are these groups the ones in which cards are printed?"""
        return first == last or tuple(self.sizes[first : last + 1]) in _SHAPES


def read_cards(text: str, start: int, end: int) -> Iterator[Candidate]:
    """Groups of digits that together are a card; a group that belongs to something else may stand on either side."""
    if end - start < _FEWEST:
        return
    run = Run(text, start, end)
    for first, last in _checked(run):
        said = words.before(text, run.starts[first], start)
        told = words.CARD.search(said)
        if (told or run.has_known_shape(first, last)) and _is_card(run, first, last, said, told=told):
            yield Candidate(run.starts[first], run.ends[last], "card", 75)


def _checked(run: Run) -> Iterator[tuple[int, int]]:
    """The first and the last of groups that have as many digits as a card, and its check digit."""
    offsets, sums = run.offsets, run.sums
    fewest, most = min(run.sizes), max(run.sizes)
    for more in range(_MOST_GROUPS):
        if (more + 1) * most < _FEWEST or (more + 1) * fewest > _MOST:
            continue
        for first, (begin, end) in enumerate(zip(offsets, offsets[more + 1 :], strict=False)):
            if _FEWEST <= end - begin <= _MOST and luhn_between(sums, begin, end) and run.is_one(first, first + more):
                yield first, first + more


def _is_card(run: Run, first: int, last: int, said: str, *, told: bool) -> bool:
    """Is it the card of a brand? Where a word before has *told* of a card, it may be of any."""
    digits = run.digits[run.offsets[first] : run.offsets[last + 1]]
    known, alone = checks.is_card_of_a_brand(digits), last == first
    if not known and not told:
        return False
    if digits.count(digits[0]) == len(digits) or _continues(run.text, run.starts[first], run.ends[last]):
        return False
    return not alone or (told and known) or not words.ORDER.search(said)


def _continues(text: str, start: int, end: int) -> bool:
    """Is it a piece of a decimal number or of a word?"""
    before, after = text[max(0, start - 2) : start], text[end : end + 2]
    if after[:1].isascii() and (after[:1].isalpha() or (after[:1] == "." and after[1:].isdigit())):
        return True
    letter = before[-1:].isascii() and before[-1:].isalpha() and before[:1] != "\\"
    return letter or (before[-1:] == "." and before[:1].isdigit())
