"""Stages data and train for embeddings: rows as pairs, negatives that are none, weights that learn or stay."""

from __future__ import annotations

import json

import pytest
import torch
from classify_rig import labelled_rows
from embed_rig import TRAIN, data_of, faq_rows, faq_spec
from safetensors.torch import load_file
from stage_rig import run_stage, write_jsonl

from guideway.core.errors import GuidewayError
from guideway.pipeline.stages.embed.learn import alike, contrast
from guideway.pipeline.stages.embed.model import embed, load_embedder
from guideway.pipeline.stages.embed.rows import Pair, corpus_of, pairs_of, queries_of, text_of
from guideway.replica.classifier import TextReader
from guideway.replica.embedder import read_settings


def data_from(tmp_path, rows, **parts):
    write_jsonl(tmp_path / "rows.jsonl", rows)
    return run_stage("data", faq_spec(data=data_of(**parts)), tmp_path, tmp_path / "data")


def test_rows_are_pairs_or_texts_with_labels(tmp_path):
    pairs = data_from(tmp_path / "a", faq_rows(), splits={"test": {"by": ["form"], "values": ["3"]}})
    assert json.loads((pairs.out / "manifest.json").read_text())["pairs"] is True
    assert pairs.one("pairs").value == 36
    labelled = data_from(tmp_path / "b", labelled_rows(), splits={"test": {"by": ["part"], "values": ["test"]}})
    assert json.loads((labelled.out / "manifest.json").read_text())["pairs"] is False
    assert labelled.one("classes").value == 4


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([{"prompt": "a", "response": "b"}], "one pair is left"),
        (
            [{"prompt": "a", "response": "b"}, {"prompt": "c", "response": "d"}, {"text": "e", "label": "f"}],
            "some rows are pairs, and others are texts with labels",
        ),
        ([{"text": one, "label": one} for one in "abc"], "fewer than two labels have two training rows"),
    ],
)
def test_rows_from_which_nothing_can_be_told_apart_are_refused(tmp_path, rows, says):
    with pytest.raises(GuidewayError, match=says):
        data_from(tmp_path, rows, splits={})


def test_a_row_that_lacks_half_of_its_pair_is_named(tmp_path):
    with pytest.raises(GuidewayError, match=r"rows.jsonl:3: no field 'response'"):
        data_from(tmp_path, [*faq_rows()[:2], {"prompt": "and now"}], splits={})


def test_a_text_learns_to_stand_beside_another_of_its_label(intents):
    reader = TextReader(intents.root / "base", 20)
    rows = [{"id": str(at), "text": text, "label": label} for at, (text, label) in enumerate(["ax", "bx", "cy", "dz"])]
    found = [(one.question, one.ids, one.about) for one in pairs_of(rows, reader)]
    a, b = reader.encode("a"), reader.encode("b")
    assert found == [(a, b, "x"), (b, a, "x")], "a label with one row teaches nothing"


def test_what_is_right_for_another_question_is_no_negative_of_it():
    batch = [
        Pair([1], [2], "q1", "p1"),
        Pair([3], [4], "q1", "p2"),
        Pair([1], [5], "q2", "p1"),
        Pair([6], [7], "q3", "p3"),
    ]
    assert alike(batch).tolist() == [
        [False, True, True, False],
        [True, False, False, False],
        [True, False, False, False],
        [False, False, False, False],
    ]


class Fixed(torch.nn.Module):
    """Embeds a text by its first token id."""

    def __init__(self, *rows: list[float]) -> None:
        super().__init__()
        self.table = torch.nn.Parameter(torch.tensor(rows))

    def forward(self, ids, mask):
        return self.table[ids[:, 0]]


def test_the_loss_is_that_of_telling_each_passage_from_the_others_and_back():
    model = Fixed([1.0, 0.0], [0.0, 1.0])
    batch = [Pair([0], [0], "a", "a"), Pair([1], [1], "b", "b")]
    expected = -torch.log(torch.tensor(1.0).exp() / (torch.tensor(1.0).exp() + 1.0))
    assert torch.allclose(contrast(model, batch, 1.0), expected.expand(2))
    twins = [batch[0], batch[0]]
    assert torch.allclose(contrast(model, twins, 1.0), torch.zeros(2)), "nothing is left to be told from"


def test_training_brings_questions_to_their_passages(faq):
    job = faq.jobs["train"]
    curve = json.loads((faq.out["train"] / "curve.json").read_text())
    assert curve[-1]["loss"] < 0.5 * curve[0]["loss"]
    assert job.one("non_finite_weights").value == 0
    assert read_settings(faq.out["train"]).width == 32


def test_embeddings_have_the_length_one_and_company_changes_nothing(faq):
    model, reader = load_embedder(faq.out["train"]), TextReader(faq.out["train"], 60)
    texts = [reader.encode(row["prompt"]) for row in faq_rows()[:7]]
    together = torch.from_numpy(embed(model, texts))
    assert torch.allclose(together.norm(dim=1), torch.ones(7), atol=1e-5)
    assert torch.allclose(together[3:4], torch.from_numpy(embed(model, texts[3:4])), atol=1e-5)


def test_training_twice_gives_the_same_weights(faq):
    again = run_stage("train", faq.spec, faq.root, faq.root / "train-again", data=faq.out["data"])
    one, two = (load_file(next(out.glob("*.safetensors"))) for out in (faq.out["train"], again.out))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_without_steps_the_base_ships_as_it_is(faq):
    spec = faq_spec(train=TRAIN | {"steps": 0})
    job = run_stage("train", spec, faq.root, faq.root / "untrained", data=faq.out["data"])
    base, kept = (load_file(next(folder.glob("*.safetensors"))) for folder in (faq.root / "base", job.out))
    assert all(torch.equal(base[name], kept[name]) for name in kept)
    assert any("as the base has them" in fact for fact in job.facts)


def test_pooling_by_the_first_token_is_another_embedding(faq):
    spec = faq_spec(train=TRAIN | {"steps": 0, "contrast": {"pooling": "cls"}})
    job = run_stage("train", spec, faq.root, faq.root / "first", data=faq.out["data"])
    first, mean = load_embedder(job.out), load_embedder(faq.out["train"])
    assert (first.pooling, mean.pooling) == ("cls", "mean")
    hidden = first.encoder(input_ids=torch.tensor([[2, 9, 3]])).last_hidden_state[:, 0]
    found = first(torch.tensor([[2, 9, 3]]), torch.ones(1, 3, dtype=torch.long))
    assert torch.allclose(found, torch.nn.functional.normalize(hidden, dim=-1))


def test_every_passage_is_searched_once_and_a_question_may_have_several(faq, tmp_path):
    corpus = corpus_of(faq.out["data"])
    assert (len(corpus.passages), corpus.all) == (12, 12)
    queries = queries_of(faq.out["data"] / "test.jsonl", corpus, 100)
    assert {len(one.right) for one in queries} == {1} and len(queries) == 12
    rows = [{"prompt": "how", "response": one, "form": "3"} for one in ("so", "or so")]
    job = data_from(tmp_path, [*faq_rows()[:4], *rows], splits={"test": {"by": ["form"], "values": ["3"]}})
    both = corpus_of(job.out)
    (asked,) = [one for one in queries_of(job.out / "test.jsonl", both, 100) if one.text == "how"]
    assert {both.passages[number] for number in asked.right} == {"so", "or so"}


def test_a_conversation_is_a_pair_of_all_that_was_asked_and_the_last_answer():
    row = {"messages": [{"role": "user", "content": one} for one in ("Hello", "And?", "Yes")]}
    assert text_of(row) == ("Hello\nAnd?", "Yes", "hello and?")
