"""A model exported by the ONNX Runtime GenAI builder, on a plain onnxruntime session.

GroupQueryAttention reads and writes keys and values in one buffer when past and present are bound to the same
memory. So all rows live in one array per layer, a batch is a view of its first rows, and nothing is ever copied,
except one row when another one leaves. The attention mask tells each row's length.
"""

from __future__ import annotations

import json
import math
import mmap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guideway.core.errors import SpecError, Unavailable
from guideway.replica.backend import Logits
from guideway.replica.session import open_session

PIECE = 256
"""Prompt tokens per run: the scores of one piece are the largest array that a prompt needs."""

KV_TYPES: dict[str, type[np.generic]] = {"tensor(float)": np.float32, "tensor(float16)": np.float16}

Ints = NDArray[np.int64]


class OnnxBackend:
    """The model in *folder*, with *slots* rows and *threads* threads of its own.

    Args:
        folder: ``genai_config.json`` and the graph that it names, with its external data beside it.
        context: tokens per row; the model's own length when None or larger than that.

    Raises:
        SpecError: the folder does not hold such an export.
        Unavailable: the rows do not fit into memory.
    """

    def __init__(self, folder: Path, *, slots: int = 8, threads: int = 1, context: int | None = None) -> None:
        config = _config(folder)
        decoder = config["decoder"]
        self.slots = slots
        self.context = min(context or config["context_length"], config["context_length"])
        self._session = open_session(folder / Path(decoder["filename"]).name, threads)
        inputs = {one.name: one for one in self._session.get_inputs()}
        outputs = {one.name: one for one in self._session.get_outputs()}
        self._past, self._present = _cache_names(decoder)
        self._positions = "position_ids" in inputs
        if strange := sorted(inputs.keys() - {"input_ids", "attention_mask", "position_ids", *self._past}):
            raise SpecError(f"the graph has inputs we do not know: {', '.join(strange)}", where=str(folder))
        self._kv_type = KV_TYPES[inputs[self._past[0]].type]
        self._logits_type = KV_TYPES[outputs["logits"].type]
        self.vocabulary = int(outputs["logits"].shape[-1])
        shape = (slots, int(decoder["num_key_value_heads"]), self.context, int(decoder["head_size"]))
        self._kv = _room(shape, self._kv_type, len(self._past))
        self._scores = np.empty(max(slots, PIECE) * self.vocabulary, self._logits_type)
        self._bindings: dict[tuple[int, int], Any] = {}
        self._lengths: list[int] = []

    def join(self, ids: Sequence[int]) -> Logits:
        """Read a prompt into a new last row; the scores [vocabulary] of its next token."""
        row, scores = len(self._lengths), None
        for start in range(0, len(ids), PIECE):
            scores = self._read(row, ids[start : start + PIECE], start)
        if scores is None:
            raise ValueError("an empty prompt has no next token")
        self._lengths.append(len(ids))
        last: Logits = scores[-1].astype(np.float32, copy=False)
        return last

    def step(self, ids: Sequence[int]) -> Logits:
        """Append ``ids[row]`` to every row; the scores [rows, vocabulary] of the next tokens."""
        before = np.array(self._lengths, np.int64)
        scores = self._run(0, np.array(ids, np.int64)[:, None], before)
        self._lengths = [length + 1 for length in self._lengths]
        return scores[:, 0].astype(np.float32, copy=False)

    def leave(self, row: int) -> None:
        """Free *row*; the last row moves into its place."""
        last = len(self._lengths) - 1
        length = self._lengths.pop()
        if row == last:
            return
        for array in self._kv:
            array[row, :, :length] = array[last, :, :length]
        self._lengths[row] = length

    def reset(self) -> None:
        """Free all rows."""
        self._lengths.clear()

    def logits(self, ids: Sequence[int]) -> Logits:
        """The scores [len(ids), vocabulary] after every token of a sequence, as a new array. Needs a free row.

        Raises:
            ValueError: the sequence is empty or longer than the context.
        """
        if not 0 < len(ids) <= self.context:
            raise ValueError(f"a sequence of {len(ids)} tokens; the context holds {self.context}")
        row = len(self._lengths)
        pieces = (self._read(row, ids[start : start + PIECE], start).copy() for start in range(0, len(ids), PIECE))
        return np.concatenate(list(pieces)).astype(np.float32, copy=False)

    def _read(self, row: int, ids: Sequence[int], start: int) -> NDArray[Any]:
        scores: NDArray[Any] = self._run(row, np.array([ids], np.int64), np.array([start], np.int64))[0]
        return scores

    def _run(self, row: int, ids: Ints, before: Ints) -> NDArray[Any]:
        """Append ``ids`` [rows, n] to the rows from *row* on, which hold ``before`` [rows] tokens."""
        rows, count = ids.shape
        after = before + count
        binding = self._binding(row, rows)
        binding.bind_cpu_input("input_ids", ids)
        mask = (np.arange(after.max()) < after[:, None]).astype(np.int64)
        binding.bind_cpu_input("attention_mask", mask)
        if self._positions:
            binding.bind_cpu_input("position_ids", before[:, None] + np.arange(count))
        scores = self._scores[: rows * count * self.vocabulary].reshape(rows, count, self.vocabulary)
        binding.bind_output("logits", "cpu", 0, self._logits_type, scores.shape, scores.ctypes.data)
        self._session.run_with_iobinding(binding)
        return scores

    def _binding(self, row: int, rows: int) -> Any:
        """Past and present of these rows bound to the same memory; kept, for making it costs more than a small step."""
        found = self._bindings.get((row, rows))
        if found is None:
            found = self._session.io_binding()
            for past, present, array in zip(self._past, self._present, self._kv, strict=True):
                view = array[row : row + rows]
                found.bind_input(past, "cpu", 0, self._kv_type, view.shape, view.ctypes.data)
                found.bind_output(present, "cpu", 0, self._kv_type, view.shape, view.ctypes.data)
            self._bindings[row, rows] = found
        return found


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "genai_config.json"
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["model"]
    except FileNotFoundError:
        raise SpecError(
            "there is no genai_config.json", where=str(folder), try_this="export it with `compress`"
        ) from None
    except (ValueError, KeyError, TypeError):
        raise SpecError("genai_config.json cannot be read", where=str(path)) from None
    return config


def _cache_names(decoder: dict[str, Any]) -> tuple[list[str], list[str]]:
    """The names of all past inputs, and of the present outputs in the same order."""
    ends = ("inputs", "past"), ("outputs", "present")
    names = (
        [
            decoder[side][f"{time}_{part}_names"] % layer
            for layer in range(decoder["num_hidden_layers"])
            for part in ("key", "value")
        ]
        for side, time in ends
    )
    past, present = names
    return past, present


def _room(shape: tuple[int, ...], kind: type[np.generic], count: int) -> list[NDArray[Any]]:
    """Zeroed arrays; the system gives real memory only to the pages that are written."""
    size = math.prod(shape) * np.dtype(kind).itemsize
    try:
        return [np.frombuffer(_pages(size), kind).reshape(shape) for _ in range(count)]
    except OSError:
        raise Unavailable(
            f"no memory for {shape[0]} slots of {shape[2]} tokens", try_this="use fewer --slots or a smaller --context"
        ) from None


def _pages(size: int) -> mmap.mmap:
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    # Huge pages, which numpy would ask for, make a short answer cost as much memory as the longest.
    pages.madvise(mmap.MADV_NOHUGEPAGE)
    return pages
