"""Runs of digits: identity numbers, cards, social security numbers and telephones."""

from __future__ import annotations

import re
from collections.abc import Iterator

from guideway.privacy import checks, words
from guideway.privacy.found import LEFT, RIGHT, Candidate

RUN = rb"[+(]{0,2}[0-9](?:[ ().\-/]{0,3}[0-9]){6,}"

_RESIDENT = re.compile(
    r"(?<![0-9])[1-9][0-9]{5}[ -]?(?:18|19|20)[0-9]{2}[ -]?(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])"
    r"[ -]?[0-9]{3}[ -]?[0-9Xx]" + RIGHT
)
_OLD_RESIDENT = re.compile(r"(?<![0-9])[1-9][0-9]{7}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])[0-9]{3}" + RIGHT)
_SSN = re.compile(LEFT + r"(?<![-.])[0-9]{3}([- ])[0-9]{2}\1[0-9]{4}(?![-.]?[0-9A-Za-z])")
_BARE_SSN = re.compile(LEFT + r"[0-9]{9}" + RIGHT)
_GROUPS = re.compile(r"[0-9]+")
_CARD_SHAPES = frozenset(
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
_TAIL = r"(?: ?(?:x|ext\.? ?|转) ?[0-9]{1,6})?" + RIGHT
_START = LEFT + r"(?<![+.])"
_FIRST = _START + r"(?<![0-9][ .\-/])"
_FOREIGN = re.compile(
    r"(?:(?<![0-9A-Za-z+])|(?<=\\[nrtbf]))(?:\+ ?\(?|\(\+|(?<![0-9][ .\-/])00(?=[1-9][0-9]{0,2}[ .\-/(]))"
    r"[1-9][0-9]{0,2}(?:[ .\-/]{0,2}[()]?[0-9]{1,14}+\)?){1,6}" + _TAIL  # possessive: else a long number takes for ever
)
_CHINESE = re.compile(_START + r"(?:\(?(?:00)?86\)?[ -]?)?1[3-9][0-9][ -]?[0-9]{4}[ -]?[0-9]{4}" + _TAIL)
_FORMATTED = re.compile(
    _FIRST
    + r"(?:(?:(?:1|001)[ .\-])?(?:\([0-9]{3}\) ?|[0-9]{3}([ .\-]))[0-9]{3}[ .\-][0-9]{4}"  # North America
    + r"|\((?!19|20)[0-9]{2,4}\) ?[0-9]{2,8}(?:[ \-][0-9]{2,5}){0,3}"  # area code in brackets
    + r"|0[0-9]{1,4}[ \-][0-9]{6,8}(?:-[0-9]{1,6})?|[48]00-[0-9]{3,4}-[0-9]{3,4}"  # trunk prefix, service numbers
    + r"|0[0-9]{1,4}([ .\-/])[0-9]{2,4}(?:\2[0-9]{2,4}){1,4})"
    + _TAIL
)
_ANY = re.compile(_FIRST + r"\(?[0-9](?:[ ().\-/]{0,2}[0-9]){6,14}" + _TAIL)
_DATE = re.compile(
    r"(?:(?:19|20)[0-9]{2}([-./ ])[0-9]{1,2}\1[0-9]{1,2}"
    r"|[0-9]{1,2}([-./ ])[0-9]{1,2}\2(?:19|20)[0-9]{2}|(?:19|20)[0-9]{6})"
    r"(?: ?[0-9]{1,2})?"
)
_ADDRESS = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}")


def read_numbers(text: str, start: int, end: int) -> Iterator[Candidate]:
    """What the run of digits at *start* to *end* of *text* may be."""
    yield from _identities(text, start, end)
    yield from _cards(text, start, end)
    yield from _phones(text, start, min(end + 12, len(text)))


def _identities(text: str, start: int, end: int) -> Iterator[Candidate]:
    for found in _RESIDENT.finditer(text, start, end + 2):
        if checks.is_resident_id(re.sub("[ -]", "", found[0])):
            yield Candidate(found.start(), found.end(), "cn_id", 90)
    for found in _OLD_RESIDENT.finditer(text, start, end + 1):
        if checks.is_resident_id(found[0]) and words.RESIDENT.search(words.before(text, found.start())):
            yield Candidate(found.start(), found.end(), "cn_id", 85)
    for found in _SSN.finditer(text, start, end + 2):
        said = found[1] == "-" or words.SSN.search(words.before(text, found.start()))
        if said and checks.is_ssn(re.sub("[ -]", "", found[0])):
            yield Candidate(found.start(), found.end(), "us_ssn", 80)
    for found in _BARE_SSN.finditer(text, start, end + 1):
        if checks.is_ssn(found[0]) and words.SSN.search(words.before(text, found.start())):
            yield Candidate(found.start(), found.end(), "us_ssn", 70)


def _cards(text: str, start: int, end: int) -> Iterator[Candidate]:
    """Groups of digits that together are a card; a group that belongs to something else may stand on either side."""
    groups = [found.span() for found in _GROUPS.finditer(text, start, end)]
    for first, (begin, _) in enumerate(groups):
        size, separator = 0, ""
        for last in range(first, min(first + 6, len(groups))):
            between = text[groups[last - 1][1] : groups[last][0]] if last > first else separator
            if last > first and (between not in {" ", "-"} or separator not in {"", between}):
                break
            separator = between
            size += groups[last][1] - groups[last][0]
            if 12 <= size <= 19 and _is_card(text, groups[first : last + 1]):
                yield Candidate(begin, groups[last][1], "card", 75)


def _is_card(text: str, groups: list[tuple[int, int]]) -> bool:
    start, end = groups[0][0], groups[-1][1]
    digits = "".join(text[one:other] for one, other in groups)
    if not checks.luhn(digits) or digits.count(digits[0]) == len(digits) or _continues(text, start, end):
        return False
    said = words.before(text, start)
    is_order = len(groups) == 1 and words.ORDER.search(said) is not None
    if words.CARD.search(said):
        return checks.is_card_of_a_brand(digits) or not is_order
    shape = tuple(other - one for one, other in groups)
    return checks.is_card_of_a_brand(digits) and not is_order and (len(groups) == 1 or shape in _CARD_SHAPES)


def _continues(text: str, start: int, end: int) -> bool:
    """Is it a piece of a decimal number or of a word?"""
    before, after = text[max(0, start - 2) : start], text[end : end + 2]
    if after[:1].isascii() and (after[:1].isalpha() or (after[:1] == "." and after[1:].isdigit())):
        return True
    letter = before[-1:].isascii() and before[-1:].isalpha() and before[:1] != "\\"
    return letter or (before[-1:] == "." and before[:1].isdigit())


def _phones(text: str, start: int, end: int) -> Iterator[Candidate]:
    for found in _FOREIGN.finditer(text, start, end):
        if 8 <= sum(map(str.isdigit, re.split("x|ext|转", found[0])[0])) <= 15:
            yield Candidate(found.start(), found.end(), "phone", 60)
    for found in _CHINESE.finditer(text, start, end):
        said = words.before(text, found.start())
        if not words.ORDER.search(said) or words.PHONE.search(said):
            yield Candidate(found.start(), found.end(), "phone", 55)
    for found in _FORMATTED.finditer(text, start, end):
        if sum(map(str.isdigit, found[0])) >= 8 and not _is_other(found[0]):
            yield Candidate(found.start(), found.end(), "phone", 50)
    for found in _ANY.finditer(text, start, end):
        told = words.PHONE.search(words.before(text, found.start())) or words.AFTER_PHONE.match(text, found.end())
        if told and not _is_other(found[0]) and not words.ORDER.search(words.before(text, found.start())):
            yield Candidate(found.start(), found.end(), "phone", 40)


def _is_other(text: str) -> bool:
    """Is it a date or an internet address?"""
    return bool(_DATE.fullmatch(text) or _ADDRESS.fullmatch(text))
