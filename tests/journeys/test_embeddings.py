"""Embeddings from questions and passages to vectors through the gateway, and what a retraining changes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import openai
import pytest
from journey_rig import Service, eventually

sys.path.append(str(Path(__file__).parents[1] / "pipeline" / "stages"))
from embed_rig import make_faq

pytestmark = [pytest.mark.journey, pytest.mark.thorough]
SPEC = """guideway: 1
name: faq
task: embed
data:
  sources: [{path: rows.jsonl, licence: CC0-1.0, origin: written for this test}]
  splits: {test: {by: [form], values: ["3"]}}
train: {recipe: full, base: base, steps: 60, batch: 12, learning_rate: 0.003, warmup: 3, seed: 7}
evaluate: {require: [{metric: ndcg_at_10, split: test, at_least: 0.8}]}
policy: {masking: {email: mask}}
gateway:
  port: ${GATEWAY_PORT:-8080}
"""


@pytest.fixture(scope="module")
def faq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A project with a tiny encoder, up in `dev`."""
    folder = make_faq(tmp_path_factory.mktemp("journey") / "faq")
    (folder / "guideway.yaml").write_text(SPEC, encoding="utf-8")
    service = Service(folder)
    service.first_events = service.up()  # type: ignore[attr-defined]
    yield service
    service("down")
    eventually(lambda: not service.processes())


def embedded(service: Service, *texts: str) -> np.ndarray:
    found = service.client().embeddings.create(model="faq", input=list(texts))
    return np.array([one.embedding for one in found.data])


def test_the_gate_judges_it_by_what_embeddings_can_prove(faq):
    judged = {
        event["data"]["clause"]: event["data"]["verdict"]
        for event in faq.first_events
        if "clause" in event.get("data", {})
    }
    assert {judged[clause] for clause in ("DAT-02", "ROB-04", "SEC-01", "SPEC-1", "CMP-01")} == {"PASS"}
    assert judged["EVL-01"] == "FAIL", "BM25 is right every time, and nothing is better than that"


def test_a_question_stands_beside_its_passage(faq):
    question, *passages = embedded(
        faq, "how does some coal look to you", "everybody knows that coal is black", "everybody knows that sea is blue"
    )
    assert np.abs(np.linalg.norm([question, *passages], axis=1) - 1.0).max() < 1e-5
    assert question @ passages[0] > question @ passages[1]


def test_the_answer_says_what_was_read_and_which_release_it_was(faq):
    raw = faq.client().embeddings.with_raw_response.create(model="faq", input="name the colour of sky")
    assert raw.parse().usage.prompt_tokens == 7, "five words, and one token at each end"
    assert len(raw.headers["x-guideway-release"]) == 12


def test_what_cannot_be_embedded_is_refused_in_words(faq):
    with pytest.raises(openai.BadRequestError, match="longer than the 62 tokens"):
        embedded(faq, "sky " * 99)
    with pytest.raises(openai.BadRequestError, match="numbers"):
        faq.client().embeddings.create(model="faq", input="sky", dimensions=8)
    with pytest.raises(openai.AuthenticationError):
        faq.client("gw-wrong").embeddings.create(model="faq", input="sky")


def test_personal_data_never_arrive(faq):
    first, second = (embedded(faq, f"mail {name}@example.com about the sky") for name in ("ann", "bob"))
    assert (first == second).all(), "the replica saw [EMAIL_1] both times"


def test_words_of_an_embedding_cannot_be_explained(faq):
    assert "embeddings have no answer" in faq("explain", "1", "sky", code=2).stderr


def test_a_retraining_is_another_space_and_the_difference_says_so(faq):
    faq.edit("seed: 7", "seed: 8")
    faq("build")
    said = faq("diff", "1", "2").stdout
    assert "space" in said and "a client will notice" in said
