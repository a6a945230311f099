"""Model signatures are read strictly: the published vectors come out as named, and every departure is refused."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from oms_rig import FILES, bundle_of, statement_of, text_of
from referencing import Registry, Resource

from guideway.core.errors import Corrupt
from guideway.signing import dsse
from guideway.signing.keys import Signer
from guideway.signing.oms_bundle import read_bundle

ANNA = Signer.generate("anna")
GONE = object()


@pytest.fixture(scope="session")
def vectors():
    return Path(os.environ["GUIDEWAY_TEST_DATA"]) / "oms-test-vectors"


@pytest.mark.data
@pytest.mark.catalogue("B39")
@pytest.mark.parametrize("method", ["key", "certificate", "sigstore"])
def test_the_valid_vectors_are_valid(vectors, method):
    bundle = read_bundle((vectors / f"{method}.bundle.json").read_bytes())
    assert bundle.method == method and [one.name for one in bundle.resources] == ["signme-1", "signme-2"]
    assert "ignore-me" in bundle.serialization.ignore_paths


@pytest.mark.data
@pytest.mark.catalogue("B39")
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("empty", "not a model signature"),
        ("missing-envelope", "missing required field `dsseEnvelope`"),
        ("missing-tlog-entries", "needs tlogEntries"),
        ("missing-verification-material", "missing required field `verificationMaterial`"),
        ("wrong-predicate", "predicate type 'https://example.com/wrong-predicate/v1.0'"),
    ],
)
def test_the_invalid_vectors_are_refused_for_what_their_names_say(vectors, name, says):
    with pytest.raises(Corrupt) as caught:
        read_bundle((vectors / f"{name}.bundle.json").read_bytes(), where=name)
    assert says in caught.value.what and "\n" not in str(caught.value)


@pytest.mark.data
def test_the_wrong_predicate_is_an_envelope_nevertheless(vectors):
    envelope = json.loads((vectors / "wrong-predicate.bundle.json").read_text())["dsseEnvelope"]
    assert dsse.signers(json.dumps(envelope).encode(), {ANNA.id: ANNA}) == ()


def material(**parts):
    return {"verificationMaterial": parts}


ENTRY = {"logIndex": "1", "inclusionProof": {"hashes": ["a"], "checkpoint": {"envelope": "x"}}}
CERTIFICATE = {"rawBytes": "AAAA"}


@pytest.mark.catalogue("B39")
@pytest.mark.parametrize(
    ("outer", "method"),
    [
        ({}, "key"),
        (material(publicKey={"hint": ""}), "key"),
        (material(publicKey={"rawBytes": "AAAA", "keyDetails": "PKIX_ECDSA_P256_SHA_256"}), "key"),
        (material(x509CertificateChain={"certificates": [CERTIFICATE]}), "certificate"),
        (material(certificate=CERTIFICATE, tlogEntries=[ENTRY]), "sigstore"),
        ({"mediaType": "application/vnd.dev.sigstore.bundle+json;version=0.3"}, "key"),
    ],
)
def test_each_method_is_told_by_its_material(outer, method):
    assert read_bundle(json.dumps(bundle_of(statement_of(), ANNA) | outer).encode()).method == method


@pytest.mark.catalogue("B39")
@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (["mediaType"], "application/json", "media type"),
        (["mediaType"], GONE, "mediaType"),
        (["more"], 1, "unknown field `more`"),
        (["messageSignature"], {}, "unknown field"),
        (["verificationMaterial"], GONE, "verificationMaterial"),
        (["verificationMaterial"], {"tlogEntries": []}, "needs one of"),
        (["verificationMaterial"], {"publicKey": {}}, "needs a hint"),
        (["verificationMaterial", "certificate"], CERTIFICATE, "needs one of"),
        (["verificationMaterial"], {"certificate": CERTIFICATE}, "needs tlogEntries"),
        (["verificationMaterial"], {"certificate": CERTIFICATE, "tlogEntries": []}, "needs tlogEntries"),
        (["verificationMaterial"], {"certificate": {"rawBytes": ""}, "tlogEntries": [ENTRY]}, "certificate is empty"),
        (["verificationMaterial"], {"x509CertificateChain": {"certificates": []}}, "certificate is empty"),
        (["verificationMaterial"], {"publicKey": None}, "Expected `object`, got `null`"),
        (["verificationMaterial", "tlogEntries"], [{"logIndex": 1}], "Expected `str`, got `int`"),
        (["dsseEnvelope"], GONE, "dsseEnvelope"),
        (["dsseEnvelope", "more"], 1, "unknown field"),
        (["dsseEnvelope", "payload"], "", "empty payload"),
        (["dsseEnvelope", "payload"], "!!", "not a model signature"),
        (["dsseEnvelope", "payload"], "bm8=", "not a model signature"),
        (["dsseEnvelope", "payloadType"], "text/plain", "payload type 'text/plain'"),
        (["dsseEnvelope", "signatures"], [], "0 signatures"),
        (["dsseEnvelope", "signatures"], [{"sig": "AAAA"}, {"sig": "AAAA"}], "2 signatures"),
        (["dsseEnvelope", "signatures", 0, "sig"], "", "empty payload or signature"),
    ],
)
def test_a_bundle_that_departs_from_the_format_is_refused(path, value, says):
    with pytest.raises(Corrupt) as caught:
        read_bundle(json.dumps(changed(bundle_of(statement_of(), ANNA), path, value)).encode())
    assert says in caught.value.what and "\n" not in caught.value.what


@pytest.mark.catalogue("B39")
@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (["_type"], "https://in-toto.io/Statement/v0.1", "statement type"),
        (["predicateType"], "https://model_signing/Digests/v0.1", "predicate type"),
        (["more"], 1, "unknown field"),
        (["subject"], [], "one subject"),
        (["subject", 0, "name"], "", "one subject, with a name"),
        (["subject", 0, "digest", "sha256"], "0" * 64, "not the one over its resources"),
        (["subject", 0, "digest"], {}, "not the one over its resources"),
        (["subject", 0, "digest", "sha512"], "XYZ", "not hexadecimal"),
        (["predicate", "more"], 1, "unknown field"),
        (["predicate", "resources"], [], "lists no files"),
        (["predicate", "resources", 0, "digest"], "AB" * 32, "the digest of 'config.json'"),
        (["predicate", "resources", 0, "digest"], "ab" * 16, "the digest of 'config.json'"),
        (["predicate", "resources", 0, "algorithm"], "blake2b", "by blake2b, not by sha256"),
        (["predicate", "resources", 0, "algorithm"], "md5", "Invalid enum value 'md5'"),
        (["predicate", "resources", 0, "name"], "zzz", "not sorted"),
        (["predicate", "resources", 1, "name"], "config.json", "listed twice"),
        *((["predicate", "resources", 0, "name"], bad, "path ") for bad in
          ("", "/etc/passwd", "../a", "a/../b", "./a", "a/./b", "a//b", "a/", ".", "a\0")),
        (["predicate", "serialization", "method"], "tree", "Invalid enum value"),
        (["predicate", "serialization", "hash_type"], "blake3", "by sha256, not by blake3"),
        (["predicate", "serialization", "allow_symlinks"], GONE, "allow_symlinks"),
        (["predicate", "serialization", "more"], 1, "unknown field"),
        (["predicate", "serialization", "shard_size"], 9, "belongs to the method 'shards'"),
        (["predicate", "serialization", "method"], "shards", "belongs to the method 'shards'"),
        *((["predicate", "serialization", "ignore_paths"], [bad], "ignored path") for bad in
          ("", ".", "..", "/a", "../a", "*.tmp", "a/[b]", "a?", "a/")),
    ],
)  # fmt: skip
def test_a_statement_that_departs_from_the_format_is_refused(path, value, says):
    with pytest.raises(Corrupt) as caught:
        read_bundle(text_of(changed(statement_of(), path, value), ANNA))
    assert says in caught.value.what


@pytest.mark.parametrize("names", [["a-b/c", "a.txt", "a/b"], ["a/b", "a-b/c", "a.txt"]])
def test_the_order_of_the_specification_and_that_of_the_reference_implementation_are_read(names):
    statement = statement_of(dict.fromkeys(names, b"same"))
    statement["predicate"]["resources"].sort(key=lambda one: names.index(one["name"]))
    assert [one.name for one in read_bundle(text_of(statement, ANNA)).resources] == names


@pytest.mark.parametrize(
    ("name", "good"), [("w.bin:0:8", True), ("a:b:0:8", True), ("w.bin", False), ("w.bin:8:8", False), (":0:8", False),
                       ("w.bin:0:08", False), ("../w:0:8", False)]
)  # fmt: skip
def test_a_shard_is_a_path_and_a_range(name, good):
    text = text_of(statement_of({name: b"8 bytes."}, method="shards", shard_size=8), ANNA)
    if good:
        assert read_bundle(text).resources[0].name == name
    else:
        with pytest.raises(Corrupt, match="path "):
            read_bundle(text)


def test_unknown_fields_of_a_resource_are_ignored_as_the_specification_asks():
    statement = statement_of()
    statement["predicate"]["resources"][0]["media_type"] = "application/json"
    assert len(read_bundle(text_of(statement, ANNA)).resources) == len(FILES)


@given(st.binary(max_size=80))
def test_no_bytes_give_anything_but_a_clear_refusal(data):
    with pytest.raises(Corrupt):
        read_bundle(data)


def test_no_depth_of_nesting_brings_the_reader_down():
    with pytest.raises(Corrupt, match="not a model signature"):
        read_bundle(b'{"mediaType":"x","verificationMaterial":{"x":' + b"[" * 100_000)


@pytest.mark.data
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_the_published_schemas_refuse_is_refused_here(schemas, data):
    outer, inner = bundle_of(statement_of(), ANNA), statement_of()
    if data.draw(st.booleans()):
        outer["verificationMaterial"] = {"certificate": CERTIFICATE, "tlogEntries": [copy.deepcopy(ENTRY)]}
    whole = {"outer": outer, "inner": inner}
    path = data.draw(st.sampled_from([path for path in paths_of(whole) if path[1:]]))
    value = data.draw(st.sampled_from([GONE, None, 0, -1, True, "", "x", [], {}, [1], ["x"], {"x": 1}]))
    whole = changed(whole, path, value)
    if path[0] == "inner":
        whole["outer"]["dsseEnvelope"] = bundle_of(whole["inner"], ANNA)["dsseEnvelope"]
    check_outer, check_inner = schemas
    if not check_outer.is_valid(whole["outer"]) or not check_inner.is_valid(whole["inner"]):
        with pytest.raises(Corrupt):
            read_bundle(json.dumps(whole["outer"]).encode())


@pytest.fixture(scope="session")
def schemas(vectors):
    found = [json.loads(path.read_text()) for path in sorted(vectors.glob("*.schema.json"))]
    registry = Registry().with_resources([(one["$id"], Resource.from_contents(one)) for one in found])
    by_title = {one["title"]: Draft202012Validator(one, registry=registry) for one in found}
    return by_title["OMS Bundle"], by_title["OMS in-toto Statement"]


@pytest.mark.data
def test_what_we_write_by_hand_here_is_valid_by_the_published_schemas(schemas):
    schemas[0].validate(bundle_of(statement_of(), ANNA))
    schemas[1].validate(statement_of())


def changed(value, path, new):
    """*value* with *new* at *path*, or without what is there."""
    value = copy.deepcopy(value)
    place = value
    for step in path[:-1]:
        place = place[step]
    if new is GONE:
        del place[path[-1]]
    else:
        place[path[-1]] = new
    return value


def paths_of(value, path=()):
    """Every place inside *value*."""
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in steps:
        yield [*path, step]
        yield from paths_of(inner, (*path, step))
