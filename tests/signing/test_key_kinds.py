"""ECDSA P-256 and Ed25519 are accepted, everything else is refused in one line."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa

from guideway.core.errors import Corrupt
from guideway.signing.keypair import ED25519, P256, Signer, Verifier

OTHERS = {
    "RSA": rsa.generate_private_key(65537, 2048),
    "secp384r1": ec.generate_private_key(ec.SECP384R1()),
    "secp256k1": ec.generate_private_key(ec.SECP256K1()),
    "Ed448": ed448.Ed448PrivateKey.generate(),
}


def private_pem(key, lock=None):
    locked = serialization.BestAvailableEncryption(lock) if lock else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)


def public_pem(key):
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form)


@pytest.mark.parametrize("kind", [P256, ED25519])
def test_both_kinds_sign_and_verify_and_survive_a_file(kind):
    made = Signer.generate("anna", kind)
    again = Signer.load(made.private_pem(), "anna")
    public = Verifier.read(made.pem, name="anna")
    assert (again.id, again.kind, public.id, public.kind, public.name) == (made.id, kind, made.id, kind, "anna")
    signature = again.sign(b"data")
    assert public.verify(signature, b"data")
    assert not public.verify(signature, b"date") and not public.verify(signature[:-1], b"data")
    assert not Signer.generate("anna", kind).verify(signature, b"data")


def test_the_id_is_the_digest_of_the_der_form():
    made = Signer.generate("anna")
    key = serialization.load_pem_public_key(made.pem)
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert made.id == hashlib.sha256(der).hexdigest()


@pytest.mark.parametrize("kind", OTHERS)
def test_a_key_of_another_kind_is_refused_by_its_kind(kind):
    for work in (
        lambda: Verifier.read(public_pem(OTHERS[kind]), where="a.pem"),
        lambda: Signer.load(private_pem(OTHERS[kind]), "anna", where="a.pem"),
    ):
        with pytest.raises(Corrupt, match=f"only ECDSA P-256 and Ed25519 keys are accepted, not .*{kind}") as caught:
            work()
        assert caught.value.where == "a.pem" and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("pem", "says"),
    [
        (b"", "not a public key"),
        (b"\xff\x00nonsense", "not a public key"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "not a public key"),
        (private_pem(OTHERS["RSA"]), "give the .pub.pem file instead"),
    ],
)
def test_what_is_no_public_key_is_refused(pem, says):
    with pytest.raises(Corrupt) as caught:
        Verifier.read(pem)
    assert says in str(caught.value)


def test_a_private_key_with_a_password_is_refused():
    with pytest.raises(Corrupt, match="locked with a password"):
        Signer.load(private_pem(ec.generate_private_key(ec.SECP256R1()), b"secret"), "anna")
