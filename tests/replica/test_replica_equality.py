"""The gate for another version of onnxruntime, or of what exports: what is served is what transformers computes.

Of a seeded random model, greedy. In float32 every token is the same; in int8 the scores are close, and the likeliest
token is another one only where two were close. Measured: 0.0026 nats, 6.4 % of positions (the scores of a random model
lie close). The limits are above that and below what a fault, such as a position that is off by one, makes of them.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import onnxruntime
from replica_fakes import Recorder

from guideway.replica.onnx_backend import OnnxBackend
from guideway.replica.scheduler import Scheduler

VERSION = f"onnxruntime {onnxruntime.__version__}"
DIVERGENCE = 0.01
"""Nats by which int8 may differ from the reference, on the average of all positions."""
FLIPS = 0.12
"""Share of positions at which the likeliest token of int8 may be another one."""


def answers(backend: OnnxBackend, models: SimpleNamespace) -> list[list[int]]:
    """Greedy answers as service computes them: ragged, a long prompt in pieces, behind a prefix that was learned."""
    works = [Recorder(prompt, len(answer)) for prompt, answer in models.cases]
    scheduler = Scheduler(backend)
    scheduler.learn(models.cases[-1][0][:20])
    for work in works:
        scheduler.add(work)
    while scheduler.busy:
        scheduler.step()
    return [work.answer for work in works]


def test_in_float32_every_token_is_that_of_transformers(models: SimpleNamespace) -> None:
    backend = OnnxBackend(models.fp32, slots=4)
    assert answers(backend, models) == [answer for _, answer in models.cases], VERSION
    for (prompt, answer), expected in zip(models.cases, models.scores, strict=True):
        assert np.abs(backend.logits(prompt + answer) - expected).max() < 2e-3, VERSION


def test_in_int8_scores_are_nearly_those_of_transformers(models: SimpleNamespace) -> None:
    divergence, flips = apart(OnnxBackend(models.int8, slots=1), models)
    assert divergence < DIVERGENCE, VERSION
    assert flips < FLIPS, VERSION


def test_in_int8_an_answer_leaves_the_reference_only_where_two_tokens_were_close(models: SimpleNamespace) -> None:
    backend = OnnxBackend(models.int8, slots=4)
    for said, (prompt, answer), scores in zip(answers(backend, models), models.cases, models.scores, strict=True):
        if said == answer:
            continue
        place = next(place for place, pair in enumerate(zip(said, answer, strict=True)) if pair[0] != pair[1])
        there = scores[len(prompt) + place - 1]
        assert there[answer[place]] - there[said[place]] < 0.5, VERSION


def test_the_gate_would_see_a_position_that_is_off_by_one(models: SimpleNamespace) -> None:
    class Shifted(OnnxBackend):
        def logits(self, ids: list[int]) -> np.ndarray:
            return super().logits([ids[0], *ids])[1:]

    divergence, flips = apart(Shifted(models.int8, slots=1), models)
    assert divergence > 2 * DIVERGENCE
    assert flips > FLIPS


def apart(backend: OnnxBackend, models: SimpleNamespace) -> tuple[float, float]:
    """Mean divergence in nats, and the share of positions with another likeliest token."""
    divergences, flips = [], []
    for (prompt, answer), expected in zip(models.cases, models.scores, strict=True):
        ids = (prompt + answer)[: backend.context - 1]
        ours, theirs = _log_shares(backend.logits(ids)), _log_shares(expected[: len(ids)])
        divergences.append((np.exp(theirs) * (theirs - ours)).sum(axis=-1))
        flips.append(ours.argmax(axis=-1) != theirs.argmax(axis=-1))
    return float(np.concatenate(divergences).mean()), float(np.concatenate(flips).mean())


def _log_shares(scores: np.ndarray) -> np.ndarray:
    wide = scores.astype(np.float64) - scores.max(axis=-1, keepdims=True)
    shares: np.ndarray = wide - np.log(np.exp(wide).sum(axis=-1, keepdims=True))
    return shares
