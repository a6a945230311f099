"""What changed between two releases: a table of small changes, each in its section and nowhere else."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from guideway.core.artifact import Artifact, File, digest_bytes
from guideway.core.errors import Corrupt
from guideway.core.evidence import OBSERVER, Evidence, Interval, Producer, Subject
from guideway.core.release import Release
from guideway.sealing.difference import Change, Difference, FileChange, Side, Size, difference, side
from guideway.sealing.pack import attach, pack
from guideway.signing import dsse, statements
from guideway.signing.keys import signer, trusted
from guideway.store.blobs import Blobs

SPEC = {"name": "m", "task": "chat", "train": {"steps": 10, "layers": [4, 4]}, "policy": {"licence": "MIT"}}
SERVE = {"name": "m", "task": "chat", "engine": "onnx"}
LOCK = "python==3.11.7\ntorch==2.8.0\n"
A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def source(path: str = "a.jsonl", **change: Any) -> dict[str, Any]:
    return {"path": path, "digest": A, "rows": 10, "bytes": 99, "licence": "MIT", "origin": "here", **change}


def manifest(*sources: dict[str, Any], **change: Any) -> dict[str, Any]:
    splits = {"train": {"rows": 8, "digest": A}, "test": {"rows": 2, "digest": B, "rule": {"share": 0.2}}}
    return {"sources": list(sources or [source()]), "splits": splits, "seed": 7, **change}


def a_file(path: str, text: str) -> File:
    return File(path, len(text), digest_bytes(text.encode()))


def fact(
    value: float, around: float | None = None, role: str = "compress", slice: str = "test", **more: Any
) -> Evidence:
    interval = Interval(value - around, value + around, 0.95, "bootstrap") if around is not None else None
    more = {"metric": "loss", "unit": "nats", **more}
    return Evidence(value=value, subject=Subject("artifact", A, role), interval=interval, slice=slice, **more)


def one_side(*evidence: Evidence, spec: Any = None, files: Any = None, digest: str = A, **documents: Any) -> Side:
    """A side with the documents that are given, by the first word of their name, and the usual ones else."""
    known = {
        "data/manifest.json": documents.get("data", manifest()),
        "serve.json": documents.get("serve", SERVE),
        "policy.json": documents.get("policy", {"licence": "MIT", "limits": "none"}),
        "environment.lock": documents.get("environment", LOCK),
        "model/classifier.json": documents.get("model"),
        "model/embedder.json": documents.get("embedder"),
    }
    present = {path: value for path, value in known.items() if value is not None}
    held = (a_file("model.onnx", "weights"), a_file("spec.json", "{}")) if files is None else tuple(files)
    return Side(Release(digest, "m", 1, 0.0, held), SPEC if spec is None else spec, present, evidence)


def changed(found: Difference) -> set[str]:
    """The sections in which anything changed."""
    plain = {name: bool(getattr(found, name)) for name in ("interface", "parameters", "licence", "policy", "libraries")}
    plain["sources"] = bool(found.data.sources)
    plain["splits"] = any(not one.same for one in found.data.splits)
    plain["other"] = bool(found.data.other)
    plain["metrics"] = any(one.change != 0 for one in found.metrics)
    plain["files"] = bool(found.files.added or found.files.removed or found.files.changed)
    plain["size"] = bool(found.size.change)
    return {name for name, is_changed in plain.items() if is_changed}


@pytest.mark.parametrize(
    ("new", "sections"),
    [
        (one_side(), set()),
        (one_side(spec=SPEC | {"train": {"steps": 20, "layers": [4, 4]}}), {"parameters"}),
        (one_side(spec=SPEC | {"policy": {}}), set()),
        (one_side(serve=SERVE | {"task": "completion"}), {"interface"}),
        (one_side(serve=SERVE | {"decoding": {"seed": 3}}), set()),
        (one_side(policy={"licence": "Apache-2.0", "limits": "none"}), {"licence"}),
        (one_side(policy={"licence": "MIT", "limits": "many"}), {"policy"}),
        (one_side(policy=None), {"licence", "policy"}),
        (one_side(environment=LOCK.replace("2.8.0", "2.9.0")), {"libraries"}),
        (one_side(environment="# made by hand\n\n" + LOCK), set()),
        (one_side(data=manifest(source(digest=B))), {"sources"}),
        (one_side(data=manifest(source(licence="CC0-1.0"))), {"other"}),
        (one_side(data=manifest(source(), source("b.jsonl"))), {"sources", "other"}),
        (one_side(data=manifest(splits={"train": {"rows": 8, "digest": B}})), {"splits", "other"}),
        (one_side(data=None), {"sources", "splits", "other"}),
        (one_side(files=[a_file("model.onnx", "WEIGHTS"), a_file("spec.json", "{}")]), {"files"}),
        (one_side(files=[a_file("model.onnx", "weights")]), {"files", "size"}),
    ],
)
def test_a_change_shows_in_its_section_and_in_no_other(new, sections):
    assert changed(difference(one_side(), new)) == sections


def test_parameters_are_dotted_keys_with_old_and_new():
    old = {"train": {"steps": 10, "layers": [4, 4]}, "system": "a", "policy": {"x": 1}}
    new = {"train": {"steps": 20, "layers": [4, 5, 6]}, "empty": {}}
    assert difference(one_side(spec=old), one_side(spec=new)).parameters == (
        Change("empty", None, {}),
        Change("system", "a", None),
        Change("train.layers[1]", 4, 5),
        Change("train.layers[2]", None, 6),
        Change("train.steps", 10, 20),
    )


def test_sources_keep_their_path_so_that_one_more_in_front_changes_no_other():
    one, two = {"path": "z.jsonl", "licence": "MIT"}, {"path": "a.jsonl", "licence": "MIT"}
    old, new = one_side(spec={"data": {"sources": [one]}}), one_side(spec={"data": {"sources": [two, one]}})
    assert {change.key for change in difference(old, new).parameters} == {
        "data.sources[a.jsonl].path", "data.sources[a.jsonl].licence"
    }  # fmt: skip


def test_sources_and_splits_name_digests_and_rows():
    old = one_side(data=manifest(source("gone"), source("same"), source("other")))
    new = one_side(data=manifest(source("same"), source("other", digest=B, rows=12), source("fresh")))
    data = difference(old, new).data
    assert [(one.path, one.old, one.new, one.old_rows, one.new_rows) for one in data.sources] == [
        ("fresh", None, A, None, 10),
        ("gone", A, None, 10, None),
        ("other", A, B, 10, 12),
    ]
    assert data.same_sources == 1
    assert [(one.name, one.old_rows, one.new_rows, one.same) for one in data.splits] == [
        ("test", 2, 2, True), ("train", 8, 8, True)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "change", "noise"),
    [
        (fact(2.0, 0.1), fact(2.05, 0.1), 0.05, True),
        (fact(2.0, 0.1), fact(2.2, 0.1), 0.2, True),
        (fact(2.0, 0.1), fact(2.3, 0.1), 0.3, False),
        (fact(2.3, 0.1), fact(2.0, 0.1), -0.3, False),
        (fact(2.0), fact(2.3, 0.1), 0.3, None),
        (fact(2.0, 0.1), fact(2.3), 0.3, None),
    ],
)
def test_a_figure_says_whether_its_change_may_be_chance(old, new, change, noise):
    (found,) = difference(one_side(old), one_side(new)).metrics
    assert found.change == pytest.approx(change) and found.within_noise is noise


def test_figures_are_compared_by_metric_role_and_slice():
    old = one_side(fact(1.0), fact(2.0, slice="days"), fact(3.0, role="train"))
    new = one_side(fact(1.5), fact(9.0, slice="nights"), fact(3.0, role="train"))
    assert [(one.about, one.slice, one.old, one.new, one.change) for one in difference(old, new).metrics] == [
        ("compress", "days", 2.0, None, None),
        ("compress", "nights", None, 9.0, None),
        ("compress", "test", 1.0, 1.5, 0.5),
        ("train", "test", 3.0, 3.0, 0.0),
    ]


def test_what_is_seen_at_admission_is_not_gone_because_a_release_was_not_admitted():
    seen = fact(0.0, metric="missing_files", produced_by=Producer(OBSERVER, "1"))
    here, never = one_side(fact(1.0), seen), one_side(fact(1.0))
    for order in ((here, never), (never, here)):
        found = {one.name: one.unseen for one in difference(*order).metrics}
        assert found == {"loss": False, "missing_files": True}
    other = one_side(fact(1.0), fact(1.0, metric="card", produced_by=Producer(OBSERVER, "1")))
    assert not any(one.unseen for one in difference(here, other).metrics)  # both were looked at: it is gone


def test_what_a_tool_measured_comes_before_what_was_given_by_hand_and_then_the_newest_counts():
    facts = [fact(1.0, at=5.0), fact(2.0, at=6.0), fact(3.0, at=9.0, automatic=False)]
    for order in (facts, facts[::-1]):
        assert difference(one_side(*order), one_side(*order)).metrics[0].new == 2.0


def test_files_count_what_a_store_that_has_the_first_must_add():
    old = [a_file("a", "one"), a_file("b", "two"), a_file("gone", "1234")]
    new = [a_file("a", "one"), a_file("b", "three"), a_file("c", "three"), a_file("moved", "1234")]
    found = difference(one_side(files=old), one_side(files=new))
    assert found.files.changed == (FileChange("b", 3, 5),)
    assert found.files.added == (FileChange("c", None, 5), FileChange("moved", None, 4))
    assert found.files.removed == (FileChange("gone", 4, None),)
    assert (found.files.unchanged, found.files.unchanged_bytes, found.files.new_bytes) == (1, 3, 5)
    assert found.size == Size(10, 17, 7)


@pytest.mark.parametrize(
    ("serve", "keys"),
    [
        ({}, []),
        ({"name": "other"}, ["model"]),
        ({"engine": "transformers"}, []),
        ({"name": "other", "task": "completion", "engine": "x"}, ["model", "task"]),
    ],
)
def test_what_a_client_would_notice_is_counted(serve, keys):
    found = difference(one_side(), one_side(serve=SERVE | serve))
    assert [one.key for one in found.interface] == keys and found.interface_changes == len(keys)


def test_a_client_notices_labels_that_come_and_go():
    old = one_side(model={"labels": ["a", "b"], "out_of_scope": "none", "threshold": 0.5})
    new = one_side(model={"labels": ["b", "c"], "out_of_scope": "none", "threshold": 0.6})
    assert [(one.key, one.old, one.new) for one in difference(old, new).interface] == [
        ("label a", "there", None),
        ("label c", None, "there"),
    ]
    assert difference(old, old).interface_changes == 0


def test_a_client_notices_another_width_of_the_input_of_bytes():
    octets = {"name": "bytes", "datatype": "INT32", "begin": 2048, "end": 2048, "least": 8}
    old = one_side(model={"labels": ["a", "b"], "octets": octets})
    new = one_side(model={"labels": ["a", "b"], "octets": octets | {"begin": 1024, "end": 1024}})
    assert [(one.key, one.old, one.new) for one in difference(old, new).interface] == [
        ("input bytes", "INT32 [2048, 2048]", "INT32 [1024, 1024]")
    ]


def test_embeddings_of_other_weights_cannot_be_compared_with_those_that_a_client_keeps():
    settings = {"width": 384, "max_tokens": 256, "pooling": "mean"}
    old, new = (
        one_side(embedder=settings, files=[a_file("model/model.onnx", weights), a_file("spec.json", weights)])
        for weights in ("one", "two")
    )
    assert [one.key for one in difference(old, new).interface] == ["space"]
    assert difference(old, old).interface_changes == 0
    plain = [one_side(files=[a_file("model/model.onnx", weights)]) for weights in ("one", "two")]
    assert difference(*plain).interface_changes == 0, "what a model writes stays what it is: text"


def test_without_settings_the_spec_says_what_the_interface_is():
    asked = {"name": "m", "task": "chat", "serve": {"engine": "onnx"}}
    assert difference(one_side(), one_side(spec=asked, serve=None)).interface == ()


@pytest.mark.parametrize(
    "document", [{"data": [1]}, {"data": {"sources": [{"path": 3}]}}, {"serve": []}, {"policy": "none"}]
)
def test_a_document_of_another_shape_is_corrupt_and_named(document):
    with pytest.raises(Corrupt) as caught:
        difference(one_side(), one_side(**document))
    assert caught.value.where in ("data/manifest.json", "serve.json", "policy.json")


def test_the_difference_is_the_same_whatever_the_order_and_is_plain_json():
    facts, files = [fact(1.0), fact(2.0, slice="x")], [a_file("b", "2"), a_file("a", "1"), a_file("c", "3")]
    first = difference(one_side(), one_side(*facts, files=files))
    second = difference(one_side(), one_side(*facts[::-1], files=files[::-1]))
    assert first == second
    assert msgspec.json.decode(msgspec.json.encode(first), type=Difference) == first


class House:
    """A store, a key that is trusted, and one that is not."""

    def __init__(self, root) -> None:
        self.blobs = Blobs(root / "oci")
        self.signer, self.stranger = signer(root / "keys"), signer(root / "strange")
        self.trusted = trusted(root / "keys")

    def release(self, **documents: str) -> tuple[Release, dict[str, Any]]:
        texts = {"spec.json": json.dumps(SPEC), "serve.json": json.dumps(SERVE), "model/model.onnx": "weights"}
        texts |= {name.replace("_json", ".json"): text for name, text in documents.items()}
        files = [File(path, len(text), self.blobs.put_bytes(text.encode())) for path, text in texts.items()]
        descriptor = pack(self.blobs, "m", files, facts={})
        return Release(descriptor["digest"], "m", 1, 0.0, tuple(files)), descriptor

    def say(self, descriptor: dict[str, Any], statement: dict[str, Any], *, stranger: bool = False) -> None:
        text = dsse.seal(statement, self.stranger if stranger else self.signer)
        attach(self.blobs, descriptor, dsse.MEDIA_TYPE, text)


@pytest.fixture
def house(tmp_path):
    return House(tmp_path)


def provenance(name: str, output: str, inputs: dict[str, str], *evidence: Evidence) -> dict[str, Any]:
    return statements.provenance(
        name=name, output=output, parameters={}, inputs=inputs, builder="b", run="r",
        evidence=msgspec.to_builtins(evidence),
    )  # fmt: skip


def test_a_side_is_read_from_the_files_of_the_release_itself(house):
    release, _ = house.release()
    found = side(house.blobs, msgspec.structs.replace(release, files=()), house.trusted)
    assert found.spec == SPEC and found.documents == {"serve.json": SERVE}
    assert {file.path for file in found.release.files} == {"spec.json", "serve.json", "model/model.onnx"}


@pytest.mark.catalogue("B41")
def test_only_figures_that_a_trusted_key_signed_and_that_are_about_this_release_count(house):
    release, descriptor = house.release()
    package = Artifact.of(sorted(release.files, key=lambda file: file.path)).digest
    house.say(descriptor, provenance("package", package, {"compress": A}))
    house.say(descriptor, provenance("evaluate", B, {"compress": A}, fact(1.0)))
    house.say(descriptor, provenance("evaluate", B, {"compress": A}, fact(2.0, slice="forged")), stranger=True)
    foreign = msgspec.structs.replace(fact(3.0, slice="foreign"), subject=Subject("artifact", B, "compress"))
    house.say(descriptor, provenance("evaluate", B, {"compress": B}, foreign))
    about = msgspec.structs.replace(fact(4.0, slice="whole"), subject=Subject("release", release.digest))
    given = {"evidence": msgspec.to_builtins([about])}
    house.say(descriptor, statements.statement(statements.EVIDENCE, {"m": release.digest}, given))
    house.say(descriptor, {"_type": "odd", "predicateType": statements.EVIDENCE, "subject": 3, "predicate": []})
    attach(house.blobs, descriptor, dsse.MEDIA_TYPE, b"no envelope at all")
    found = side(house.blobs, release, house.trusted)
    assert {one.slice: one.value for one in found.evidence} == {"test": 1.0, "whole": 4.0}


@pytest.mark.parametrize(("text", "where"), [("{", "spec.json:1"), ("[]", "spec.json"), ("[" * 999, "spec.json")])
def test_a_release_whose_spec_is_broken_is_corrupt(house, text, where):
    release, _ = house.release(spec_json=text)
    with pytest.raises(Corrupt) as caught:
        side(house.blobs, release, house.trusted)
    assert caught.value.where == where


@pytest.mark.catalogue("A30")
def test_a_release_with_a_changed_document_is_corrupt(house):
    release, _ = house.release()
    path = house.blobs.path(next(file.digest for file in release.files if file.path == "spec.json"))
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b"chat", b"CHAT"))
    with pytest.raises(Corrupt):
        side(house.blobs, release, house.trusted)
