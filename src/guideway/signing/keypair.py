"""One key: ECDSA P-256 (the default) or Ed25519, as a Verifier (public) or a Signer (private)."""

from __future__ import annotations

import hashlib
from typing import Any, Literal, TypeAlias

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from guideway.core.errors import Corrupt

PublicKey: TypeAlias = ec.EllipticCurvePublicKey | Ed25519PublicKey
PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | Ed25519PrivateKey
Kind = Literal["ECDSA P-256", "Ed25519"]

P256: Kind = "ECDSA P-256"
ED25519: Kind = "Ed25519"

_CURVE = "secp256r1"
_ECDSA = ec.ECDSA(hashes.SHA256())
_PEM = serialization.Encoding.PEM
_SPKI = serialization.PublicFormat.SubjectPublicKeyInfo


class Verifier:
    """A public key. ``id`` is the SHA-256 of its DER form, hexadecimal; ``name`` says whose it is, if that is known."""

    def __init__(self, public: PublicKey, name: str = "") -> None:
        self._public = public
        self.name = name
        self.kind: Kind = ED25519 if isinstance(public, Ed25519PublicKey) else P256
        self.id = hashlib.sha256(public.public_bytes(serialization.Encoding.DER, _SPKI)).hexdigest()
        self.pem = public.public_bytes(_PEM, _SPKI)

    @classmethod
    def read(cls, pem: bytes, *, name: str = "", where: str | None = None) -> Verifier:
        """A public key in PEM form.

        Raises:
            Corrupt: it is none, or of a kind that is not accepted.
        """
        try:
            public = serialization.load_pem_public_key(pem)
        except (ValueError, UnsupportedAlgorithm):
            advice = "give the .pub.pem file instead" if b"PRIVATE KEY" in pem else None
            raise Corrupt("this is not a public key in PEM form", where=where, try_this=advice) from None
        if isinstance(public, Ed25519PublicKey) or (
            isinstance(public, ec.EllipticCurvePublicKey) and public.curve.name == _CURVE
        ):
            return Verifier(public, name)
        raise _other_kind(public, where)

    def verify(self, signature: bytes, data: bytes) -> bool:
        """Does *signature* belong to *data* and this key?"""
        try:
            if isinstance(self._public, Ed25519PublicKey):
                self._public.verify(signature, data)
            else:
                self._public.verify(signature, data, _ECDSA)
        except InvalidSignature:
            return False
        return True


class Signer(Verifier):
    """A private key with a name, which evidence carries."""

    def __init__(self, private: PrivateKey, name: str) -> None:
        super().__init__(private.public_key(), name)
        self._private = private

    @classmethod
    def generate(cls, name: str, kind: Kind = P256) -> Signer:
        """A new key from the randomness of the system."""
        return cls(Ed25519PrivateKey.generate() if kind == ED25519 else ec.generate_private_key(ec.SECP256R1()), name)

    @classmethod
    def load(cls, pem: bytes, name: str, *, where: str | None = None) -> Signer:
        """A private key in PEM form, without a password.

        Raises:
            Corrupt: it is none, locked with a password, or of a kind that is not accepted.
        """
        try:
            private = serialization.load_pem_private_key(pem, password=None)
        except TypeError:
            raise Corrupt(
                "this key is locked with a password", where=where, try_this="openssl pkey -in … -out …"
            ) from None
        except (ValueError, UnsupportedAlgorithm):
            raise Corrupt("this is not a private key", where=where, try_this="restore it from a backup") from None
        if isinstance(private, Ed25519PrivateKey) or (
            isinstance(private, ec.EllipticCurvePrivateKey) and private.curve.name == _CURVE
        ):
            return cls(private, name)
        raise _other_kind(private, where)

    def sign(self, data: bytes) -> bytes:
        """A signature over *data*: DER encoded for ECDSA, 64 bytes for Ed25519."""
        if isinstance(self._private, Ed25519PrivateKey):
            return self._private.sign(data)
        return self._private.sign(data, _ECDSA)

    def private_pem(self) -> bytes:
        """The secret itself, PKCS #8 in PEM form: for the key file, and for libraries that want a file."""
        return self._private.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _other_kind(key: Any, where: str | None) -> Corrupt:
    curve = getattr(key, "curve", None)
    kind = (
        f"the curve {curve.name}" if curve else type(key).__name__.removesuffix("PublicKey").removesuffix("PrivateKey")
    )
    return Corrupt(f"only ECDSA P-256 and Ed25519 keys are accepted, not {kind}", where=where)
