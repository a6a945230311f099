"""A classifier of bytes: the beginning and the end of a file as numbers, and a graph that came from elsewhere."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from guideway.core.errors import SpecError
from guideway.replica.classifier import (
    GRAPH,
    Classifier,
    Octets,
    OnnxClassifier,
    Probabilities,
    Unreadable,
    read_settings,
    softmax,
)
from guideway.replica.session import open_session

PREFIX = "data:;base64,"
"""How bytes are written as a text (RFC 2397). Any other text stands for its own bytes in UTF-8."""
TYPES: dict[str, type[np.signedinteger]] = {"INT32": np.int32, "INT64": np.int64}


def open_classifier(folder: Path, threads: int = 1) -> Classifier:
    """The classifier in *folder*, of texts or of bytes.

    Raises:
        SpecError: a file is missing or cannot be read.
    """
    if read_settings(folder).octets:
        return OctetClassifier(folder, threads)
    return OnnxClassifier(folder, threads)


class OctetReader:
    """Makes numbers of bytes as *octets* says."""

    def __init__(self, octets: Octets) -> None:
        self._octets = octets

    def encode(self, text: str) -> list[int]:
        """The numbers of the bytes that *text* stands for.

        Raises:
            Unreadable: it is no base64, or has too few bytes.
        """
        return self.numbers(bytes_of(text))

    def numbers(self, content: bytes) -> list[int]:
        """The beginning, filled up behind, then the end, filled up in front.

        Raises:
            Unreadable: there are too few bytes.
        """
        said = self._octets
        first, last = content[: said.block], content[-said.block :]
        if said.strip:
            first, last = first.lstrip(), last.rstrip()
        if len(first) < said.least:
            raise Unreadable(f"{len(first)} bytes are too few to judge", try_this=f"{said.least} are the least")
        begin, end = first[: said.begin], last[max(0, len(last) - said.end) :]
        fill = said.padding
        return [*begin, *[fill] * (said.begin - len(begin)), *[fill] * (said.end - len(end)), *end]


class OctetClassifier:
    """The graph in *folder*, computed by *threads* threads; ``settings`` and ``reader`` belong to it.

    Raises:
        SpecError: a file is missing or cannot be read, or it is a classifier of texts.
    """

    def __init__(self, folder: Path, threads: int = 1) -> None:
        self.settings = read_settings(folder)
        if not self.settings.octets:
            raise SpecError("this classifier reads texts", where=str(folder))
        self._octets = self.settings.octets
        self.reader = OctetReader(self._octets)
        self._session = open_session(folder / GRAPH, threads)

    @property
    def tells(self) -> bool:
        """It tells nothing of outliers."""
        return False

    def rows(self, batch: Sequence[Sequence[int]]) -> Probabilities:
        """The probabilities."""
        return self.probabilities(batch)

    def probabilities(self, batch: Sequence[Sequence[int]]) -> Probabilities:
        """What each row of numbers in *batch* is, computed at once."""
        rows = np.array(batch, TYPES[self._octets.datatype])
        (found,) = self._session.run([self._octets.output], {self._octets.name: rows})
        return softmax(found) if self._octets.softmax else np.asarray(found, np.float32)


def bytes_of(text: str) -> bytes:
    """The bytes that *text* stands for.

    Raises:
        Unreadable: it begins as base64, and is none.
    """
    if not text.startswith(PREFIX):
        return text.encode()
    try:
        return base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except ValueError:  # of binascii, or of letters that no base64 has
        raise Unreadable("this is no base64", try_this=f"{PREFIX} and the bytes in base64") from None
