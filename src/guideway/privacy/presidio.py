"""Names and addresses, found by Microsoft Presidio (extra ``presidio``), beside what patterns find."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Protocol

from guideway.core.errors import GuidewayError
from guideway.core.privacy import Entity
from guideway.privacy.detect import find
from guideway.privacy.found import Found

KINDS: dict[str, Entity] = {"PERSON": "name", "LOCATION": "address", "ADDRESS": "address", "STREET_ADDRESS": "address"}
"""Presidio's names of what patterns cannot find."""

_SURE = 0.5


class Result(Protocol):
    """One find of Presidio: characters, kind, and how sure it is in [0, 1]."""

    start: int
    end: int
    entity_type: str
    score: float


class Analyzer(Protocol):
    """What ``presidio_analyzer.AnalyzerEngine`` does for us."""

    def analyze(self, text: str, language: str, entities: list[str] | None = None) -> Sequence[Result]:
        """What is found in *text*."""


def load_analyzer() -> Analyzer:
    """Presidio's analyser with its default models; slow, and heavy.

    Raises:
        GuidewayError: the extra is not installed.
    """
    try:
        from presidio_analyzer import AnalyzerEngine
    except ImportError as error:
        raise GuidewayError(
            "names and addresses are masked by Presidio, which is not installed",
            where="gateway.masking.presidio",
            try_this="pip install 'guideway[presidio]'",
        ) from error
    made: Analyzer = AnalyzerEngine()
    return made


class WithNames:
    """Finds what patterns find, and names and addresses where nothing else was found."""

    def __init__(self, analyzer: Analyzer, language: str = "en") -> None:
        self._analyzer, self._language = analyzer, language

    def __call__(self, text: str, entities: Collection[Entity]) -> list[Found]:
        """Personal data in *text*, in order, never overlapping."""
        found = find(text, entities)
        for one in self._named(text, entities):
            if all(one.end <= other.start or one.start >= other.end for other in found):
                found.append(one)
        return sorted(found)

    def _named(self, text: str, entities: Collection[Entity]) -> Iterator[Found]:
        kinds = [kind for kind, entity in KINDS.items() if entity in entities]
        if not kinds or not text.strip():
            return
        results = self._analyzer.analyze(text=text, language=self._language, entities=kinds)
        for result in sorted(results, key=lambda one: (-one.score, one.start - one.end)):
            if result.score >= _SURE and result.entity_type in KINDS:
                yield Found(result.start, result.end, KINDS[result.entity_type])
