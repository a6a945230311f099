"""The model card: metadata that the Hub reads, every field with and without evidence, and how complete it is."""

from __future__ import annotations

import json
import math

import msgspec
import pytest
import yaml
from huggingface_hub import ModelCard
from report_rig import AT, DATASHEET, DAY, FILES, POLICY, SUBJECTS, drawn, empty, fact, plain_spec, rich, with_policy

from guideway.core.artifact import short
from guideway.core.evidence import Interval
from guideway.standard.reports import card_completeness, render
from guideway.standard.reports.card import FIELDS, metadata, named


def card(dossier, language="en"):
    return render("card", drawn(dossier), language=language, form="md")


def front(dossier):
    text = card(dossier)
    return yaml.safe_load(text.split("---\n")[1])


def test_the_front_matter_has_the_keys_that_the_hub_knows():
    found = front(rich())
    assert list(found) == ["license", "pipeline_tag", "tags", "datasets", "metrics", "model-index"]
    assert found["license"] == "apache-2.0"
    assert found["tags"] == ["guideway", "onnx", "chat", "int8"]
    assert found["datasets"] == ["facts"]
    assert found["metrics"] == ["exact_match", "perplexity"]


def test_what_a_search_found_goes_before_what_the_spec_says():
    found = {"learning_rate": 0.0123, "architecture.layers": 3}
    tuned = msgspec.structs.replace(rich(), documents={**rich().documents, "tuned.json": found})
    assert "0.0123" in card(tuned) and "0.0123" not in card(rich())
    aibom = json.loads(render("aibom", drawn(tuned), language="en", form="json"))
    assert {"name": "guideway:train:architecture.layers", "value": "3"} in _properties(aibom)


def _properties(plain):
    """Every property anywhere in a bill of materials."""
    if isinstance(plain, dict):
        return [*plain.get("properties", ()), *(one for value in plain.values() for one in _properties(value))]
    return [one for value in plain for one in _properties(value)] if isinstance(plain, list) else []


def test_the_hubs_own_library_reads_the_results():
    results = ModelCard(card(rich())).data.eval_results
    read = {(one.dataset_split, one.metric_type): one.metric_value for one in results}
    assert read[("phrasings", "exact_match")] == 0.93
    assert read[("unseen", "perplexity")] == 2.5
    assert {one.source_url for one in results} == {named(fact("x", 0, "compress").envelope)}
    assert {one.dataset_revision for one in results} == {SUBJECTS["data"]}


def test_an_empty_dossier_has_honest_metadata():
    assert front(empty()) == {"license": "unknown", "pipeline_tag": "text-generation", "tags": ["guideway"]}


@pytest.mark.parametrize(
    ("licence", "wanted"),
    [
        ("MIT", {"license": "mit"}),
        ("GPL-3.0-only", {"license": "gpl-3.0"}),
        ("AGPL-3.0-or-later", {"license": "agpl-3.0"}),
        ("PSF-2.0", {"license": "other", "license_name": "psf-2.0"}),
        ("Our own words", {"license": "other", "license_name": "our-own-words"}),
        (" ", {"license": "unknown"}),
    ],
)
def test_a_licence_becomes_one_that_the_hub_takes(licence, wanted):
    found = metadata(drawn(with_policy(rich(), licence=licence)))
    assert {key: value for key, value in found.items() if key.startswith("license")} == wanted


def test_a_data_set_of_the_hub_keeps_its_name_there():
    source = {"path": "d.jsonl", "origin": "https://huggingface.co/datasets/org/name"}
    dossier = rich(spec=plain_spec(data={"sources": [source]}), documents={})
    assert metadata(drawn(dossier))["datasets"] == ["org/name"]


def test_a_figure_that_is_no_number_is_in_no_result():
    dossier = rich(proofs=(fact("perplexity", math.inf, "compress", slice="a"),))
    assert "model-index" not in metadata(drawn(dossier))


def test_a_baseline_or_a_check_is_no_result_of_the_model():
    checked = fact("non_finite_outputs", 0, "compress", "rows", n=400, slice="phrasings")
    dossier = rich(proofs=(*rich().proofs, checked))
    kinds = {entry["type"] for one in front(dossier)["model-index"][0]["results"] for entry in one["metrics"]}
    assert kinds == {"exact_match", "perplexity"}


@pytest.mark.parametrize("text", [*POLICY.values(), *DATASHEET.values()])
def test_everything_that_the_team_wrote_is_on_the_card(text):
    shown = card(rich()).replace("\\", "")
    assert text in shown
    assert text not in card(empty()).replace("\\", "")


@pytest.mark.parametrize("key", POLICY)
@pytest.mark.parametrize(("language", "said"), [("en", "Fill in `policy.{key}`"), ("zh", "请填写 `policy.{key}`")])
def test_a_policy_that_is_silent_is_told(key, language, said):
    assert said.format(key=key) not in card(rich(), language)
    assert said.format(key=key) in card(with_policy(rich(), **{key: ""}), language)


@pytest.mark.parametrize("key", DATASHEET)
def test_a_silent_datasheet_is_told(key):
    source = {"path": "data/*.jsonl", "datasheet": {**DATASHEET, key: " "}}
    dossier = rich(spec=plain_spec(data={"sources": [source]}))
    assert f"Fill in `datasheet.{key}`" in card(dossier)
    assert f"Fill in `datasheet.{key}`" not in card(rich())


@pytest.mark.parametrize(
    "row",
    [
        "| answers that match exactly `exact_match` | 0.93 | 0.91 to 0.95 (95 %, wilson) | 400 | 0.61 | 0.94 |",
        "| `unseen` (reported, not judged) | answers that match exactly `exact_match` | 0.04 |",
        "| divergence from the trained model `kl_to_source` | 0.0012 nats per token | 0.001 to 0.0014",
        "| size of the weights `model_bytes` | 6.0 MB | none |",
        "| Steps | `1200` |",
        "| Loss at the end | 0.31 nats per token after 1,200 steps |",
        "| Weights | 1,512,448 |",
        "| `OPS-05` | no load is expected yet | li | 2025-10-15 | 2025-12-24 |",
        "| mei | 2025-11-24 | read and tried |",
        "| `SEC-01` | Nothing in the release can run, and every file is of an allowed format | **proven** |",
        "| `train` | 8,100 | – |",
    ],
)
def test_a_figure_of_the_evidence_is_on_the_card(row):
    assert row in card(rich())
    assert row not in card(empty())


def test_a_waiver_that_ended_or_speaks_of_another_place_is_not_in_force():
    assert "long gone" not in card(rich())
    elsewhere = msgspec.structs.replace(rich(), environment="staging")
    assert "No waiver is in force." in card(elsewhere)


def test_every_file_stands_there_with_its_digest():
    text = card(rich())
    assert all(f"| `{one.path}` | {one.size:,} | `{one.digest}` |" in text for one in FILES)


def test_an_expired_figure_says_since_when():
    old = fact("exact_match", 0.9, "compress", "share", slice="a", valid_until=AT - 2 * DAY)
    assert "| 0.9 (expired 2025-11-22) |" in card(rich(proofs=(old,)))


def test_evidence_about_another_model_is_not_shown():
    other = fact("exact_match", 0.77, "train", "share", slice="a")
    assert "0.77" not in card(rich(proofs=(other,)))
    assert "0.77" in card(rich(proofs=(other,), ships="train"))


def test_a_model_that_ships_as_trained_was_not_compressed():
    assert "nothing was compressed" in card(rich(ships="train"))


def test_a_measurement_by_a_tool_is_shown_before_one_by_hand():
    tool = fact("exact_match", 0.5, "compress", slice="a")
    hand = fact("exact_match", 0.9, "compress", slice="a", automatic=False)
    newer = msgspec.structs.replace(hand.evidence, at=AT)
    hand = msgspec.structs.replace(hand, evidence=newer)
    for order in ((tool, hand), (hand, tool)):
        assert f"| 0.5 | none | – | not measured | not measured | `{short(tool.digest)}` |" in card(rich(proofs=order))


def test_of_two_measurements_by_a_tool_the_newer_one_is_shown():
    old = fact("exact_match", 0.5, "compress", slice="a")
    new = msgspec.structs.replace(old, evidence=msgspec.structs.replace(old.evidence, value=0.6, at=AT))
    for order in ((old, new), (new, old)):
        assert "| 0.6 | none |" in card(rich(proofs=order))


def test_the_commit_is_named_as_the_build_named_it():
    source = {"kind": "code", "digest": SUBJECTS["code"], "role": "4f2c9d1"}
    proof = fact(
        "dirty_files", 0, "package", source=msgspec.convert(source, type(fact("x", 0, "code").evidence.subject))
    )
    assert "| Code | `4f2c9d1` |" in card(rich(proofs=(proof,)))
    assert f"| Code | `{short(SUBJECTS['code'])}` |" in card(rich())


def test_a_filled_in_card_is_complete_and_an_empty_one_is_not():
    assert card_completeness(rich()) == (1.0, ())
    share, missing = card_completeness(empty())
    assert (share, missing) == (0.0, tuple(FIELDS))


WITHOUT = {
    "intended_use": with_policy(rich(), intended_use=""),
    "contact": with_policy(rich(), contact="  "),
    "release": rich(release=None),
    "data_licence": rich(
        documents={}, spec=plain_spec(data={"sources": [{"path": "a", "origin": "b", "datasheet": DATASHEET}]})
    ),
    "data_people": rich(
        documents={},
        spec=plain_spec(
            data={"sources": [{"path": "a", "origin": "b", "licence": "MIT", "datasheet": {**DATASHEET, "people": ""}}]}
        ),
    ),
    "train_loss": rich(proofs=tuple(one for one in rich().proofs if one.evidence.metric != "train_loss")),
    "safety_scan": rich(proofs=tuple(one for one in rich().proofs if one.evidence.metric != "unsafe_files")),
    "compression": rich(proofs=tuple(one for one in rich().proofs if one.evidence.metric != "kl_to_source")),
    "evaluation_intervals": rich(proofs=(*rich().proofs, fact("accuracy", 0.5, "compress", slice="a"))),
}


@pytest.mark.parametrize("field", WITHOUT)
def test_one_empty_field_is_named_and_costs_its_share(field):
    share, missing = card_completeness(WITHOUT[field])
    assert field in missing
    assert share == pytest.approx(1 - len(missing) / len(FIELDS))
    assert f"Empty: {', '.join(missing)}".replace("_", "\\_") in card(WITHOUT[field])


def test_an_interval_is_not_drawn_where_a_bound_is_no_number():
    proof = fact("perplexity", 3.0, "compress", slice="a", interval=Interval(2.0, math.inf, 0.95, "bootstrap"))
    html = render("card", drawn(rich(proofs=(proof,))), language="en", form="html")
    assert "<svg" not in html
    assert "2 to inf" in html
