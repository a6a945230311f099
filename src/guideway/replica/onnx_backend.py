"""A model exported by the ONNX Runtime GenAI builder, on a plain onnxruntime session.

GroupQueryAttention reads and writes keys and values in one buffer when past and present are bound to the same
memory. So all rows live in one array per layer, a batch is a view of its first rows, and nothing is ever copied,
except one row when another one leaves. The attention mask tells each row's length. A prompt that is being read lives
in the row behind the last.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from guideway.core.errors import SpecError
from guideway.replica.backend import PIECE, SLOTS, Logits
from guideway.replica.memory import Rows
from guideway.replica.session import open_session

FIRST = "first_scored"
"""The input that says from which token on a piece is scored, in graphs that have it. Of a prompt only the end matters,
and the vocabulary is the largest matrix of a small model.
"""
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

    def __init__(self, folder: Path, *, slots: int = SLOTS, threads: int = 1, context: int | None = None) -> None:
        config = _config(folder)
        decoder = config["decoder"]
        self.slots = slots
        self.context = min(context or config["context_length"], config["context_length"])
        self._session = open_session(folder / Path(decoder["filename"]).name, threads)
        inputs = {one.name: one for one in self._session.get_inputs()}
        outputs = {one.name: one for one in self._session.get_outputs()}
        self._past, self._present = _cache_names(decoder)
        self._positions = "position_ids" in inputs
        self._ends = FIRST in {one.name for one in self._session.get_overridable_initializers()}
        if strange := sorted(inputs.keys() - {"input_ids", "attention_mask", "position_ids", *self._past}):
            raise SpecError(f"the graph has inputs we do not know: {', '.join(strange)}", where=str(folder))
        self._kv_type = KV_TYPES[inputs[self._past[0]].type]
        self._logits_type = KV_TYPES[outputs["logits"].type]
        self.vocabulary = int(outputs["logits"].shape[-1])
        shape = (slots, int(decoder["num_key_value_heads"]), self.context, int(decoder["head_size"]))
        self._kv = Rows(shape, self._kv_type, len(self._past))
        # Reserved for the scores of a whole piece, and taken only where they are asked for.
        self._scores = np.empty(max(slots, PIECE) * self.vocabulary, self._logits_type)
        self._firsts = _Firsts()
        self._bindings: dict[tuple[int, int], Any] = {}
        self._lengths: list[int] = []
        self._begun = 0
        self._learned: list[NDArray[Any]] = []

    def learn(self, ids: Sequence[int]) -> None:
        """Keep what reading *ids* gives, apart from all rows, for ``recall``."""
        self._read_on(ids)
        self._learned = [array[len(self._lengths), :, : self._begun].copy() for array in self._kv.arrays]
        self.forget()

    def recall(self) -> None:
        """Begin the prompt that is to join next with what was learned."""
        self._begun = self._kv.put(len(self._lengths), self._learned)

    def read(self, ids: Sequence[int]) -> None:
        """Read a piece of the prompt that is to join next, into the row behind the last."""
        self._read_on(ids)

    def forget(self) -> None:
        """Drop what was read and has not joined."""
        self._begun = 0
        self._kv.free(len(self._lengths))

    def join(self, ids: Sequence[int]) -> Logits:
        """Read the end of a prompt and make it the last row; the scores [vocabulary] of its next token."""
        scores = self._read_on(ids)
        self._lengths.append(self._begun)
        self._begun = 0
        last: Logits = scores[-1].astype(np.float32, copy=False)
        return last

    def step(self, ids: Sequence[int]) -> Logits:
        """Append ``ids[row]`` to every row; the scores [rows, vocabulary] of the next tokens."""
        before = np.array(self._lengths, np.int64)
        scores = self._run(0, np.array(ids, np.int64)[:, None], before)
        self._lengths = [length + 1 for length in self._lengths]
        return scores[:, 0].astype(np.float32, copy=False)

    def leave(self, row: int) -> None:
        """Free *row*; the last row moves into its place, and what is being read behind the last."""
        length, begun = self._lengths.pop(), self._begun
        last = len(self._lengths)
        if row < last:
            self._kv.copy(last, row, length)
            self._lengths[row] = length
        if begun:
            self._kv.copy(last + 1, last, begun)
        self._kv.free(last + 1 if begun else last)

    def reset(self) -> None:
        """Free all rows and drop what was read."""
        self._lengths.clear()
        self._begun = 0
        for row in range(self.slots):
            self._kv.free(row)

    def logits(self, ids: Sequence[int]) -> Logits:
        """The scores [len(ids), vocabulary] after every token of a sequence, as a new array. Needs a free row.

        Raises:
            ValueError: the sequence is empty or longer than the context.
        """
        return self.rescore(0, ids)

    def rescore(self, kept: int, ids: Sequence[int]) -> Logits:
        """The same for a sequence that is the first *kept* tokens of the last one scored, and then *ids*.

        What was kept is not computed again. Between both calls no row may have joined or stepped.

        Raises:
            ValueError: there are no *ids*, or with them the sequence is longer than the context.
        """
        if not 0 < len(ids) <= self.context - kept:
            raise ValueError(f"a sequence of {kept} + {len(ids)} tokens; the context holds {self.context}")
        row = len(self._lengths) + bool(self._begun)
        pieces = (self._read(row, ids[at : at + PIECE], kept + at).copy() for at in range(0, len(ids), PIECE))
        return np.concatenate(list(pieces)).astype(np.float32, copy=False)

    def _read_on(self, ids: Sequence[int]) -> NDArray[Any]:
        """Put *ids* behind what was read; the scores of the last of them, and perhaps of some before it."""
        scores = None
        for start in range(0, len(ids), PIECE):
            piece = ids[start : start + PIECE]
            scores = self._read(len(self._lengths), piece, self._begun, scored=1)
            self._begun += len(piece)
        if scores is None:
            raise ValueError("an empty prompt has no next token")
        return scores

    def _read(self, row: int, ids: Sequence[int], start: int, scored: int | None = None) -> NDArray[Any]:
        scores: NDArray[Any] = self._run(row, np.array([ids], np.int64), np.array([start], np.int64), scored)[0]
        return scores

    def _run(self, row: int, ids: Ints, before: Ints, scored: int | None = None) -> NDArray[Any]:
        """Append ``ids`` [rows, n] to the rows from *row* on, which hold ``before`` [rows] tokens.

        The scores of the last *scored* tokens of each, or of all where that is None or the graph cannot choose.
        """
        rows, count = ids.shape
        given = scored if scored and self._ends else count
        after = before + count
        binding = self._binding(row, rows)
        binding.bind_cpu_input("input_ids", ids)
        mask = (np.arange(after.max()) < after[:, None]).astype(np.int64)
        binding.bind_cpu_input("attention_mask", mask)
        if self._positions:
            binding.bind_cpu_input("position_ids", before[:, None] + np.arange(count))
        if self._ends:
            binding.bind_ortvalue_input(FIRST, self._firsts[count - given])
        scores = self._scores[: rows * given * self.vocabulary].reshape(rows, given, self.vocabulary)
        binding.bind_output("logits", "cpu", 0, self._logits_type, scores.shape, scores.ctypes.data)
        self._kv.touch(row, after)
        self._session.run_with_iobinding(binding)
        return scores

    def _binding(self, row: int, rows: int) -> Any:
        """Past and present of these rows bound to the same memory; kept, for making it costs more than a small step."""
        found = self._bindings.get((row, rows))
        if found is None:
            found = self._session.io_binding()
            for past, present, array in zip(self._past, self._present, self._kv.arrays, strict=True):
                view = array[row : row + rows]
                found.bind_input(past, "cpu", 0, self._kv_type, view.shape, view.ctypes.data)
                found.bind_output(present, "cpu", 0, self._kv_type, view.shape, view.ctypes.data)
            self._bindings[row, rows] = found
        return found


class _Firsts(dict[int, ort.OrtValue]):
    """Numbers as onnxruntime takes them for an input that has a default."""

    def __missing__(self, number: int) -> ort.OrtValue:
        self[number] = made = ort.OrtValue.ortvalue_from_numpy(np.array([number], np.int64))
        return made


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
