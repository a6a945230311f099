"""A model exported to OpenVINO IR, on a plain OpenVINO session whose attention is paged.

Keys and values lie in blocks that any sequence may own, so rows of any length are one call, nothing is padded and
nothing is copied when a row leaves. Every slot owns its blocks for good; what is reserved is taken only for tokens.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from guideway.core.errors import GuidewayError, SpecError, Unavailable
from guideway.replica.backend import PIECE, SLOTS, Logits
from guideway.replica.memory import Rows

GRAPH = "openvino_model.xml"
SAMPLED = "sampled_tokens_indices"
"""Which tokens of a batch are scored: the vocabulary is the largest matrix, and of a prompt only the end matters."""
GIVEN = {
    "block_indices", "block_indices_begins", "input_ids", "max_context_len", "past_lens", "position_ids",
    "subsequence_begins", SAMPLED,
}  # fmt: skip
"""What a graph with paged attention may want to know of a batch, beside where keys and values lie."""
SETTINGS: dict[str, object] = {
    "ENABLE_CPU_PINNING": False,
    "INFERENCE_PRECISION_HINT": "f32",
    "KV_CACHE_PRECISION": "f32",
    "NUM_STREAMS": 1,
}
"""The same numbers on every processor: by itself OpenVINO computes in bfloat16 where there is hardware for it."""
SPARE = 2
"""Slots beside those that answer: what was learned, and a sequence that is scored."""


class Part(NamedTuple):
    """The tokens *ids* of the sequence in *slot*, behind the *before* tokens that it has."""

    slot: int
    ids: Sequence[int]
    before: int


class OpenVinoBackend:
    """The model in *folder*, with *slots* rows and *threads* threads of its own.

    Args:
        folder: ``openvino_model.xml``, its weights, and ``config.json``.
        context: tokens per row; the model's own length when None or larger than that.

    Raises:
        SpecError: the folder does not hold such an export.
        Unavailable: OpenVINO is not installed, or the rows do not fit into memory.
    """

    def __init__(self, folder: Path, *, slots: int = SLOTS, threads: int = 1, context: int | None = None) -> None:
        longest = _context(folder)
        self.slots, self.context = slots, min(context or longest, longest)
        session = _open(folder / GRAPH, threads)
        self._request = session.create_infer_request()
        shapes = {one.any_name: one.partial_shape for one in session.inputs}
        self._names = shapes.keys() & GIVEN
        if strange := sorted(one for one in shapes.keys() - GIVEN if "_cache." not in one):
            raise SpecError(f"the graph has inputs we do not know: {', '.join(strange)}", where=str(folder))
        self.vocabulary = int(session.output("logits").partial_shape[-1].get_length())
        self._block = int(shapes["value_cache.0"][2].get_length())
        self._each = math.ceil(self.context / self._block)
        self._kv = self._caches(session)
        self._free = list(range(slots))
        self._seats: list[int] = []
        self._lengths: list[int] = []
        self._reading: int | None = None
        self._begun = self._learned = 0

    def learn(self, ids: Sequence[int]) -> None:
        """Keep what reading *ids* gives, apart from all rows, for ``recall``."""
        self._read(self.slots, ids, 0)
        self._learned = len(ids)

    def recall(self) -> None:
        """Begin the prompt that is to join next with what was learned."""
        slot = self._seat()
        blocks = math.ceil(self._learned / self._block)
        for rows in self._kv:
            for array in rows.arrays:
                array[slot, :blocks] = array[self.slots, :blocks]
        self._begun = self._learned

    def read(self, ids: Sequence[int]) -> None:
        """Read a piece of the prompt that is to join next."""
        self._begun += len(ids)
        self._read(self._seat(), ids, self._begun - len(ids))

    def forget(self) -> None:
        """Drop what was read and has not joined."""
        if self._reading is not None:
            self._give_back(self._reading, self._begun)
        self._reading, self._begun = None, 0

    def join(self, ids: Sequence[int]) -> Logits:
        """Read the end of a prompt and make it the last row; the scores [vocabulary] of its next token."""
        slot = self._seat()
        scores = self._read(slot, ids, self._begun)
        self._seats.append(slot)
        self._lengths.append(self._begun + len(ids))
        self._reading, self._begun = None, 0
        return scores

    def step(self, ids: Sequence[int]) -> Logits:
        """Append ``ids[row]`` to every row; the scores [rows, vocabulary] of the next tokens."""
        rows = zip(self._seats, ids, self._lengths, strict=True)
        scores = self._run([Part(slot, [token], before) for slot, token, before in rows], range(len(ids)))
        self._lengths = [length + 1 for length in self._lengths]
        return scores

    def leave(self, row: int) -> None:
        """Free *row*. The last row takes its number."""
        self._give_back(self._seats[row], self._lengths[row])
        for kept in (self._seats, self._lengths):
            kept[row] = kept[-1]
            kept.pop()

    def reset(self) -> None:
        """Free all rows and drop what was read."""
        self.forget()
        while self._seats:
            self.leave(len(self._seats) - 1)

    def logits(self, ids: Sequence[int]) -> Logits:
        """The scores [len(ids), vocabulary] after every token of a sequence, as a new array.

        Raises:
            ValueError: the sequence is empty or longer than the context.
        """
        return self.rescore(0, ids)

    def rescore(self, kept: int, ids: Sequence[int]) -> Logits:
        """The same for a sequence that is the first *kept* tokens of the last one scored, and then *ids*.

        Raises:
            ValueError: there are no *ids*, or with them the sequence is longer than the context.
        """
        if not 0 < len(ids) <= self.context - kept:
            raise ValueError(f"a sequence of {kept} + {len(ids)} tokens; the context holds {self.context}")
        slot, found = self.slots + 1, []
        for at in range(0, len(ids), PIECE):
            piece = ids[at : at + PIECE]
            found.append(self._run([Part(slot, piece, kept + at)], range(len(piece))).copy())
        return np.concatenate(found)

    def _seat(self) -> int:
        """The slot of the prompt that is to join next."""
        if self._reading is None:
            self._reading = self._free.pop()
        return self._reading

    def _give_back(self, slot: int, length: int) -> None:
        """Free *slot*, which holds *length* tokens."""
        self._free.append(slot)
        for rows in self._kv:
            rows.touch(slot, np.array([length]))
            rows.free(slot)

    def _read(self, slot: int, ids: Sequence[int], before: int) -> Logits:
        """Put *ids* behind the *before* tokens of *slot*; the scores [vocabulary] after the last of them."""
        scores = None
        for at in range(0, len(ids), PIECE):
            piece = ids[at : at + PIECE]
            scores = self._run([Part(slot, piece, before + at)], [len(piece) - 1])
        if scores is None:
            raise ValueError("an empty prompt has no next token")
        last: Logits = scores[0]
        return last

    def _run(self, parts: Sequence[Part], scored: Sequence[int]) -> Logits:
        """Compute all *parts* in one call; the scores [scored, vocabulary] after those tokens of all of them."""
        before = np.array([part.before for part in parts], np.int32)
        counts = np.array([len(part.ids) for part in parts], np.int32)
        after = before + counts
        blocks = -(-after // self._block)
        given = {
            "input_ids": np.fromiter((token for part in parts for token in part.ids), np.int64),
            "position_ids": np.concatenate(
                [np.arange(a, b) for a, b in zip(before, after, strict=True)], dtype=np.int64
            ),
            "past_lens": before,
            "subsequence_begins": _begins(counts),
            "block_indices": np.concatenate(
                [np.arange(count) + part.slot * self._each for part, count in zip(parts, blocks, strict=True)],
                dtype=np.int32,
            ),
            "block_indices_begins": _begins(blocks),
            "max_context_len": np.array(after.max(), np.int32),
            SAMPLED: np.array(scored, np.int64),
        }
        self._request.infer({name: given[name] for name in given if name in self._names}, share_inputs=True)
        scores: Logits = self._request.get_output_tensor(0).data.reshape(len(scored), self.vocabulary)
        return scores

    def _caches(self, session: Any) -> list[Rows]:
        """Room for keys and values, which the graph writes where they lie; one for each shape that they have."""
        import openvino

        alike: dict[tuple[tuple[int, ...], Any], list[str]] = {}
        for one in session.inputs:
            if "_cache." in one.any_name:
                sizes = tuple(dimension.get_length() for dimension in list(one.partial_shape)[1:])
                alike.setdefault((sizes, one.element_type.to_dtype().type), []).append(one.any_name)
        found = []
        for (sizes, kind), names in alike.items():
            shape = (self.slots + SPARE, self._each, *sizes)
            rows = Rows(shape, kind, len(names), tokens=self.context)
            for name, array in zip(names, rows.arrays, strict=True):
                self._request.set_tensor(name, openvino.Tensor(array.reshape(-1, *sizes), shared_memory=True))
            found.append(rows)
        return found


def _open(graph: Path, threads: int) -> Any:
    """The graph with paged attention, compiled for the processor.

    Raises:
        Unavailable: OpenVINO is not installed.
        SpecError: there is no graph, or OpenVINO cannot read it.
    """
    try:
        import openvino
        from openvino._offline_transformations import paged_attention_transformation
    except ImportError:
        raise Unavailable("the engine openvino needs OpenVINO", try_this="pip install 'guideway[openvino]'") from None
    if not graph.is_file():
        raise SpecError(f"there is no {graph.name}", where=str(graph.parent), try_this="export it with `compress`")
    try:
        core = openvino.Core()
        model = core.read_model(graph)
        paged_attention_transformation(model)
        _score_only_what_is_asked(model)
        return core.compile_model(model, "CPU", {**SETTINGS, "INFERENCE_NUM_THREADS": threads})
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1][:200]
        raise GuidewayError(f"OpenVINO cannot load the model: {reason}", where=str(graph)) from None


def _score_only_what_is_asked(model: Any) -> None:
    """Put the choice of tokens before the matrix of the vocabulary."""
    import openvino
    from openvino import opset13

    matrix = model.output("logits").get_node().input_value(0).get_node()
    chosen = opset13.parameter(openvino.PartialShape([-1]), np.int64, name=SAMPLED)
    chosen.output(0).set_names({SAMPLED})
    matrix.input(0).replace_source_output(opset13.gather(matrix.input_value(0), chosen, 0).output(0))
    model.add_parameters([chosen])
    model.validate_nodes_and_infer_types()


def _context(folder: Path) -> int:
    """The longest sequence, in tokens.

    Raises:
        SpecError: ``config.json`` does not tell.
    """
    path = folder / "config.json"
    try:
        return int(json.loads(path.read_text(encoding="utf-8"))["max_position_embeddings"])
    except (OSError, ValueError, KeyError, TypeError):
        raise SpecError("config.json does not say how long a sequence may be", where=str(path)) from None


def _begins(counts: NDArray[np.int32]) -> NDArray[np.int32]:
    """Where each of so many begins, and where the last one ends."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
