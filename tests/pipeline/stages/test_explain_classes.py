"""Explaining classes: any function from texts to probabilities, and the classifier that ships."""

from __future__ import annotations

import re

import numpy as np
import pytest
from classify_rig import classify_spec
from stage_rig import read_jsonl, run_stage

from guideway.core.errors import SpecError
from guideway.pipeline.stages import explain
from guideway.pipeline.stages.explain.attribution import tokens_of
from guideway.pipeline.stages.explain.classes import Classes
from guideway.pipeline.stages.explain.classifier import ShippedClassifier
from guideway.pipeline.stages.explain.subject import explain as explained

WORDS = {"wave": (2.0, 0.0), "cloud": (0.0, 2.0), "blue": (0.5, 0.5)}


class BagOfWords:
    """A classifier whose reasons are known: the sum of what its words say for each class."""

    labels = ("sea", "sky")

    def __init__(self):
        self.asked = 0

    def scores(self, texts):
        self.asked += len(texts)
        sums = np.array([np.sum([WORDS.get(word, (0, 0)) for word in text.split()] or [(0, 0)], 0) for text in texts])
        return np.exp(sums) / np.exp(sums).sum(axis=1, keepdims=True)

    def embed(self, texts):
        return self.scores(texts)

    def gradients(self, text, tokens, column):
        raise SpecError("no weights")


@pytest.mark.parametrize("method", ["occlusion", "shap", "lime"])
def test_the_word_that_made_the_class_weighs_most(method):
    case = Classes(BagOfWords()).ask("a blue wave over there")
    found = explained(case, method, "probability", 7)
    weights = {token.text: weight for token, weight in zip(found.tokens, found.weights, strict=True)}
    assert found.target == "sea" and max(weights, key=weights.get) == "wave"
    assert abs(weights["over"]) < 0.02 < weights["wave"]
    assert (found.score, found.baseline) == pytest.approx((1 / (1 + np.exp(-2)), 0.5))


def test_another_class_may_be_explained_and_its_weights_are_the_opposite():
    model = Classes(BagOfWords())
    own, other = (explained(model.ask("blue wave", name), "occlusion", "probability", 7) for name in ("sea", "sky"))
    assert np.allclose(own.weights, -np.array(other.weights))
    with pytest.raises(SpecError, match=r"no class 'see' \(did you mean 'sea'\?\)"):
        model.ask("blue wave", "see")


def test_the_same_variant_is_asked_once():
    model = BagOfWords()
    case = Classes(model).ask("la la la la")
    before = model.asked
    explained(case, "shap", "probability", 7)
    assert model.asked - before <= 2**4


def test_rows_that_belong_to_no_class_are_left_out():
    rows = [{"text": "wave", "label": "sea"}, {"text": "what", "label": "oos"}, {"text": "cloud", "label": "sea"}]
    cases = Classes(BagOfWords()).cases(rows)
    assert [(case.target, case.wanted, case.right) for case in cases] == [("sea", "sea", True), ("sky", "sea", False)]
    assert Classes(BagOfWords()).cases(rows[1:2]) == []


# The classifier that ships


def explain_intents(intents, name, **asked):
    inputs = {need: intents.out[need] for need in explain.needs}
    return run_stage("explain", classify_spec(explain=asked), intents.root, intents.root / name, **inputs)


def test_a_classifier_is_explained_by_shap_and_class_by_class(intents):
    job = explain_intents(intents, "classes")
    found = job.one("faithfulness_gain", "compress", "test")
    assert found.unit == "probability" and found.n == 6 and found.value > 0
    lines = read_jsonl(job.out / "attributions.jsonl")
    assert {line["method"] for line in lines} == {"shap"} and {line["target"] for line in lines} == {
        "music", "money", "weather",
    }  # fmt: skip
    for line in lines:
        assert sum(line["weights"]) == pytest.approx(line["score"] - line["baseline"], abs=1e-6)
    page = (job.out / "report.html").read_text(encoding="utf-8")
    assert "By class" in page and "按类别" in page and len(re.findall("said of 2 texts", page)) == 3


def test_what_gradients_give_to_one_class_they_take_from_the_others(intents):
    shipped = ShippedClassifier(intents.out["compress"], trained=intents.out["train"])
    model, text = Classes(shipped), "please play some jazz music"
    weights = np.array([model.ask(text, label).gradients() for label in shipped.labels])
    assert weights.shape == (3, 5) and np.abs(weights).max() > 1e-3
    assert np.allclose(weights.sum(axis=0), 0, atol=1e-5)


def test_integrated_gradients_sum_to_the_difference_of_both_ends():
    torch = pytest.importorskip("torch")
    from guideway.pipeline.stages.explain.gradients import integrated_gradients, pooled

    text = torch.tensor([[1.0, 2.0], [0.5, -1.0], [3.0, 0.0]])

    def score(embedded):
        return embedded.sum(dim=(1, 2)) ** 2

    weights = integrated_gradients(score, text, [True, False, True])
    assert weights[1] == 0 and weights.sum() == pytest.approx(5.5**2 - 0.5**2, rel=1e-3)
    tokens = tokens_of("ab cd")
    assert pooled(weights, [(0, 1), (0, 0), (1, 4)], tokens).tolist() == pytest.approx(
        [weights[0] + weights[2] / 2, weights[2] / 2]
    )


def test_without_the_trained_weights_there_are_no_gradients(intents):
    case = Classes(ShippedClassifier(intents.out["compress"])).ask("please play some jazz music")
    with pytest.raises(SpecError, match="no weights that gradients"):
        case.gradients()
