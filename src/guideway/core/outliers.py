"""How unusual a prompt is beside those that a release was made for: length, characters, words and letters. Pure Python.

Each of the three gives a surprise (the negative logarithm of a share), set against the surprise of prompts that were
learnt from: 0 is the middle one, 1 is what one in a hundred reaches. The score of a prompt is the largest of the three.
What share of ordinary prompts scores as high is read off prompts that were held out (a conformal p-value): it is right
for any number of them, whatever the score is like, as long as ordinary prompts come from where those came.

The file is safetensors: ``grams`` (2**bits bytes) and, as 64-bit floats, ``calibration`` in rising order,
``characters``, ``lengths``, ``middle`` and ``scale``; in the metadata ``format`` and ``step``, by which a byte of
``grams`` is multiplied (a float as ``float.hex`` writes it).
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterable, Sequence
from typing import Literal, NamedTuple

import msgspec

from guideway.core.classifier import features

BITS = 16
MASK = (1 << BITS) - 1
LENGTHS = 96
"""Ranges of lengths, four for every doubling."""
LOOKED_AT = 2048
"""Characters of which letters and words are looked at: the first and the last half of them. All count as length."""
PARTS = ("length", "characters", "words")

_FORMAT = "guideway.outliers.v1"
_LOW = bytes(
    0 if 97 <= code <= 122 else 1 if 65 <= code <= 90 else 2 if 48 <= code <= 57 else 3 if code == 32
    else 4 if code in b"\t\n\r" else 5 if code in b".,?!'\"-:;()" else 6 if 32 < code < 127 else 7
    for code in range(256)
)  # fmt: skip
"""ASCII: small and capital letters, digits, space, ends of lines, marks of sentences, other signs, controls."""
_PLAIN = 8
_BLOCKS = (0x01, 0x03, 0x04, 0x05, 0x06, 0x09, 0x0E, 0x20, 0x2E, 0x30, 0x31, 0x34, 0xA0, 0xAC, 0xD8, 0xE0, 0xF9, 0xFF)
"""Where ranges begin among the upper halves of code units: scripts, as far as one byte tells them apart."""
_HIGH = bytes(_PLAIN + sum(high >= begin for begin in _BLOCKS) for high in range(256))
CLASSES = _PLAIN + len(_BLOCKS) + 1


class Pieces(NamedTuple):
    """What is looked at of one prompt: its range of lengths, how many characters of each class, words and letters."""

    length: int
    characters: tuple[int, ...]
    grams: Collection[int]


class Tables(NamedTuple):
    """What was learnt. Surprises by range of lengths, by class of character and by feature; the last in steps.

    ``middle`` and ``scale`` are those of the three parts, in the order of ``PARTS``.
    """

    lengths: Sequence[float]
    characters: Sequence[float]
    grams: Sequence[int]
    step: float
    middle: Sequence[float]
    scale: Sequence[float]


class Reference:
    """Prompts as they usually are. *calibration* are the scores of held-out ones, in rising order."""

    __slots__ = ("_calibration", "_tables")

    def __init__(self, tables: Tables, calibration: Sequence[float]) -> None:
        self._tables, self._calibration = tables, calibration

    @property
    def rows(self) -> int:
        """How many prompts were held out: the smallest share that can be told is 1 / (rows + 1)."""
        return len(self._calibration)

    def parts(self, pieces: Pieces) -> tuple[float, float, float]:
        """The scores of length, characters and words."""
        tables = self._tables
        found = surprises(pieces, tables)
        one, two, three = ((value - at) / by for value, at, by in zip(found, tables.middle, tables.scale, strict=True))
        return one, two, three

    def score(self, pieces: Pieces) -> float:
        """How unusual a prompt of these *pieces* is: any number, the larger the more."""
        return max(self.parts(pieces))

    def share(self, pieces: Pieces) -> float:
        """The share of ordinary prompts that are at least as unusual, in (0, 1]."""
        return self.share_of(self.score(pieces))

    def share_of(self, score: float) -> float:
        """The share of ordinary prompts with at least this *score*, the prompt itself counted among them."""
        held = self._calibration
        return (1 + len(held) - bisect_left(held, score)) / (len(held) + 1)

    def strangest(self, texts: Iterable[str]) -> float | None:
        """The share for prompts that come together; None: there is none."""
        shares = [self.share(pieces_of(text)) for text in texts]
        return strangest(shares) if shares else None


def strangest(shares: Sequence[float]) -> float:
    """The share for texts that come together, which have these *shares* alone; there is one at least.

    Simes' combination: the *k*-th smallest times how many they are, by *k*, where that is least. One strange text among
    many counts for less, else who sends a hundred at once would be an outlier by their number; many strange ones count
    as one does. It holds for shares that are read off the same ordinary texts (Bates et al. 2023, "Testing for outliers
    with conformal p-values").
    """
    count = len(shares)
    return min(1.0, *(share * count / rank for rank, share in enumerate(sorted(shares), 1)))


def is_beyond(share: float, ordinary: float) -> bool:
    """Is a prompt with this *share* more unusual than the share *ordinary* of ordinary ones?"""
    return share <= 1.0 - ordinary + 1e-12


def pieces_of(text: str) -> Pieces:
    """What is looked at of *text*."""
    length = min(LENGTHS - 1, int(4.0 * math.log2(1 + len(text))))
    if len(text) > LOOKED_AT:
        text = text[: LOOKED_AT // 2] + text[-LOOKED_AT // 2 :]
    return Pieces(length, _classes(text), features(text, MASK))


def surprises(pieces: Pieces, tables: Tables) -> tuple[float, float, float]:
    """How surprising length, characters and words of a prompt are, in natural units; words on average."""
    grams, size = tables.grams, sum(pieces.characters)
    told = sum([count * by for count, by in zip(pieces.characters, tables.characters, strict=True) if count])
    words = sum([grams[gram] for gram in pieces.grams]) / len(pieces.grams) if pieces.grams else 255.0
    return tables.lengths[pieces.length], told / size if size else max(tables.characters), words * tables.step


def _classes(text: str) -> tuple[int, ...]:
    """How many characters of *text* are of each class; in whole passes over its bytes, for a loop would be slow."""
    plain = text.encode("ascii", "ignore").translate(_LOW)
    found = [plain.count(number) for number in range(_PLAIN)]
    if len(plain) == len(text):
        return (*found, *([0] * (CLASSES - _PLAIN)))
    high = text.encode("utf-16-be", "surrogatepass")[::2].translate(_HIGH)
    found += [high.count(number) for number in range(_PLAIN, CLASSES)]
    found[_PLAIN] -= len(plain)  # the upper half of ASCII is that of the first range too
    return tuple(found)


def write_reference(tables: Tables, calibration: Iterable[float]) -> bytes:
    """The file of a reference."""
    numbers = {
        "calibration": sorted(calibration),
        "characters": tables.characters,
        "lengths": tables.lengths,
        "middle": tables.middle,
        "scale": tables.scale,
    }
    parts = {name: array("d", values).tobytes() for name, values in numbers.items()} | {"grams": bytes(tables.grams)}
    head: dict[str, object] = {"__metadata__": {"format": _FORMAT, "step": tables.step.hex()}}
    at = 0
    for name, part in parts.items():
        kind, size = ("U8", len(part)) if name == "grams" else ("F64", len(part) // 8)
        head[name] = {"dtype": kind, "shape": [size], "data_offsets": [at, at + len(part)]}
        at += len(part)
    text = msgspec.json.encode(head)
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(parts.values())


class _Tensor(msgspec.Struct, forbid_unknown_fields=True):
    dtype: Literal["F64", "U8"]
    shape: tuple[int]
    data_offsets: tuple[int, int]


class _Metadata(msgspec.Struct, forbid_unknown_fields=True):
    format: Literal["guideway.outliers.v1"]
    step: str


class _Head(msgspec.Struct, forbid_unknown_fields=True):
    metadata: _Metadata = msgspec.field(name="__metadata__")
    calibration: _Tensor
    characters: _Tensor
    grams: _Tensor
    lengths: _Tensor
    middle: _Tensor
    scale: _Tensor


def read_reference(data: bytes) -> Reference:
    """The reference in the bytes of its file.

    Raises:
        ValueError: it is not one, or not whole.
    """
    start = 8 + int.from_bytes(data[:8], "little")
    try:
        head = msgspec.json.decode(data[8 : min(start, 4096)], type=_Head)
        step = float.fromhex(head.metadata.step)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, OverflowError):
        raise ValueError("not the file of a reference for outliers") from None
    body = data[start:]
    lengths, characters = _floats(body, head.lengths, LENGTHS), _floats(body, head.characters, CLASSES)
    middle, scale = _floats(body, head.middle, len(PARTS)), _floats(body, head.scale, len(PARTS))
    calibration = _floats(body, head.calibration)
    grams = _bytes(body, head.grams, "U8")
    sound = len(grams) == MASK + 1 and min(scale) > 0.0 and math.isfinite(step)
    if not sound or list(calibration) != sorted(calibration):
        raise ValueError("the file of the reference for outliers is not whole")
    return Reference(Tables(lengths, characters, grams, step, middle, scale), calibration)


def _floats(body: bytes, tensor: _Tensor, count: int | None = None) -> array[float]:
    part = _bytes(body, tensor, "F64")
    found = array("d", part[: len(part) // 8 * 8])
    if len(part) % 8 or (count is not None and len(found) != count) or not all(map(math.isfinite, found)):
        raise ValueError("the file of the reference for outliers is not whole")
    return found


def _bytes(body: bytes, tensor: _Tensor, kind: str) -> bytes:
    begin, end = tensor.data_offsets
    width = 8 if kind == "F64" else 1
    if tensor.dtype != kind or not 0 <= begin <= end <= len(body) or tensor.shape != ((end - begin) // width,):
        raise ValueError("the file of the reference for outliers is not whole")
    return body[begin:end]
