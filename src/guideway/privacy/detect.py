"""Find personal data in text. One pass decides whether anything is there; only then is the text read closely."""

from __future__ import annotations

import bisect
import re
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

import re2

from guideway.core.privacy import DEFAULT, Entity
from guideway.privacy import encoded, numbers, tokens
from guideway.privacy.fold import Folded, fold
from guideway.privacy.found import Candidate, Found

Reader = Callable[[str, int, int], Iterator[Candidate]]

PATTERN_ENTITIES: frozenset[Entity] = frozenset(DEFAULT) - {"name", "address"}
"""What is found without an analyser of language."""

_DEPTH = 2


class Shape(NamedTuple):
    """A pattern that many things have, and the reader that tells what a match is."""

    pattern: bytes
    read: Reader


_SHAPES = (
    Shape(numbers.RUN, numbers.read_numbers),
    Shape(tokens.EMAIL, tokens.read_email),
    Shape(tokens.URL, tokens.read_url),
    Shape(tokens.IPV4, tokens.read_ipv4),
    Shape(tokens.IPV6, tokens.read_ipv6),
    Shape(tokens.MAC, tokens.read_mac),
    Shape(tokens.DOCUMENT, tokens.read_document),
    Shape(tokens.COMPANY, tokens.read_company),
    Shape(tokens.IBAN, tokens.read_iban),
    Shape(tokens.KEY, tokens.read_key),
    Shape(tokens.PRIVATE, tokens.read_private),
    Shape(tokens.NAMED, tokens.read_named),
)


def find(text: str, entities: Collection[Entity] = PATTERN_ENTITIES) -> list[Found]:
    """The personal data in *text* of the kinds *entities*, in order; of what overlaps the surest, then the longest."""
    view = fold(text)
    return [Found(*view.span(one.start, one.end), one.entity) for one in _look(view, entities, _DEPTH)]


def suspicious(text: str) -> bool:
    """False when ``find`` finds nothing in *text*, nor in any part of it; cheap."""
    view = fold(text)
    return bool(_fired(view)) or _has_han(view)


def _look(view: Folded, entities: Collection[Entity], depth: int) -> list[Candidate]:
    candidates = [one for one in _candidates(view, entities, depth) if one.entity in entities]
    return _resolved(candidates) if candidates else []


def _candidates(view: Folded, entities: Collection[Entity], depth: int) -> Iterator[Candidate]:
    for index in _fired(view):
        if index == len(_SHAPES):
            yield from _encoded(view, entities, depth)
            continue
        read = _SHAPES[index].read
        if read is tokens.read_iban:
            yield from tokens.read_ibans(view.plain)
            continue
        for found in _PATTERNS[index].finditer(view.flat):
            yield from read(view.plain, *found.span())
    if _has_han(view):
        yield from tokens.read_han(view.plain)


def _encoded(view: Folded, entities: Collection[Entity], depth: int) -> Iterator[Candidate]:
    """Runs of base64 in which something is found: the whole run is what the surest thing inside is."""
    if depth == 0:
        return
    for found in _PATTERNS[len(_SHAPES)].finditer(view.flat):
        start, end = found.span()
        text = encoded.decode(view.plain[start:end])
        inside = _look(fold(text), entities, depth - 1) if text else []
        if inside:
            yield Candidate(start, end, max(inside, key=lambda one: one.certainty).entity, 97)


def _resolved(candidates: list[Candidate]) -> list[Candidate]:
    """Those that stay where candidates overlap."""
    kept: list[Candidate] = []
    heap: list[Candidate] = []
    end = 0
    for one in sorted(candidates):
        if one.start >= end:
            kept += _surest(heap)
            heap = []
        heap.append(one)
        end = max(end, one.end)
    return kept + _surest(heap)


def _surest(heap: list[Candidate]) -> list[Candidate]:
    """Those that stay of some that overlap one by one."""
    if len(heap) < 2:
        return heap
    kept: list[Candidate] = []
    taken: list[tuple[int, int]] = []
    for one in sorted(heap, key=lambda one: (-one.certainty, one.start - one.end, one.start)):
        if not _overlaps(taken, one):
            bisect.insort(taken, (one.start, one.end))
            kept.append(one)
    return sorted(kept)


def _overlaps(taken: list[tuple[int, int]], one: Candidate) -> bool:
    at = bisect.bisect_left(taken, (one.start, one.end))
    before = at > 0 and taken[at - 1][1] > one.start
    return before or (at < len(taken) and taken[at][0] < one.end)


def _has_han(view: Folded) -> bool:
    return not view.plain.isascii() and any(word in view.plain for word in tokens.HAN_WORDS)


def _options() -> re2.Options:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.max_mem = 32 << 20
    return options


def _one_pass() -> Callable[[bytes], list[int]]:
    every = re2.Set.SearchSet(_options())
    for pattern in _ALL:
        every.Add(pattern)
    every.Compile()

    def fired(flat: bytes) -> list[int]:
        return every.Match(flat) or []

    return fired


_ALL = (*(shape.pattern for shape in _SHAPES), encoded.RUN)
_BOUNDED = frozenset({numbers.RUN, tokens.IPV4, tokens.IPV6, tokens.MAC, tokens.DOCUMENT, tokens.COMPANY})
"""Patterns that never go back further than a few characters: for them ``re`` is as safe as RE2, and tells more quickly
where each match is.
"""
_PATTERNS = [re.compile(one) if one in _BOUNDED else re2.compile(one, _options()) for one in _ALL]
_match = _one_pass()


def _fired(view: Folded) -> list[int]:
    """Which patterns match somewhere."""
    return _match(view.flat)
