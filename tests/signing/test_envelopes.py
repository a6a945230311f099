"""Keys and DSSE envelopes: what is signed is what is read."""

from __future__ import annotations

import base64
import json
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guideway.core.errors import Corrupt, Unavailable
from guideway.signing import dsse, statements
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
