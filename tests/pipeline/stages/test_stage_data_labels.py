"""Stage data over labelled texts: classes, splits that keep their shares, and labels that teach nothing."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from classify_rig import classify_spec, labelled_rows
from hypothesis import given
from hypothesis import strategies as st
from stage_rig import read_jsonl, run_stage, write_jsonl

from guideway.core.errors import GuidewayError, SpecError
from guideway.core.spec import Split
from guideway.pipeline.stages.data.strata import Labelled, chosen


@pytest.fixture
def build(tmp_path):
    def builds(rows, out="out", **data):
        write_jsonl(tmp_path / "rows.jsonl", rows)
        asked = {"sources": [{"path": "rows.jsonl"}], **data}
        return run_stage("data", classify_spec(data=asked), tmp_path, tmp_path / out)

    return builds


def texts_of(job, split):
    return {row["text"] for row in read_jsonl(job.out / f"{split}.jsonl")}


def test_rows_keep_text_label_and_other_fields_apart(build):
    job = build(
        [{"q": " hi ", "intent": "greet", "at": 1}, {"q": "bye", "intent": "part"}], splits={}, text="q", label="intent"
    )
    first = read_jsonl(job.out / "train.jsonl")[0]
    assert (first["text"], first["label"], first["fields"]) == ("hi", "greet", {"at": 1})


def test_the_manifest_names_the_classes_and_counts_their_rows(build):
    parts = {name: {"by": ["part"], "values": [name]} for name in ("val", "test")}
    manifest = json.loads((build(labelled_rows(), out_of_scope="oos", splits=parts).out / "manifest.json").read_text())
    assert manifest["classes"] == ["money", "music", "weather"]
    assert manifest["out_of_scope"] == "oos"
    assert manifest["labels"]["music"] == {"train": 8, "val": 2, "test": 2}
    assert manifest["labels"]["oos"] == {"train": 0, "val": 2, "test": 2}


def test_every_label_gives_the_same_share_to_a_split(build):
    rows = [{"text": f"{label} {number}", "label": label} for label, n in (("a", 40), ("b", 10)) for number in range(n)]
    job = build(rows, splits={"test": {"share": 0.2}, "val": {"share": 0.25}})
    for name, wanted in (("test", {"a": 8, "b": 2}), ("val", {"a": 8, "b": 2})):
        assert Counter(row["label"] for row in read_jsonl(job.out / f"{name}.jsonl")) == wanted


def test_the_order_of_the_rows_changes_no_split(build):
    rows = [{"text": f"{label} {number}", "label": label} for label in "abc" for number in range(9)]
    one, two = build(rows, splits={"test": {"share": 0.3}}), build(rows[::-1], "again", splits={"test": {"share": 0.3}})
    assert texts_of(one, "test") == texts_of(two, "test")


@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from("ab")), min_size=1, max_size=60), st.floats(0.0, 1.0))
def test_a_text_is_in_one_split_whatever_labels_it_has(pairs, share):
    rows = [Labelled(str(text), label, {}) for text, label in pairs]
    found = chosen({"one": Split(share=share), "two": Split(share=share)}, rows, 7)
    assert not found["one"] & found["two"]
    assert found["one"] | found["two"] <= {row.content for row in rows}


def test_a_row_without_a_label_is_rejected_and_named(build):
    rows = [*({"text": f"t{n}", "label": "ab"[n % 2]} for n in range(8)), {"text": "x"}, {"text": "y", "label": " "}]
    with pytest.raises(GuidewayError, match=r"rows\.jsonl:9: no label in the field 'label'; rows\.jsonl:10: no label"):
        build(rows, splits={})
    job = build(rows, "lax", splits={}, max_bad_rows=0.5)
    assert job.one("rejected_rows").value == 0.2


def test_numbers_are_labels_and_lists_are_not(build):
    rows = [{"text": "a", "label": 0}, {"text": "b", "label": True}, {"text": "c", "label": ["x"]}]
    job = build(rows, splits={}, max_bad_rows=0.5)
    assert [row["label"] for row in read_jsonl(job.out / "train.jsonl")] == ["0", "true"]


@pytest.mark.parametrize(
    ("rows", "more", "says"),
    [
        ([{"text": "a", "label": "x"}, {"text": "b", "label": "x"}], {}, "the training rows have only the class 'x'"),
        ([{"text": "", "label": "x"}], {}, "every row is empty"),
        ([{"text": "a", "label": "oos"}], {"out_of_scope": "oos"}, "the training rows have no class"),
        ([{"text": t, "label": t} for t in "ab"], {"out_of_scope": "oss"}, "no row has the label 'oss'"),
    ],
)
def test_data_from_which_nothing_can_be_learnt_is_one_clear_line(build, rows, more, says):
    with pytest.raises((GuidewayError, SpecError), match=says) as refused:
        build(rows, splits={}, **more)
    assert "\n" not in str(refused.value)


def test_a_held_out_label_that_training_never_sees_is_refused(build):
    rows = [{"text": t, "label": t, "part": "train"} for t in "ab"] + [{"text": "c", "label": "c", "part": "test"}]
    with pytest.raises(GuidewayError, match="the label 'c' is held out in 'test', and no training row has it"):
        build(rows, splits={"test": {"by": ["part"], "values": ["test"]}})


def test_what_is_out_of_scope_is_a_class_only_when_asked(build):
    rows = [{"text": f"{label}{n}", "label": label} for label in ("a", "b", "oos") for n in range(3)]
    for learn, wanted in ((False, ["a", "b"]), (True, ["a", "b", "oos"])):
        job = build(rows, f"out-{learn}", splits={}, out_of_scope="oos", learn_out_of_scope=learn)
        assert json.loads((job.out / "manifest.json").read_text())["classes"] == wanted


def test_texts_with_two_labels_are_counted(build):
    rows = [{"text": "same", "label": "a"}, {"text": "Same", "label": "b"}, {"text": "other", "label": "a"}]
    assert build(rows, splits={}).one("conflicting_labels").value == pytest.approx(1 / 3)
