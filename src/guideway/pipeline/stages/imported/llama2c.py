"""The format of llama2.c: seven numbers, then all weights of a small Llama in float32, one kind after the other.

Source: ``legacy_export`` in export.py of https://github.com/karpathy/llama2.c. The file names no tokenizer: what is
imported speaks in token ids.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from guideway.core.errors import Corrupt, SpecError
from guideway.core.protocols import Job
from guideway.core.spec import Imported
from guideway.pipeline.stages.imported.ids import write_ids_tokenizer
from guideway.pipeline.stages.imported.llama import write_llama

Floats = NDArray[np.float32]
HEADER = struct.Struct("<7i")
MAGIC = 0x616B3432
"""How later formats of llama2.c begin; they hold versions and quantised weights."""
LEAST = 3
"""Token ids: two of them begin and end a text."""
LARGEST = 1 << 20
"""Of any number in the header: no real model has a larger one, and their products stay exact."""


class Shape(NamedTuple):
    """The seven numbers. ``shared``: the embeddings are also the last layer (vocabulary is negative where not)."""

    width: int
    feed_forward: int
    layers: int
    heads: int
    kv_heads: int
    vocabulary: int
    context: int
    shared: bool

    @property
    def head(self) -> int:
        """Numbers of one head."""
        return self.width // self.heads


def bring_in(job: Job, path: Path, _about: Imported) -> int:
    """Write the model in the file at *path* to ``job.out`` as a Hugging Face folder; how many weights it has.

    Raises:
        SpecError: it is no such file.
        Corrupt: it has more or fewer bytes than its header says, or weights that are no numbers.
    """
    shape, weights = read(path)
    count = write_llama(shape, weights, job.out)
    write_ids_tokenizer(job.out, shape.vocabulary, shape.context)
    job.fact(f"the file has no tokenizer: token ids from 0 to {shape.vocabulary - 1} in, token ids out")
    return count


def read(path: Path) -> tuple[Shape, dict[str, Floats]]:
    """Shape and weights of the file at *path*, by their names in llama2.c. The weights are views of the file.

    Raises:
        SpecError, Corrupt: as above.
    """
    shape = _shape(path)
    parts = _parts(shape)
    wanted = HEADER.size + 4 * sum(int(np.prod(size, dtype=object)) for size in parts.values())
    found = path.stat().st_size
    if found != wanted:
        raise Corrupt(f"a model of this shape has {wanted:,} bytes, and the file has {found:,}", where=path.name)
    data = np.memmap(path, "<f4", "r", offset=HEADER.size)
    weights, at = {}, 0
    for name, size in parts.items():
        count = int(np.prod(size))
        weights[name], at = data[at : at + count].reshape(size), at + count
    for name, weight in weights.items():
        if not np.isfinite(weight).all():
            raise Corrupt(f"{name} holds weights that are NaN or infinite", where=path.name)
    return shape, weights


def _shape(path: Path) -> Shape:
    with path.open("rb") as file:
        head = file.read(HEADER.size)
    if len(head) < HEADER.size:
        raise Corrupt("the file ends within its header", where=path.name)
    width, feed_forward, layers, heads, kv_heads, vocabulary, context = HEADER.unpack(head)
    if head[:4] in (MAGIC.to_bytes(4, "little"), MAGIC.to_bytes(4, "big")):
        raise SpecError("only the first format of llama2.c is read", where=path.name, try_this="export.py --version 0")
    shape = Shape(width, feed_forward, layers, heads, kv_heads, abs(vocabulary), context, vocabulary > 0)
    if not all(0 < one <= LARGEST for one in shape[:7]) or shape.vocabulary < LEAST:
        raise SpecError("this is no file of llama2.c: its header makes no sense", where=path.name)
    if shape.width % shape.heads or shape.heads % shape.kv_heads or shape.head % 2:
        said = f"{shape.width} wide with {shape.heads} heads and {shape.kv_heads} of keys"
        raise SpecError(f"this is no file of llama2.c: {said}", where=path.name)
    return shape


def _parts(shape: Shape) -> dict[str, tuple[int, ...]]:
    """Every kind of weight in the order of the file, with its shape."""
    layers, width, keys = shape.layers, shape.width, shape.kv_heads * shape.head
    parts: dict[str, tuple[int, ...]] = {
        "token_embedding": (shape.vocabulary, width),
        "rms_att": (layers, width),
        "wq": (layers, width, width),
        "wk": (layers, keys, width),
        "wv": (layers, keys, width),
        "wo": (layers, width, width),
        "rms_ffn": (layers, width),
        "w1": (layers, shape.feed_forward, width),
        "w2": (layers, width, shape.feed_forward),
        "w3": (layers, shape.feed_forward, width),
        "rms_final": (width,),
        "rotary": (2, shape.context, shape.head // 2),
    }
    return parts if shape.shared else {**parts, "classifier": (shape.vocabulary, width)}
