"""The gate for another llama.cpp: what its server computes of an export is what transformers computes of the source.

Of seeded random models, greedy. In float32 every token is the same; with fewer bits the scores are close.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from gguf_rig import KINDS, make_model
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stage_rig import Pass, colour_rows, colour_spec, run_stage, write_jsonl
from tokenizers import Tokenizer

from guideway.core.errors import GuidewayError
from guideway.engines import llamacpp
from guideway.kit.process import is_alive
from guideway.pipeline.stages.formats import gguf, open_scorer
from guideway.pipeline.stages.formats.gguf.scorer import GgufScorer
from guideway.pipeline.stages.models import Trained, log_softmax

PROMPTS = [[1 + (7 * number + 3 * place) % 350 for place in range(3 + number)] for number in range(10)]
LIMITS = {"int8": (0.02, 0.15), "int4": (0.2, 0.5)}
"""Nats, and the share of other first choices, of random weights, whose scores lie close."""


@pytest.fixture(scope="session")
def llama() -> str:
    """The version of llama.cpp; tests that ask for it are left out where there is none."""
    return llamacpp.version()


class Pair(NamedTuple):
    """A trained model, and its export on the server."""

    trained: Trained
    exported: GgufScorer


def opened(folder: Path, source: Path, precision: str) -> GgufScorer:
    out = folder / precision
    out.mkdir()
    gguf.export(source, out, precision)
    found = open_scorer(out, 1)
    assert isinstance(found, GgufScorer)
    return found


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def pair(llama: str, source: Path, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(Trained(source), opened(tmp_path_factory.mktemp("exports"), source, "fp32"))


def apart(trained: Trained, exported: GgufScorer) -> tuple[float, float, float]:
    """Mean divergence in nats, the share of other first choices, and the largest difference of a score."""
    ours = np.concatenate([log_softmax(trained.logits(prompt)) for prompt in PROMPTS])
    theirs = np.concatenate([exported.logits(prompt) for prompt in PROMPTS])
    divergence = (np.exp(ours) * (ours - theirs)).sum(axis=-1).mean()
    return float(divergence), float((ours.argmax(-1) != theirs.argmax(-1)).mean()), float(np.abs(ours - theirs).max())


def test_in_float32_every_token_is_that_of_transformers(pair: Pair, llama: str) -> None:
    ends = {0}
    assert pair.exported.generate_all(PROMPTS, 24, ends) == pair.trained.answers(PROMPTS, 24, ends), llama


def test_in_float32_every_score_is_that_of_transformers(pair: Pair, llama: str) -> None:
    divergence, flips, largest = apart(*pair)
    assert (divergence < 1e-5, flips, largest < 0.02) == (True, 0.0, True), (llama, divergence, largest)


def test_scores_from_a_place_on_are_those_of_the_whole(pair: Pair) -> None:
    whole, part = pair.exported.logits(PROMPTS[4]), pair.exported.logits_from(PROMPTS[4], 3)
    assert np.abs(whole[3:] - part).max() < 1e-3


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "llama"])
def test_every_architecture_is_computed_as_transformers_does(llama: str, kind: str, tmp_path: Path) -> None:
    source = make_model(tmp_path / kind, kind)
    divergence, flips, largest = apart(Trained(source), opened(tmp_path, source, "fp32"))
    assert (divergence < 1e-5, flips, largest < 0.05) == (True, 0.0, True), (llama, divergence, largest)


@pytest.mark.parametrize("precision", LIMITS)
def test_with_fewer_bits_scores_are_near(pair: Pair, source: Path, tmp_path: Path, llama: str, precision: str) -> None:
    divergence, flips, _ = apart(pair.trained, opened(tmp_path, source, precision))
    most, share = LIMITS[precision]
    assert 0 < divergence < most and flips < share, (llama, divergence, flips)


def test_int4_is_the_same_bytes_every_time(llama: str, source: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        gguf.export(source, tmp_path / name, "int4")
    one, two = (tmp_path / name / "model.gguf" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes() and str(tmp_path).encode() not in one.read_bytes()
    assert {path.name for path in one.parent.iterdir()} == {path.name for path in two.parent.iterdir()}
    assert "whole.gguf" not in {path.name for path in one.parent.iterdir()}


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=40))
def test_any_text_is_read_as_the_tokens_that_the_model_learned(pair: Pair, source: Path, text: str) -> None:
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    tokenizer.encode_special_tokens = True
    assert pair.exported.tokens(text) == tokenizer.encode(text, add_special_tokens=False).ids


def test_a_server_that_reads_other_tokens_is_found_out(
    llama: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "guideway.pipeline.stages.formats.gguf.words.RULES", {("digits", "bytes and words"): "llama-bpe"}
    )
    with pytest.raises(GuidewayError, match="as other tokens than the model has learned"):
        opened(tmp_path, source, "fp32")


def test_a_file_that_is_no_model_is_one_clear_line(llama: str, source: Path, tmp_path: Path) -> None:
    gguf.export(source, tmp_path, "int8")
    whole = (tmp_path / "model.gguf").read_bytes()
    (tmp_path / "model.gguf").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(GuidewayError, match="llama-server cannot load the export") as refused:
        open_scorer(tmp_path, 1)
    assert "\n" not in str(refused.value)


def test_the_server_ends_with_whoever_measures(llama: str, pair: Pair, source: Path, tmp_path: Path) -> None:
    gguf.export(source, tmp_path, "int8")
    code = (
        "import sys; from pathlib import Path; from guideway.pipeline.stages.formats import open_scorer\n"
        "scorer = open_scorer(Path(sys.argv[1]), 1); print(scorer.pid, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as one:
        assert one.stdout
        server = int(one.stdout.readline())
        assert is_alive(server)
        os.kill(one.pid, signal.SIGKILL)
        one.wait(timeout=20)
    deadline = time.monotonic() + 20
    while is_alive(server) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_alive(server)


@pytest.fixture(scope="module")
def learned(llama: str, tmp_path_factory: pytest.TempPathFactory) -> Pass:
    """One real pass for the engine llamacpp: data, train, compress to int8, evaluate."""
    root = tmp_path_factory.mktemp("gguf-colours")
    write_jsonl(root / "rows.jsonl", colour_rows())
    spec, out, jobs = colour_spec(serve={"engine": "llamacpp"}), {}, {}
    needs = {"data": (), "train": ("data",), "compress": ("data", "train"), "evaluate": ("data", "train", "compress")}
    for name, inputs in needs.items():
        jobs[name] = run_stage(name, spec, root, root / "out" / name, **{one: out[one] for one in inputs})
        out[name] = root / "out" / name
    return Pass(spec, root, out, jobs)


def test_what_ships_is_measured_on_the_server_that_will_serve_it(learned: Pass) -> None:
    compress, evaluate = learned.jobs["compress"], learned.jobs["evaluate"]
    assert (learned.out["compress"] / "model.gguf").is_file()
    kl, flips = compress.one("kl_to_source"), compress.one("top1_flips")
    assert 0 < kl.value < 0.02 and kl.interval.low <= kl.value <= kl.interval.high and flips.value <= 0.05
    trained, shipped = (evaluate.one("loss", about, "unseen").value for about in ("train", "compress"))
    assert shipped == pytest.approx(trained, abs=0.05)


def test_a_template_that_the_server_writes_in_another_way_is_found_out(
    llama: str, source: Path, tmp_path: Path
) -> None:
    gguf.export(source, tmp_path, "int8")
    template = (tmp_path / "chat_template.jinja").read_text()
    (tmp_path / "chat_template.jinja").write_text(template.replace("<|user|>", "<|user|> "))
    with pytest.raises(GuidewayError, match="writes a conversation in another way"):
        open_scorer(tmp_path, 1)
