"""The backend on OpenVINO: rows of any length beside each other, and each of them as if it were alone."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from guideway.core.errors import GuidewayError, SpecError, Unavailable
from guideway.replica.openvino_backend import OpenVinoBackend
from guideway.replica.score import generate_all, log_probabilities

TOKENS = 24
real = pytest.mark.thorough


@pytest.fixture
def fp32(openvino_models: SimpleNamespace) -> OpenVinoBackend:
    return OpenVinoBackend(openvino_models.fp32, slots=3)


@real
def test_every_greedy_token_in_float32_is_that_of_transformers(fp32: OpenVinoBackend, models: SimpleNamespace) -> None:
    prompts, wanted = zip(*models.cases, strict=True)
    assert generate_all(fp32, prompts, TOKENS, ()) == list(wanted)
    assert generate_all(fp32, prompts[::-1], TOKENS, ()) == list(wanted)[::-1]  # in slots that others have left


@real
def test_scores_in_int8_are_near_those_of_transformers(
    openvino_models: SimpleNamespace, models: SimpleNamespace
) -> None:
    backend = OpenVinoBackend(openvino_models.int8, slots=1)
    found, flips = [], []
    for (prompt, answer), scores in zip(models.cases, models.scores, strict=True):
        ours, theirs = (_logs(one) for one in (scores, backend.logits([*prompt, *answer])))
        found.append((np.exp(ours) * (ours - theirs)).sum(axis=-1))
        flips.append(ours.argmax(axis=-1) != theirs.argmax(axis=-1))
    assert 0 < np.concatenate(found).mean() < 0.01 and np.concatenate(flips).mean() < 0.12


@real
def test_a_prompt_in_pieces_or_behind_what_was_learned_scores_as_when_read_at_once(
    fp32: OpenVinoBackend, models: SimpleNamespace
) -> None:
    prompt = models.cases[4][0]
    whole = fp32.join(prompt).copy()
    fp32.reset()
    fp32.learn(prompt[:37])
    fp32.recall()
    fp32.read(prompt[37:50])
    assert np.allclose(fp32.join(prompt[50:]), whole, atol=1e-4)
    fp32.read(models.cases[5][0][:20])
    fp32.forget()
    stepped = fp32.step([7])[0].copy()
    assert np.allclose(stepped, fp32.logits([*prompt, 7])[-1], atol=1e-4)


@real
def test_who_leaves_frees_a_slot_and_the_last_row_takes_the_number(
    fp32: OpenVinoBackend, models: SimpleNamespace
) -> None:
    prompts = [models.cases[number][0] for number in (1, 2, 3)]
    for prompt in prompts:
        fp32.join(prompt)
    fp32.leave(0)
    fp32.join(prompts[0])
    scores = fp32.step([5, 6, 7]).copy()
    for row, ids in enumerate(([*prompts[2], 5], [*prompts[1], 6], [*prompts[0], 7])):
        assert np.allclose(scores[row], fp32.logits(ids)[-1], atol=1e-4)


@real
def test_the_same_answer_behind_many_prompts_is_scored_as_it_is_alone(
    fp32: OpenVinoBackend, models: SimpleNamespace
) -> None:
    (prompt, answer), other = models.cases[2], models.cases[3][0]
    prompts = [prompt, [*prompt[:9], *other[9:]], other]
    alone = []
    for one in prompts:
        logs = _logs(fp32.logits([*one, *answer[:-1]]))[-len(answer) :]
        alone.append(logs[np.arange(len(answer)), answer].sum())
    assert np.allclose(log_probabilities(fp32, prompts, answer), alone, atol=1e-3)


@real
def test_no_more_tokens_than_the_context_and_no_empty_prompt(openvino_models: SimpleNamespace) -> None:
    backend = OpenVinoBackend(openvino_models.fp32, slots=1, context=20)
    assert backend.logits(list(range(20))).shape == (20, backend.vocabulary)
    for ids in ([], list(range(21))):
        with pytest.raises(ValueError, match="the context holds 20"):
            backend.logits(ids)
    with pytest.raises(ValueError, match="empty prompt"):
        backend.join([])


@real
def test_rows_that_do_not_fit_and_graphs_that_are_none_are_refused(
    openvino_models: SimpleNamespace, tmp_path: Path
) -> None:
    with pytest.raises(Unavailable, match="no memory for"):
        OpenVinoBackend(openvino_models.fp32, slots=10**7)
    (tmp_path / "config.json").write_text('{"max_position_embeddings": 8}')
    with pytest.raises(SpecError, match=r"there is no openvino_model\.xml"):
        OpenVinoBackend(tmp_path)
    (tmp_path / "openvino_model.xml").write_text("<net/>")
    with pytest.raises(GuidewayError, match="OpenVINO cannot load the model") as refused:
        OpenVinoBackend(tmp_path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("config", [None, "{", "{}", '{"max_position_embeddings": null}'])
def test_a_folder_that_does_not_say_how_long_its_sequences_are_is_refused(tmp_path: Path, config: str | None) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    with pytest.raises(SpecError, match="does not say how long"):
        OpenVinoBackend(tmp_path)


def test_where_openvino_is_missing_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text('{"max_position_embeddings": 8}')
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(Unavailable, match="the engine openvino needs OpenVINO") as refused:
        OpenVinoBackend(tmp_path)
    assert "pip install 'guideway[openvino]'" in str(refused.value)


def _logs(scores: np.ndarray) -> np.ndarray:
    wide = scores.astype(np.float64)
    wide -= wide.max(axis=-1, keepdims=True)
    return wide - np.log(np.exp(wide).sum(axis=-1, keepdims=True))
