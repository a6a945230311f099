"""Keys and DSSE envelopes: what is signed is what is read."""

from __future__ import annotations

import base64
import json
import stat

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner, SSlibKey

from guideway.core.errors import Corrupt, Unavailable
from guideway.signing import dsse, signers, statements
from guideway.signing.keypair import ED25519, P256
from guideway.signing.keys import Verifier, pepper, signer, trusted

SAID = statements.statement(statements.RELEASE, {"m": "sha256:" + "0" * 64}, {"purl": "pkg:oci/m"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("keys")
    signer(path)
    return path


def test_a_key_is_made_once_and_only_its_owner_can_read_it(folder):
    assert signer(folder).id == signer(folder).id
    assert stat.S_IMODE((folder / "guideway.key.pem").stat().st_mode) == 0o600


def test_a_key_that_others_can_read_is_refused(tmp_path):
    signer(tmp_path)
    (tmp_path / "guideway.key.pem").chmod(0o644)
    with pytest.raises(Unavailable, match="read by others"):
        signer(tmp_path)


def test_a_damaged_key_is_named(tmp_path):
    signer(tmp_path)
    (tmp_path / "guideway.key.pem").write_text("nonsense")
    with pytest.raises(Corrupt, match="not a private key"):
        signer(tmp_path)


def test_the_pepper_is_random_and_stays(tmp_path):
    first = pepper(tmp_path)
    assert len(first) == 32 and pepper(tmp_path) == first
    assert stat.S_IMODE((tmp_path / "pepper").stat().st_mode) == 0o600


def test_a_sealed_statement_comes_back(folder):
    assert dsse.unseal(dsse.seal(SAID, signer(folder)), trusted(folder)) == SAID


def test_the_signature_covers_type_and_payload_with_their_lengths(folder):
    envelope = json.loads(dsse.seal(SAID, signer(folder)))
    payload = base64.b64decode(envelope["payload"])
    signed = b"DSSEv1 28 application/vnd.in-toto+json %d %b" % (len(payload), payload)
    public = Verifier.read((folder / "guideway.pub.pem").read_bytes())
    assert public.verify(base64.b64decode(envelope["signatures"][0]["sig"]), signed)


def test_a_signature_of_a_stranger_is_refused(folder, tmp_path):
    stranger = signer(tmp_path)
    with pytest.raises(Corrupt, match="no trusted key"):
        dsse.unseal(dsse.seal(SAID, stranger), trusted(folder))


def test_another_payload_type_is_refused(folder):
    envelope = json.loads(dsse.seal(SAID, signer(folder)))
    envelope["payloadType"] = "text/plain"
    with pytest.raises(Corrupt, match="not an in-toto statement"):
        dsse.unseal(json.dumps(envelope).encode(), trusted(folder))


@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_flipped_bit_in_the_payload_is_always_found(folder, place, bit):
    envelope = json.loads(dsse.seal(SAID, signer(folder)))
    payload = bytearray(base64.b64decode(envelope["payload"]))
    payload[place % len(payload)] ^= 1 << bit
    envelope["payload"] = base64.b64encode(payload).decode()
    with pytest.raises(Corrupt, match="no trusted key"):
        dsse.unseal(json.dumps(envelope).encode(), trusted(folder))


@given(st.binary(max_size=60))
def test_no_bytes_give_anything_but_a_clear_refusal(folder, data):
    with pytest.raises(Corrupt):
        dsse.unseal(data, trusted(folder))


def test_the_subjects_of_a_statement_are_digests():
    assert statements.subjects(SAID) == {"sha256:" + "0" * 64}


@pytest.fixture(scope="module")
def crowd(tmp_path_factory):
    """A folder in which three sign, one of them with Ed25519."""
    path = tmp_path_factory.mktemp("crowd")
    return path, [signers.new(path, "anna"), signers.new(path, "ben", kind=ED25519), signers.new(path, "cleo")]


def test_an_envelope_says_who_of_the_trusted_signed_it(crowd):
    path, (anna, ben, cleo) = crowd
    text = dsse.seal(SAID, anna, ben, cleo)
    known = trusted(path)
    assert [one.name for one in dsse.opened(text, known).by] == ["anna", "ben", "cleo"]
    del known[anna.id]
    assert [one.name for one in dsse.signers(text, known)] == ["ben", "cleo"]
    assert dsse.unseal(text, {cleo.id: cleo}) == SAID


def test_one_key_that_signs_twice_is_one_signer(crowd):
    path, (anna, *_) = crowd
    assert [one.name for one in dsse.signers(dsse.seal(SAID, anna, anna), trusted(path))] == ["anna"]


def test_signatures_of_strangers_alone_are_nobody(crowd, folder):
    path, _ = crowd
    assert dsse.signers(dsse.seal(SAID, signer(folder)), trusted(path)) == ()


@pytest.mark.parametrize("keyid", [None, "", "somebody else's way to name keys", "absent"])
def test_a_key_id_is_only_a_hint(crowd, keyid):
    path, (anna, *_) = crowd
    envelope = json.loads(dsse.seal(SAID, anna))
    envelope["signatures"][0]["keyid"] = keyid
    if keyid == "absent":
        del envelope["signatures"][0]["keyid"]
    assert [one.name for one in dsse.signers(json.dumps(envelope).encode(), trusted(path))] == ["anna"]


def test_a_wrong_key_id_does_not_lend_a_name(crowd):
    path, (anna, ben, _) = crowd
    envelope = json.loads(dsse.seal(SAID, anna))
    envelope["signatures"][0]["keyid"] = ben.id
    assert dsse.signers(json.dumps(envelope).encode(), trusted(path)) == ()


def test_both_alphabets_of_base64_are_read(crowd):
    path, (anna, *_) = crowd
    for text in (dsse.seal({"a": "~~~???>>>" * n}, anna) for n in range(1, 4)):
        envelope = json.loads(text)
        payload = base64.b64decode(envelope["payload"])
        envelope["payload"] = base64.urlsafe_b64encode(payload).decode()
        envelope["signatures"][0]["sig"] = envelope["signatures"][0]["sig"].replace("+", "-").replace("/", "_")
        assert dsse.unseal(json.dumps(envelope).encode(), trusted(path)) == json.loads(payload)


@pytest.mark.parametrize("text", ["a+b-", "ab=", "a", "é", "ab c", "ab\n=="])
def test_what_is_no_base64_is_refused(text):
    with pytest.raises(ValueError):
        dsse.decode_base64(text)


@given(st.binary(max_size=40))
def test_base64_of_either_kind_comes_back(data):
    assert dsse.decode_base64(base64.b64encode(data).decode()) == data
    assert dsse.decode_base64(base64.urlsafe_b64encode(data).decode()) == data


def test_an_envelope_with_too_many_signatures_is_refused_before_any_is_checked(crowd):
    path, (anna, *_) = crowd
    envelope = json.loads(dsse.seal(SAID, anna))
    envelope["signatures"] *= 33
    with pytest.raises(Corrupt, match="33 signatures"):
        dsse.unseal(json.dumps(envelope).encode(), trusted(path))


@pytest.mark.parametrize("value", [[], "text", 1, None])
def test_what_is_signed_must_be_an_object(crowd, value):
    path, (anna, *_) = crowd
    with pytest.raises(Corrupt, match="not a statement"):
        dsse.unseal(dsse.seal(value, anna), trusted(path))


def test_no_depth_of_nesting_brings_the_reader_down(folder):
    with pytest.raises(Corrupt, match="not a signed envelope"):
        dsse.unseal(b'{"x":' + b"[" * 100_000, trusted(folder))


def test_a_type_with_control_characters_is_shown_harmlessly(folder):
    envelope = json.loads(dsse.seal(SAID, signer(folder))) | {"payloadType": "\x1b[31mred"}
    with pytest.raises(Corrupt) as caught:
        dsse.unseal(json.dumps(envelope).encode(), trusted(folder))
    assert "\x1b" not in str(caught.value)


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(field=st.sampled_from(["payload", "payloadType", "signatures"]), value=ANY)
def test_any_value_in_any_field_is_refused_clearly(folder, field, value):
    envelope = json.loads(dsse.seal(SAID, signer(folder))) | {field: value}
    with pytest.raises(Corrupt):
        dsse.unseal(json.dumps(envelope).encode(), trusted(folder))


@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_flipped_bit_in_the_signature_is_always_found(folder, place, bit):
    envelope = json.loads(dsse.seal(SAID, signer(folder)))
    signature = bytearray(base64.b64decode(envelope["signatures"][0]["sig"]))
    signature[place % len(signature)] ^= 1 << bit
    envelope["signatures"][0]["sig"] = base64.b64encode(signature).decode()
    assert dsse.signers(json.dumps(envelope).encode(), trusted(folder)) == ()


@pytest.mark.parametrize("kind", [P256, ED25519])
def test_another_tool_verifies_our_envelopes_with_our_public_key(tmp_path, kind):
    made = signers.new(tmp_path / "keys", "anna", kind=kind)
    public = load_pem_public_key((tmp_path / "keys" / "anna.pub.pem").read_bytes())
    key = SSlibKey.from_crypto(public, keyid=made.id)
    envelope = Envelope.from_dict(json.loads(dsse.seal(SAID, made)))
    assert envelope.verify([key], 1) == {made.id: key}
    envelope.payload += b" "
    with pytest.raises(VerificationError):
        envelope.verify([key], 1)


@pytest.mark.parametrize("kind", [P256, ED25519])
def test_an_envelope_of_another_tool_is_read_with_its_own_key_ids(tmp_path, kind):
    made = signers.new(tmp_path / "keys", "anna", kind=kind)
    other = CryptoSigner(load_pem_private_key(made.private_pem(), None))
    envelope = Envelope(json.dumps(SAID).encode(), dsse.PAYLOAD_TYPE, {})
    envelope.sign(other)
    assert other.public_key.keyid != made.id
    found = dsse.opened(json.dumps(envelope.to_dict()).encode(), trusted(tmp_path / "keys"))
    assert found.statement == SAID and [one.name for one in found.by] == ["anna"]
