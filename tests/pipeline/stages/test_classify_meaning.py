"""Outliers by meaning: what a classifier learns of its classes, what is refused, and what evaluation says of it."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
from classify_rig import classify_spec
from stage_rig import run_stage

from guideway.core.errors import GuidewayError, SpecError
from guideway.pipeline.stages import evaluate, package, reference, stages_for
from guideway.pipeline.stages.classify.meaning import fitted, of_each, shrunk
from guideway.pipeline.stages.classify.rows import Case, cases_of
from guideway.pipeline.stages.classify.shipped import Shipped
from guideway.pipeline.stages.examples import rows_of
from guideway.replica.classifier import FEATURES, OnnxClassifier
from guideway.replica.meaning import FILE

BOUND = 0.85


def asks(flag=BOUND):
    return classify_spec(serve={"guardrails": {"outlier": {"flag": flag, "by": "meaning"}}})


def compressed(intents, name, flag=BOUND):
    inputs = {"data": intents.out["data"], "train": intents.out["train"]}
    return run_stage("compress", asks(flag), intents.root, intents.root / name, **inputs)


@pytest.fixture(scope="module")
def told(intents):
    """Stage compress, asked to tell outliers."""
    return compressed(intents, "told")


def cases(intents, shipped, split):
    return cases_of(rows_of(intents.out["data"] / f"{split}.jsonl"), shipped.reader, shipped.settings.labels)


def test_the_graph_gives_features_only_where_outliers_are_told(intents, told):
    names = [
        [one.name for one in ort.InferenceSession(str(folder / "model.onnx")).get_outputs()]
        for folder in (intents.out["compress"], told.out)
    ]
    assert names == [["logits"], ["logits", FEATURES]]
    assert not (intents.out["compress"] / FILE).exists() and not OnnxClassifier(intents.out["compress"]).tells


def test_probabilities_are_what_they_were_and_the_share_stands_beside_them(intents, told):
    before, after = Shipped(intents.out["compress"]), Shipped(told.out)
    asked = cases(intents, after, "test")
    assert before.probabilities(asked) == pytest.approx(after.probabilities(asked), abs=1e-6)
    assert before.shares(asked) is None
    model = OnnxClassifier(told.out)
    rows = model.rows([asked[0].ids])
    assert rows.dtype == np.float64 and rows.shape == (1, 4)
    assert rows[0, -1] == pytest.approx(after.shares(asked[:1])[0])


def test_a_text_is_as_far_off_in_any_company(intents, told):
    model, asked = OnnxClassifier(told.out), cases(intents, Shipped(told.out), "test")
    together = model.rows([one.ids for one in asked])
    alone = np.concatenate([model.rows([one.ids]) for one in asked])
    assert together[:, -1].tolist() == alone[:, -1].tolist()


def test_what_nobody_trained_on_says_how_far_is_ordinary(told):
    assert told.one("drift_reference_rows", about="data").value == 24
    assert any("24 rows learnt, 6 of val say how far is ordinary" in fact for fact in told.facts)


def test_telling_twice_writes_the_same_bytes(intents, told):
    again = compressed(intents, "told-again")
    for name in (FILE, "model.onnx"):
        assert (again.out / name).read_bytes() == (told.out / name).read_bytes()


def test_a_share_that_is_too_rare_for_the_validation_rows_is_one_clear_line(intents):
    with pytest.raises(
        GuidewayError, match=r"6 rows of 'val' in scope cannot tell a share of 0\.99: that needs 99"
    ) as no:
        compressed(intents, "rare", flag=0.99)
    assert no.value.where == "serve.guardrails.outlier" and "0.8571 at most" in no.value.try_this


def test_evaluation_says_how_many_of_both_kinds_are_beyond_the_bound(intents, told):
    inputs = {need: intents.out[need] for need in evaluate.needs} | {"compress": told.out}
    job = run_stage("evaluate", asks(), intents.root, intents.root / "told-evaluate", **inputs)
    inside, outside = (job.one(name, "compress", "test") for name in ("outlier_share", "outlier_recall"))
    assert (inside.n, outside.n) == (6, 2) and inside.value <= outside.value == 1.0
    assert any(fact.startswith("outliers: ") for fact in job.facts)
    plain = intents.jobs["evaluate"]
    assert "outlier_share" not in {metric for metric, _ in plain.heard}


def test_the_reference_of_words_is_not_learnt_and_the_key_of_other_classifiers_is_what_it_was():
    from guideway.pipeline.stages import compress

    assert "reference" not in stages_for(asks()) and reference.sources(asks(), None) == ()
    assert "ordinary" not in compress.params(classify_spec()) and compress.params(asks())["ordinary"] == BOUND
    assert package.params(asks())["spec"]["serve"]["guardrails"]["outlier"]["by"] == "meaning"


def test_a_model_without_features_is_not_taken_for_one_that_tells(intents, told, tmp_path):
    for path in intents.out["compress"].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / FILE).write_bytes((told.out / FILE).read_bytes())
    with pytest.raises(SpecError, match="does not give the features"):
        OnnxClassifier(tmp_path)
    with pytest.raises(SpecError, match="gives no features"):
        Shipped(intents.out["compress"]).features([])


def test_of_a_large_class_a_part_is_learnt_and_of_a_small_one_all():
    drawn = [Case([1], target, "", "") for target in [0] * 500 + [1] * 30 + [2] * 150]
    assert [sum(one.target == number for one in of_each(drawn, 200)) for number in range(3)] == [200, 30, 150]
    assert sum(one.target == 2 for one in of_each(drawn, 7)) == 100


def test_classes_lie_where_their_rows_are_and_spread_alike():
    draw = np.random.default_rng(5)
    targets = np.repeat([0, 4], 500)
    middle = np.where(targets[:, None] == 0, 0.0, 50.0)
    rows = (middle + draw.normal(size=(1000, 3)) * [1.0, 3.0, 0.5]).astype(np.float32)
    found = fitted(rows, targets.tolist())
    asked = np.array([[0, 6, 0], [2, 0, 0], [0, 0, 1], [50, 56, 50]], np.float32)
    assert found.distances(asked) == pytest.approx([2.0] * 4, rel=0.15)


@pytest.mark.parametrize("rows", [np.zeros((3, 4)), np.ones((1, 4)), np.eye(4)[:2]])
def test_the_spread_of_few_rows_can_be_inverted_all_the_same(rows):
    found = shrunk(rows - rows.mean(axis=0))
    assert np.isfinite(np.linalg.inv(found)).all() and np.linalg.eigvalsh(found).min() > 0
