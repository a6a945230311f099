"""A text classifier: how texts become tokens, and the exported model on ONNX Runtime. Evaluation uses this code too."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from guideway.core.errors import GuidewayError, SpecError
from guideway.replica.meaning import FILE as MEANING
from guideway.replica.meaning import Features, read_meaning
from guideway.replica.session import open_session
from guideway.replica.settings import read_file, write_file

FILE = "classifier.json"
GRAPH = "model.onnx"

Probabilities = NDArray[np.float32]
"""One row per text, one column per class; a row sums to 1."""
Rows = NDArray[np.floating[Any]]
LOGITS, FEATURES = "logits", "features"
"""Outputs of the graph. The second, what the encoder makes of a text, is there where outliers are told."""


class Octets(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The fixed input ``name`` [rows, begin + end] of a graph, how bytes become it, and its output.

    ``softmax``: the output is not probabilities yet. The other keys are those of the spec.
    """

    name: str
    datatype: Literal["INT32", "INT64"]
    output: str
    softmax: bool
    begin: int
    end: int
    padding: int
    block: int
    strip: bool
    least: int

    @property
    def size(self) -> int:
        """How many numbers a row has."""
        return self.begin + self.end


class ClassifierSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``classifier.json``: the classes in the order of the outputs, and how sure of one the model has to be.

    A text whose best class has less than ``threshold`` is ``out_of_scope``. A text counts up to ``max_tokens``.
    With ``octets`` it is bytes that are classified, and no tokenizer is there.
    """

    labels: tuple[str, ...]
    max_tokens: int
    threshold: float = 0.0
    out_of_scope: str = ""
    octets: Octets | msgspec.UnsetType = msgspec.UNSET

    def label_of(self, row: NDArray[Any]) -> str:
        """The label that a text with the probabilities *row* gets."""
        best = int(row.argmax())
        return self.out_of_scope if row[best] < self.threshold else self.labels[best]


def read_settings(folder: Path) -> ClassifierSettings:
    """``classifier.json`` in *folder*.

    Raises:
        SpecError: it is not there, or not what it should be.
    """
    found = read_file(folder, FILE, ClassifierSettings, "is this a classifier?")
    short = found.max_tokens < (1 if found.octets else 3)
    if len(set(found.labels)) < max(2, len(found.labels)) or short or not math.isfinite(found.threshold):
        raise SpecError("two different labels and three tokens are the least", where=str(folder / FILE))
    return found


def write_settings(folder: Path, settings: ClassifierSettings) -> None:
    """Write ``classifier.json`` into *folder*."""
    write_file(folder, FILE, settings)


class Unreadable(GuidewayError):
    """What came cannot be made the input of a classifier."""


class Reader(Protocol):
    """Makes the input of a classifier of a text."""

    def encode(self, text: str) -> list[int]:
        """The numbers that the model reads."""


class Classifier(Protocol):
    """A model that serves, with what it is and how it reads."""

    @property
    def settings(self) -> ClassifierSettings:
        """``classifier.json``."""

    @property
    def reader(self) -> Reader:
        """What goes before the model."""

    @property
    def tells(self) -> bool:
        """Does it tell how far a text is from what it learnt?"""

    def probabilities(self, batch: Sequence[Sequence[int]]) -> Probabilities:
        """What each of the sequences in *batch* is."""

    def rows(self, batch: Sequence[Sequence[int]]) -> Rows:
        """Their probabilities; where it ``tells``, a last column says what share of ordinary texts is as far off."""


class TextReader:
    """The tokenizer in *folder*: a text in at most ``max_tokens`` tokens, with what stands around it.

    Raises:
        SpecError: there is no tokenizer, or it cannot be read.
    """

    def __init__(self, folder: Path, max_tokens: int) -> None:
        path = folder / "tokenizer.json"
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:
            raise SpecError(f"the tokenizer cannot be read: {error}", where=str(path)) from None
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_tokens)
        self._tokenizer.encode_special_tokens = True  # what looks like a special token in a text is only text

    def encode(self, text: str) -> list[int]:
        """Token ids of *text*; never empty for a tokenizer that puts something around a text."""
        ids: list[int] = self._tokenizer.encode(text).ids
        return ids

    def read(self, text: str) -> tuple[list[int], bool]:
        """Token ids of *text*, and whether it has more of them than are read."""
        found = self._tokenizer.encode(text)
        return found.ids, bool(found.overflowing)

    def spans(self, text: str) -> list[tuple[int, int]]:
        """The characters ``[start, end)`` of *text* that each of its token ids stands for; (0, 0) for none."""
        spans: list[tuple[int, int]] = self._tokenizer.encode(text).offsets
        return spans


class OnnxClassifier:
    """The export in *folder*, computed by *threads* threads; ``settings`` and ``reader`` belong to it.

    Raises:
        SpecError: a file is missing or cannot be read, or they do not fit together.
    """

    def __init__(self, folder: Path, threads: int = 1) -> None:
        self.settings = read_settings(folder)
        self.reader: TextReader = TextReader(folder, self.settings.max_tokens)
        self._session = open_session(folder / GRAPH, threads)
        self._meaning = read_meaning(folder) if (folder / MEANING).is_file() else None
        shapes = {one.name: one.shape for one in self._session.get_outputs()}
        self.gives_features = FEATURES in shapes
        wide = shapes[FEATURES][-1] if self.gives_features else 0
        if self._meaning is not None and isinstance(wide, int) and wide != self._meaning.width:
            raise SpecError(f"the model does not give the features that {MEANING} is about", where=str(folder / GRAPH))

    @property
    def tells(self) -> bool:
        """Does it tell how far a text is from what it learnt?"""
        return self._meaning is not None

    def probabilities(self, batch: Sequence[Sequence[int]]) -> Probabilities:
        """What each of the sequences of token ids in *batch* is, computed at once."""
        return softmax(self._computed(batch, LOGITS)[0])

    def features(self, batch: Sequence[Sequence[int]]) -> Features:
        """What the encoder makes of each of the sequences [rows, width], where the graph ``gives_features``."""
        return np.asarray(self._computed(batch, FEATURES)[0], np.float32)

    def rows(self, batch: Sequence[Sequence[int]]) -> Rows:
        """Probabilities, and the share where it ``tells``: in double precision, for a bound is a share too."""
        if self._meaning is None:
            return self.probabilities(batch)
        logits, features = self._computed(batch, LOGITS, FEATURES)
        shares = self._meaning.shares(np.asarray(features, np.float32))
        return np.concatenate([softmax(logits), shares[:, None]], axis=1)

    def _computed(self, batch: Sequence[Sequence[int]], *outputs: str) -> list[NDArray[Any]]:
        given = dict(zip(("input_ids", "attention_mask"), padded(batch), strict=True))
        found: list[NDArray[Any]] = self._session.run(list(outputs), given)
        return found


def padded(batch: Sequence[Sequence[int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ids and attention mask of *batch*, filled up on the right to the longest."""
    shape = len(batch), max(map(len, batch))
    ids, mask = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for row, tokens in enumerate(batch):
        ids[row, : len(tokens)] = tokens
        mask[row, : len(tokens)] = 1
    return ids, mask


def softmax(logits: NDArray[Any]) -> Probabilities:
    """Probabilities of each row of *logits*; a row that is not finite stays so."""
    wide = logits.astype(np.float64)
    with np.errstate(invalid="ignore"):
        wide = np.exp(wide - wide.max(axis=-1, keepdims=True))
        found: Probabilities = (wide / wide.sum(axis=-1, keepdims=True)).astype(np.float32)
    return found
