"""sentencepiece models: pieces with scores, and the settings of their training; nothing else."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from guideway.sealing.scanner.findings import Malformed
from guideway.sealing.scanner.protobuf import BYTES, FIXED32, VARINT, Field, fields
from guideway.sealing.scanner.source import Said, Source, Strings

PIECE, TRAINER, NORMALIZER = 1, 2, 3
SETTINGS = 64
"""Parts with settings; there are four in a real model."""
TOP = frozenset({PIECE, TRAINER, NORMALIZER, 4, 5})
PIECES = {1: BYTES, 2: FIXED32, 3: VARINT}
"""Text, score and type of a piece."""


def look(source: Source) -> Iterable[Said] | None:
    """The settings as strings when the file is a sentencepiece model."""
    if not source.starts(b"\x0a"):
        return None
    try:
        settings = list(itertools.islice(_settings(source), SETTINGS + 1))
    except Malformed:
        return None
    if len(settings) > SETTINGS:
        return None
    numbers = {field.number for field in settings}
    if not {TRAINER, NORMALIZER} <= numbers:
        return None
    return [Strings(b"\n".join(source.data[field.begin : field.end] for field in settings))]


def _settings(source: Source) -> Iterator[Field]:
    for field in fields(source.data, 0, source.size):
        if field.number not in TOP or field.wire != BYTES:
            raise Malformed("unknown-format", "is no sentencepiece model")
        if field.number != PIECE:
            for _ in fields(source.data, field.begin, field.end):
                pass
            yield field
        elif any(PIECES.get(part.number) != part.wire for part in fields(source.data, field.begin, field.end)):
            raise Malformed("unknown-format", "is no sentencepiece model")
