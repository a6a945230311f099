"""The bill of materials: valid by the library's strict schema, whole on a filled-in dossier, honest on an empty one."""

from __future__ import annotations

import json
import sys
import uuid

import msgspec
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from report_rig import (
    DATASHEET,
    FILES,
    RELEASE,
    SUBJECTS,
    drawn,
    empty,
    fact,
    in_chinese,
    plain_spec,
    rich,
    with_policy,
)

from guideway.core.errors import Unavailable
from guideway.standard.reports import bom_completeness, render
from guideway.standard.reports.bom_fields import FIELDS


def bill(dossier, **more):
    return json.loads(render("aibom", drawn(dossier, **more), language="en", form="json"))


@pytest.fixture(scope="module")
def found():
    return bill(rich())


FULL_OF_TRAPS = with_policy(
    rich(ships="train", proofs=(fact("perplexity", float("nan"), "train", slice="a"),)),
    contact="who@@example <x@y>\x1b[0m",
    licence="(MIT OR",
    intended_use="\x00<script>",
)


@pytest.mark.parametrize("dossier", [rich(), empty(), in_chinese(), FULL_OF_TRAPS, rich(release=None)])
def test_every_bill_is_valid_by_the_strict_schema(dossier):
    text = render("aibom", drawn(dossier), language="en", form="json")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None


def test_the_model_is_the_release(found):
    model = found["metadata"]["component"]
    assert model["type"] == "machine-learning-model"
    assert (model["name"], model["version"]) == ("librarian", "3")
    assert model["hashes"] == [{"alg": "SHA-256", "content": RELEASE.digest.removeprefix("sha256:")}]
    assert model["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    assert model["supplier"]["contact"] == [{"email": "ask@example.org"}]
    assert model["purl"] == f"pkg:oci/librarian@{RELEASE.digest.replace(':', '%3A')}"


def test_every_file_of_the_release_is_there_with_its_hash(found):
    listed = {one["name"]: one["hashes"][0]["content"] for one in found["components"] if one["type"] == "file"}
    assert listed == {one.path: one.digest.removeprefix("sha256:") for one in FILES}


def test_figures_have_their_slices_and_confidence_intervals(found):
    metrics = found["metadata"]["component"]["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    one = next(one for one in metrics if (one["type"], one["slice"]) == ("exact_match", "phrasings"))
    assert one["value"] == "0.93"
    interval = {key: float(value) for key, value in one["confidenceInterval"].items()}
    assert interval == {"lowerBound": pytest.approx(0.91), "upperBound": pytest.approx(0.95)}
    assert {"baseline_exact_match", "kl_to_source"} <= {one["type"] for one in metrics}


def test_the_card_says_what_the_model_is_and_is_for(found):
    card = found["metadata"]["component"]["modelCard"]
    parameters = card["modelParameters"]
    assert parameters["approach"] == {"type": "supervised"}
    assert (parameters["architectureFamily"], parameters["modelArchitecture"]) == ("llama", "LlamaForCausalLM")
    assert parameters["datasets"] == [{"ref": "data:data/facts.jsonl"}]
    assert card["considerations"]["technicalLimitations"] == ["Knows nothing newer than its data."]
    assert "kl_to_source 0.0012" in card["considerations"]["performanceTradeoffs"][0]


def test_data_has_hash_licence_and_who_looks_after_it(found):
    data = next(one for one in found["components"] if one["type"] == "data")
    assert data["licenses"] == [{"license": {"id": "PSF-2.0"}}]
    about = data["data"][0]
    assert about["governance"]["custodians"] == [{"organization": {"name": DATASHEET["maintainer"]}}]
    assert about["sensitiveData"] == [DATASHEET["people"]]


def test_libraries_have_package_urls(found):
    listed = {one["name"]: one["purl"] for one in found["components"] if one["type"] in ("library", "platform")}
    assert listed["onnxruntime"] == "pkg:pypi/onnxruntime@1.32.0"
    assert listed["python"] == "pkg:generic/python@3.11.9"


def test_signed_evidence_is_referred_to_by_digest(found):
    listed = found["metadata"]["component"]["externalReferences"]
    envelope = fact("x", 0, "compress").envelope
    measured = next(one for one in listed if one["type"] == "quality-metrics")
    assert measured["url"] == f"blobs/{envelope.replace(':', '/')}"
    assert {"type": "license", "url": "https://spdx.org/licenses/Apache-2.0.html"} in listed


def test_the_model_depends_on_every_part_and_names_are_unique(found):
    references = [one["bom-ref"] for one in found["components"]]
    assert len(references) == len(set(references))
    assert found["dependencies"][0] == {"ref": "model", "dependsOn": references}


@pytest.mark.parametrize(
    ("train", "wanted"),
    [
        (
            {"recipe": "full", "base": "models/small"},
            {"type": "machine-learning-model", "bom-ref": "base", "name": "models/small"},
        ),
        ({"recipe": "scratch"}, None),
    ],
)
def test_the_base_model_is_the_ancestor(train, wanted):
    pedigree = bill(rich(spec=plain_spec(train=train)))["metadata"]["component"]["pedigree"]
    assert pedigree.get("ancestors") == ([wanted] if wanted else None)
    assert wanted or "no base model" in pedigree["notes"]


def test_serial_number_and_time_follow_from_the_input_alone(found):
    assert found["serialNumber"] == f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, RELEASE.digest)}"
    assert found["metadata"]["timestamp"] == "2025-11-24T16:00:00Z"
    later = bill(rich(), at=1_764_000_060.0)
    assert later["metadata"].pop("timestamp") == "2025-11-24T16:01:00Z"
    assert {
        **found,
        "metadata": {key: value for key, value in found["metadata"].items() if key != "timestamp"},
    } == later


@pytest.mark.parametrize(
    ("origin", "linked"),
    [
        ("https://example.org/data/a.tar", True),
        ("javascript:alert(1)", False),
        ("https://example.org/ <script>", False),
        ("docstrings", False),
    ],
)
def test_only_an_address_is_a_link_to_where_data_came_from(origin, linked):
    dossier = rich(spec=plain_spec(data={"sources": [{"path": "a", "origin": origin}]}), documents={})
    data = next(one for one in bill(dossier)["components"] if one["type"] == "data")
    assert ("externalReferences" in data) is linked


def test_a_filled_in_dossier_is_at_least_95_of_100():
    share, missing = bom_completeness(rich())
    assert share >= 0.95
    assert missing == ()


def test_an_empty_dossier_is_honestly_low():
    share, missing = bom_completeness(empty())
    assert share <= 0.05
    assert {"licence", "files", "data", "metrics"} <= set(missing)


def test_there_are_at_least_thirty_fields_and_they_weigh_100():
    assert len(FIELDS) >= 30
    assert len({one.name for one in FIELDS}) == len(FIELDS)
    assert sum(one.weight for one in FIELDS) == 100


def without(*metrics):
    return rich(proofs=tuple(one for one in rich().proofs if one.evidence.metric not in metrics))


SHEETLESS = [{"path": "data/*.jsonl", "licence": "PSF-2.0", "origin": "docstrings"}]
LACKING = {
    "licence": with_policy(rich(), licence=""),
    "supplier": with_policy(rich(), contact=""),
    "use_cases": with_policy(rich(), intended_use=""),
    "limitations": with_policy(rich(), limits=""),
    "oversight": with_policy(rich(), oversight=""),
    "tradeoffs": without("kl_to_source", "top1_flips"),
    "parameters": without("non_finite_weights"),
    "data_people": rich(spec=plain_spec(data={"sources": SHEETLESS})),
    "data_digests": rich(documents={key: value for key, value in rich().documents.items() if "manifest" not in key}),
    "libraries": rich(documents={key: value for key, value in rich().documents.items() if "lock" not in key}),
    "release_digest": rich(release=None),
    "attestations": rich(proofs=tuple(msgspec.structs.replace(one, envelope="") for one in rich().proofs)),
    "metric_intervals": rich(proofs=(fact("exact_match", 0.9, "compress", slice="a"),)),
}


@pytest.mark.parametrize("field", LACKING)
def test_a_field_that_lacks_is_named_and_costs_its_weight(field):
    share, missing = bom_completeness(LACKING[field])
    weights = {one.name: one.weight for one in FIELDS}
    assert field in missing
    assert share == pytest.approx(1 - sum(weights[name] for name in missing) / 100)


def test_completeness_needs_no_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "cyclonedx.validation.json", None)
    assert bom_completeness(rich()).share >= 0.95
    with pytest.raises(Unavailable, match=r"needs cyclonedx-python-lib .pip install 'guideway\[bom\]'"):
        render("aibom", drawn(rich()), language="en", form="json")


def test_the_summary_for_people_has_the_same_parts():
    text = render("aibom", drawn(rich()), language="en", form="md")
    assert "It is 100% complete, by a list of 42 weighted fields." in text
    assert all(one.digest.removeprefix("sha256:") in text for one in FILES)
    assert "`pkg:pypi/onnxruntime@1.32.0`" in text
    assert SUBJECTS["train"] not in text
