"""The models themselves: what is computed is what transformers computes, whoever else is in the batch."""

from __future__ import annotations

import importlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from replica_fakes import Recorder, solo

from guideway.core.errors import GuidewayError, SpecError, Unavailable
from guideway.replica.onnx_backend import OnnxBackend
from guideway.replica.scheduler import Scheduler
from guideway.replica.score import OnnxScorer, generate_all, log_probabilities

TORCH = pytest.mark.xdist_group("torch")
"""Tests that import torch run in one process, so that it is imported once."""


@pytest.fixture(scope="module")
def fp32(models: SimpleNamespace) -> OnnxBackend:
    return OnnxBackend(models.fp32, slots=3)


@pytest.fixture(scope="module")
def int8(models: SimpleNamespace) -> OnnxBackend:
    return OnnxBackend(models.int8, slots=3)


@pytest.fixture(scope="module")
def chosen(models: SimpleNamespace) -> OnnxBackend:
    return OnnxBackend(models.chosen, slots=3)


@pytest.fixture(scope="module")
def reference_of() -> Callable[..., Any]:
    """The class of the reference, imported only where it is needed: torch takes seconds."""
    return importlib.import_module("guideway.replica.torch_backend").TorchBackend


@pytest.fixture(scope="module")
def reference(models: SimpleNamespace, reference_of: Callable[..., Any]) -> Any:
    return reference_of(models.hf, slots=3)


@pytest.fixture(autouse=True)
def empty(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test leaves the shared backends without rows."""
    yield
    for name in {"fp32", "int8", "chosen", "reference"} & set(request.fixturenames):
        request.getfixturevalue(name).reset()


@pytest.mark.parametrize("which", ["fp32", "chosen", pytest.param("reference", marks=TORCH)])
def test_greedy_answers_of_a_ragged_crowd_are_those_of_transformers(
    which: str, models: SimpleNamespace, request: pytest.FixtureRequest
) -> None:
    backend = request.getfixturevalue(which)
    answers = generate_all(backend, [prompt for prompt, _ in models.cases], 24, stop_ids=())
    assert answers == [answer for _, answer in models.cases]


@pytest.mark.parametrize("which", ["fp32", "int8"])
def test_joining_and_leaving_between_steps_changes_no_answer(
    which: str, models: SimpleNamespace, request: pytest.FixtureRequest
) -> None:
    backend = request.getfixturevalue(which)
    alone = [solo(backend, prompt, 20) for prompt, _ in models.cases]
    works = [Recorder(prompt, limit) for (prompt, _), limit in zip(models.cases, (20, 3, 9, 1, 14, 6), strict=True)]
    scheduler = Scheduler(backend)
    for work in works:
        scheduler.add(work)
        scheduler.step()
    while scheduler.busy:
        scheduler.step()
    for work, answer in zip(works, alone, strict=True):
        assert work.answer == answer[: work.limit]


@pytest.mark.parametrize("which", ["fp32", "chosen", pytest.param("reference", marks=TORCH)])
def test_a_prompt_read_beside_others_who_come_and_go_is_answered_as_if_read_at_once(
    which: str, models: SimpleNamespace, request: pytest.FixtureRequest
) -> None:
    backend = request.getfixturevalue(which)
    works = [Recorder(prompt, limit) for (prompt, _), limit in zip(models.cases, (3, 24, 7, 24, 5, 24), strict=True)]
    scheduler = Scheduler(backend, prompt_budget=16, piece=16)
    for work in works[1:] + works[:1]:
        scheduler.add(work)
    while scheduler.busy:
        scheduler.step()
    assert [work.answer for work in works] == [
        answer[: work.limit] for work, (_, answer) in zip(works, models.cases, strict=True)
    ]


@pytest.mark.parametrize("which", ["fp32", "chosen", pytest.param("reference", marks=TORCH)])
@pytest.mark.parametrize("length", [1, 33, 280])
def test_a_prompt_that_begins_with_what_was_learned_is_answered_as_if_read(
    which: str, length: int, models: SimpleNamespace, request: pytest.FixtureRequest
) -> None:
    backend = request.getfixturevalue(which)
    prompt, answer = models.cases[-1]
    scheduler = Scheduler(backend)
    scheduler.learn(prompt[:length])
    works = [Recorder(prompt, 24), Recorder(models.cases[2][0], 24), Recorder(prompt, 9)]
    for work in works:
        scheduler.add(work)
    while scheduler.busy:
        scheduler.step()
    assert [work.answer for work in works] == [answer, models.cases[2][1], answer[:9]]


@pytest.mark.parametrize("which", ["fp32", "chosen", pytest.param("reference", marks=TORCH)])
def test_what_was_read_and_forgotten_leaves_no_trace(
    which: str, models: SimpleNamespace, request: pytest.FixtureRequest
) -> None:
    backend = request.getfixturevalue(which)
    backend.read(models.cases[4][0])
    backend.forget()
    prompt, answer = models.cases[3]
    assert solo(backend, prompt, 9) == answer[:9]


def test_scores_of_int8_in_a_batch_are_nearly_those_alone(int8: OnnxBackend, models: SimpleNamespace) -> None:
    prompts = [prompt for prompt, _ in models.cases[1:4]]
    alone = []
    for prompt in prompts:
        int8.join(prompt)
        alone.append(int8.step([7])[0].copy())
        int8.leave(0)
    for prompt in prompts:
        int8.join(prompt)
    together = int8.step([7, 7, 7])
    assert np.abs(together - np.stack(alone)).max() < 1e-4


@TORCH
def test_a_long_prompt_read_in_pieces_scores_as_in_one(
    fp32: OnnxBackend, reference: Any, models: SimpleNamespace
) -> None:
    prompt = models.cases[-1][0]
    assert len(prompt) > 256
    ours, theirs = fp32.logits(prompt), reference.logits(prompt)
    assert ours.shape == (len(prompt), fp32.vocabulary)
    assert ours.dtype == np.float32
    assert np.abs(ours - theirs).max() < 2e-3
    assert np.abs(fp32.join(prompt) - ours[-1]).max() < 1e-6


def test_scores_of_a_sequence_do_not_disturb_who_runs(fp32: OnnxBackend, models: SimpleNamespace) -> None:
    prompt, answer = models.cases[2]
    fp32.join(prompt)
    fp32.logits(models.cases[3][0])
    assert int(fp32.step(answer[:1])[0].argmax()) == answer[1]


def test_the_scorer_gives_fresh_scores_and_answers(models: SimpleNamespace, fp32: OnnxBackend) -> None:
    scorer = OnnxScorer(models.fp32)
    first = scorer.logits([5, 6, 7])
    second = scorer.logits([5, 9, 9])
    assert np.array_equal(first, fp32.logits([5, 6, 7]))
    assert np.allclose(first[0], second[0], atol=1e-5)
    assert (scorer.context, scorer.vocabulary, scorer.stop_ids) == (320, first.shape[1], frozenset({2}))
    prompts = [prompt for prompt, _ in models.cases]
    assert scorer.generate_all(prompts, 5, stop_ids=()) == [answer[:5] for _, answer in models.cases]


@pytest.mark.parametrize("which", ["fp32", "int8", pytest.param("reference", marks=TORCH)])
def test_an_answer_is_as_likely_after_a_shared_beginning_as_after_the_whole_prompt(
    which: str, models: SimpleNamespace, request: pytest.FixtureRequest
) -> None:
    backend = request.getfixturevalue(which)
    prompt, answer = models.cases[3][0][:40], models.cases[3][1][:6]
    prompts = [prompt, *(prompt[:at] + prompt[at + 1 :] for at in range(0, len(prompt), 3)), prompt[:7], prompt]
    found = log_probabilities(backend, prompts, answer)
    for given, ours in zip(prompts, found, strict=True):
        wide = backend.logits([*given, *answer[:-1]]).astype(np.float64)[len(given) - 1 :]
        logs = wide - np.log(np.exp(wide).sum(axis=-1, keepdims=True))
        assert ours == pytest.approx(logs[np.arange(len(answer)), answer].sum(), abs=1e-3)
    assert found[0] == pytest.approx(found[-1]) and len({round(one, 6) for one in found}) > 5


def test_what_prompts_begin_with_is_computed_once() -> None:
    class Counting:
        computed = 0

        def rescore(self, kept: int, ids: list[int]) -> Any:
            self.computed += len(ids)
            return np.zeros((len(ids), 4), np.float32)

    backend, prompt = Counting(), list(range(100))
    variants = [prompt[:at] + prompt[at + 1 :] for at in range(100)]
    found = log_probabilities(backend, variants, [1, 2])
    assert backend.computed < 60 * 100 and found == pytest.approx([2 * np.log(1 / 4)] * 100)


def test_no_more_tokens_than_the_context_are_scored(fp32: OnnxBackend) -> None:
    fp32.logits([5] * 300)
    with pytest.raises(ValueError, match="300 \\+ 21 tokens; the context holds 320"):
        fp32.rescore(300, [5] * 21)
    with pytest.raises(ValueError, match="300 \\+ 0"):
        fp32.rescore(300, [])


def test_an_answer_ends_before_its_stop_token(fp32: OnnxBackend, models: SimpleNamespace) -> None:
    prompt, answer = models.cases[2]
    end = answer[5]
    assert generate_all(fp32, [prompt], 24, stop_ids={end}) == [answer[: answer.index(end)]]


def test_answers_end_where_the_context_does(models: SimpleNamespace) -> None:
    small = OnnxBackend(models.fp32, slots=2, context=20)
    prompts = [[5] * 15, [5] * 20, [5] * 19]
    assert [len(answer) for answer in generate_all(small, prompts, 99, stop_ids=())] == [5, 0, 1]


def test_an_empty_prompt_is_refused(fp32: OnnxBackend) -> None:
    with pytest.raises(ValueError, match="empty prompt"):
        generate_all(fp32, [[]], 5, stop_ids=())


@pytest.mark.parametrize("which", ["fp32", "chosen", pytest.param("reference", marks=TORCH)])
@pytest.mark.parametrize("length", [0, 321])
def test_a_sequence_that_does_not_fit_is_refused(which: str, length: int, request: pytest.FixtureRequest) -> None:
    with pytest.raises(ValueError, match=f"{length} tokens"):
        request.getfixturevalue(which).logits([1] * length)


def test_memory_is_taken_by_tokens_and_not_by_slots(models: SimpleNamespace) -> None:
    backend = OnnxBackend(models.int8, slots=4096)  # 4096 x 320 tokens would be 671 MB
    before = _resident()
    backend.join([5] * 10)
    assert _resident() - before < 50e6


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def break_file(name: str, content: bytes | None) -> Callable[[Path], None]:
    def broken(folder: Path) -> None:
        if content is None:
            (folder / name).unlink()
        else:
            (folder / name).write_bytes(content)

    return broken


def rename_input(folder: Path) -> None:
    config = json.loads((folder / "genai_config.json").read_text())
    config["model"]["decoder"]["inputs"]["past_key_names"] = "other.%d.key"
    (folder / "genai_config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (break_file("genai_config.json", None), "no genai_config.json"),
        (break_file("genai_config.json", b"{}"), "cannot be read"),
        (break_file("genai_config.json", b"not json"), "cannot be read"),
        (break_file("model.onnx", None), "cannot load"),
        (break_file("model.onnx", b"garbage"), "cannot load"),
        (break_file("model.onnx.data", b"short"), "cannot load"),
        (rename_input, "do not know"),
    ],
)
def test_a_damaged_export_is_one_clear_error(
    damage: Callable[[Path], None], message: str, models: SimpleNamespace, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(models.int8, tmp_path / "copy"))
    damage(folder)
    with pytest.raises(GuidewayError, match=message):
        OnnxBackend(folder)


def test_more_slots_than_memory_is_one_clear_error(models: SimpleNamespace) -> None:
    with pytest.raises(Unavailable, match="no memory"):
        OnnxBackend(models.int8, slots=10**9)


@TORCH
def test_the_reference_reads_safetensors_only(
    models: SimpleNamespace, reference_of: Callable[..., Any], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(models.hf, tmp_path / "copy"))
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(SpecError, match="cannot load"):
        reference_of(folder)


@TORCH
def test_the_reference_runs_no_code_of_the_model_folder(
    models: SimpleNamespace, reference_of: Callable[..., Any], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(models.hf, tmp_path / "copy"))
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Own"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(SpecError, match="cannot load"):
        reference_of(folder)
    assert not (tmp_path / "ran").exists()
