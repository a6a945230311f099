"""Runs of digits: identity numbers, cards, social security numbers and telephones."""

from __future__ import annotations

import re
from collections.abc import Iterator

from guideway.privacy import checks, words
from guideway.privacy.cards import read_cards
from guideway.privacy.found import LEFT, RIGHT, Candidate, goes_on

RUN = rb"[+(]{0,2}[0-9](?:[ ().\-/]{0,3}[0-9]){6,}"

_RESIDENT = re.compile(
    r"(?<![0-9])[1-9][0-9]{5}[ -]?(?:18|19|20)[0-9]{2}[ -]?(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])"
    r"[ -]?[0-9]{3}[ -]?[0-9Xx]" + RIGHT
)
_SIX = re.compile("[0-9]{6}")
"""Digits in a row that every number of a resident has, and a social security number without separators."""
_OLD_RESIDENT = re.compile(r"(?<![0-9])[1-9][0-9]{7}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])[0-9]{3}" + RIGHT)
_SSN = re.compile(LEFT + r"(?<![-.])[0-9]{3}([- ])[0-9]{2}\1[0-9]{4}(?![-.]?[0-9A-Za-z])")
_BARE_SSN = re.compile(LEFT + r"[0-9]{9}" + RIGHT)
_EXTENSION = 12
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
    size = end - start
    if size >= 9:
        yield from _securities(text, start, end)
    if size >= 12:
        yield from read_cards(text, start, end)
    if size >= 15 and _SIX.search(text, start, end):
        yield from _residents(text, start, end)
    if not (goes_on(text, start) and text[start:end].isdigit()):
        yield from _phones(text, start, end)


def _residents(text: str, start: int, end: int) -> Iterator[Candidate]:
    for found in _RESIDENT.finditer(text, start, end + 2):
        if checks.is_resident_id(re.sub("[ -]", "", found[0])):
            yield Candidate(found.start(), found.end(), "cn_id", 90)
    for found in _OLD_RESIDENT.finditer(text, start, end + 1):
        if checks.is_resident_id(found[0]) and words.RESIDENT.search(words.before(text, found.start(), start)):
            yield Candidate(found.start(), found.end(), "cn_id", 85)


def _securities(text: str, start: int, end: int) -> Iterator[Candidate]:
    for found in _SSN.finditer(text, start, end + 2):
        said = found[1] == "-" or words.SSN.search(words.before(text, found.start(), start))
        if said and checks.is_ssn(re.sub("[ -]", "", found[0])):
            yield Candidate(found.start(), found.end(), "us_ssn", 80)
    for found in _BARE_SSN.finditer(text, start, end + 1) if _SIX.search(text, start, end) else ():
        if checks.is_ssn(found[0]) and words.SSN.search(words.before(text, found.start(), start)):
            yield Candidate(found.start(), found.end(), "us_ssn", 70)


def _phones(text: str, start: int, end: int) -> Iterator[Candidate]:
    run, last = text[start:end], end + _EXTENSION
    if "00" in run or "+" in text[start:last]:
        yield from _foreign(text, start, last)
    for found in _CHINESE.finditer(text, start, last):
        said = words.before(text, found.start(), start)
        if not words.ORDER.search(said) or words.PHONE.search(said):
            yield Candidate(found.start(), found.end(), "phone", 55)
    if not run.isdigit():
        yield from _formatted(text, start, last)
    for found in _ANY.finditer(text, start, last):
        said = words.before(text, found.start(), start)
        told = words.PHONE.search(said) or words.AFTER_PHONE.match(text, found.end())
        if told and not _is_other(found[0]) and not words.ORDER.search(said):
            yield Candidate(found.start(), found.end(), "phone", 40)


def _foreign(text: str, start: int, end: int) -> Iterator[Candidate]:
    for found in _FOREIGN.finditer(text, start, end):
        if 8 <= sum(map(str.isdigit, re.split("x|ext|转", found[0])[0])) <= 15:
            yield Candidate(found.start(), found.end(), "phone", 60)


def _formatted(text: str, start: int, end: int) -> Iterator[Candidate]:
    for found in _FORMATTED.finditer(text, start, end):
        if sum(map(str.isdigit, found[0])) >= 8 and not _is_other(found[0]):
            yield Candidate(found.start(), found.end(), "phone", 50)


def _is_other(text: str) -> bool:
    """Is it a date or an internet address?"""
    return bool(_DATE.fullmatch(text) or _ADDRESS.fullmatch(text))
