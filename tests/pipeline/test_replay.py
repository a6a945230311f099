"""A training that is run once more: the same bytes are no difference, other bytes are measured by their loss."""

from __future__ import annotations

import json

import msgspec
import pytest

from guideway.core.errors import SpecError
from guideway.core.events import StepFinished
from guideway.core.evidence import Evidence, Interval, Subject
from guideway.core.spec import load
from guideway.pipeline.replay import TOLERANCE, difference, replay
from guideway.pipeline.run import Repeated, run
from guideway.pipeline.stages import data, train
from guideway.pipeline.worker import Measured
from guideway.pipeline.workshop import open_workshop
from guideway.signing import dsse
from guideway.store import evidence, steps
from guideway.store.home import Home

SPEC = """guideway: 1
name: small
data: {sources: [{path: rows.jsonl}]}
train: {steps: 6, batch: 4, architecture: {layers: 1, hidden: 32, heads: 2, kv_heads: 1, feed_forward: 64,
        vocabulary: 300, context: 32}}
"""


def before(value, half=None, metric="validation_loss"):
    interval = half and Interval(value - half, value + half, 0.95, "normal")
    return Evidence(metric, value, "nats/token", Subject("artifact", "sha256:1", "train"), n=20, interval=interval)


def after(value, half=None, metric="validation_loss"):
    interval = half and Interval(value - half, value + half, 0.95, "normal")
    return Measured(metric, value, "nats/token", "out", 20, interval)


def test_the_same_bytes_are_no_difference_whatever_was_measured():
    found = difference("sha256:1", [before(2.0, 0.1)], "sha256:1", [after(2.0, 0.1)])
    assert (found.value, found.n, found.said) == (0.0, 20, "the same bytes")


@pytest.mark.parametrize(
    ("again", "beyond", "word"),
    [
        (2.0 + TOLERANCE / 2, 0.0, "within"),
        (2.0 - TOLERANCE / 2, 0.0, "within"),
        (2.0 + 3 * TOLERANCE, 2 * TOLERANCE, "beyond"),
        (2.0 - 3 * TOLERANCE, 2 * TOLERANCE, "beyond"),
    ],
)
def test_other_bytes_are_apart_by_what_their_loss_exceeds_the_tolerance(again, beyond, word):
    found = difference("sha256:1", [before(2.0)], "sha256:2", [after(again)])
    assert found.value == pytest.approx(beyond) and word in found.said and found.interval is None


def test_the_interval_holds_what_both_are_unsure_of():
    found = difference("sha256:1", [before(2.0, 0.3)], "sha256:2", [after(2.5, 0.4)])
    low, high = found.interval.low, found.interval.high
    assert (found.value, low, high) == pytest.approx((0.49, 0.0, 1.0 - TOLERANCE))


def test_where_no_row_was_held_out_the_loss_on_those_learned_is_compared():
    olds, news = [before(1.0, metric="train_loss")], [after(1.5, metric="train_loss")]
    assert "train_loss 0.5 apart" in difference("sha256:1", olds, "sha256:2", news).said


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A real training, as a build leaves it."""
    root = tmp_path_factory.mktemp("replay")
    (root / "guideway.yaml").write_text(SPEC)
    rows = [{"prompt": f"say {number}", "response": f"{number} it is"} for number in range(60)]
    (root / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    file, shop = load(root / "guideway.yaml", variables={}), open_workshop(Home.of(root))
    results = run(file.spec, root, {"data": data, "train": train}, shop, lambda event: None)
    return file, shop, results


def replayed(trained, results):
    file, shop, _ = trained
    events = []
    envelope = replay(file, results, shop, events.append)
    facts = {one.evidence.metric: one for one in evidence.all_of(shop.database) if one.envelope == envelope}
    (told,) = [event.facts for event in events if isinstance(event, StepFinished)]
    return envelope, facts, told


@pytest.mark.thorough
def test_a_real_training_repeats_to_the_bit_and_the_proof_is_signed_and_about_the_model(trained):
    _, shop, results = trained
    envelope, facts, told = replayed(trained, results)
    assert told == ("the same bytes",) and set(facts) == {"replay_difference", "replay_identical"}
    assert facts["replay_difference"].evidence.value == 0 and facts["replay_identical"].evidence.value == 1
    assert {one.evidence.subject.digest for one in facts.values()} == {results["train"].artifact.digest}
    assert facts["replay_difference"].evidence.produced_by.run == results["train"].key
    assert dsse.unseal(shop.blobs.read(envelope), shop.trusted)
    assert steps.step(shop.database, results["train"].key) == results["train"], "what was kept is as it was"


def test_a_model_that_does_not_come_about_again_is_told(trained, monkeypatch):
    *_, results = trained
    losses = [one for one in results["train"].evidence if one.metric == "validation_loss"]
    other = Repeated("sha256:" + "0" * 64, (after(losses[0].value + 1.0),))
    monkeypatch.setattr("guideway.pipeline.replay.repeat", lambda *given, **more: other)
    _, facts, told = replayed(trained, results)
    assert facts["replay_difference"].evidence.value == pytest.approx(1.0 - TOLERANCE)
    assert facts["replay_identical"].evidence.value == 0 and "beyond the tolerance" in told[0]


def test_a_private_training_is_not_replayed(trained):
    file, shop, results = trained
    private = msgspec.convert(
        {**msgspec.to_builtins(file.spec.train), "privacy": {"epsilon": 8.0}}, type(file.spec.train)
    )
    file = msgspec.structs.replace(file, spec=msgspec.structs.replace(file.spec, train=private))
    with pytest.raises(SpecError, match="would spend the privacy of the rows again"):
        replay(file, results, shop, lambda event: None)
