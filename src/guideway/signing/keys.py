"""Signing keys: ECDSA P-256, made on first use, readable by their owner only."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from guideway.core.errors import Corrupt, Unavailable
from guideway.kit.files import locked, write_atomic

_ALGORITHM = ec.ECDSA(hashes.SHA256())


class Verifier:
    """A public key. ``id`` is the SHA-256 of its DER form, hexadecimal."""

    def __init__(self, public: ec.EllipticCurvePublicKey) -> None:
        self._public = public
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        self.id = hashlib.sha256(public.public_bytes(serialization.Encoding.DER, form)).hexdigest()
        self.pem = public.public_bytes(serialization.Encoding.PEM, form)

    @classmethod
    def read(cls, pem: bytes) -> Verifier:
        """A public key in PEM form."""
        public = serialization.load_pem_public_key(pem)
        if not isinstance(public, ec.EllipticCurvePublicKey) or public.curve.name != "secp256r1":
            raise Corrupt("only ECDSA P-256 keys are accepted")
        return cls(public)

    def verify(self, signature: bytes, data: bytes) -> bool:
        """Does *signature* belong to *data* and this key?"""
        try:
            self._public.verify(signature, data, _ALGORITHM)
        except InvalidSignature:
            return False
        return True


class Signer(Verifier):
    """A private key with a name, which evidence carries."""

    def __init__(self, private: ec.EllipticCurvePrivateKey, name: str) -> None:
        super().__init__(private.public_key())
        self._private = private
        self.name = name

    def sign(self, data: bytes) -> bytes:
        """An ECDSA signature over *data*, DER encoded."""
        return self._private.sign(data, _ALGORITHM)


def signer(folder: Path, name: str = "guideway") -> Signer:
    """The signer called *name* in *folder*; made when there is none yet.

    Raises:
        Unavailable: the key file can be read by others.
        Corrupt: it is not a P-256 key.
    """
    path = folder / f"{name}.key.pem"
    with locked(folder / ".lock"):
        if not path.exists():
            _make(path)
    if path.stat().st_mode & 0o077:
        raise Unavailable("this key can be read by others", where=str(path), try_this=f"chmod 600 {path}")
    try:
        private = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except ValueError:
        raise Corrupt("this is not a private key", where=str(path), try_this="restore it from a backup") from None
    if not isinstance(private, ec.EllipticCurvePrivateKey) or private.curve.name != "secp256r1":
        raise Corrupt("only ECDSA P-256 keys are accepted", where=str(path))
    return Signer(private, name)


def trusted(folder: Path) -> dict[str, Verifier]:
    """The public keys in *folder*, by id."""
    verifiers = (Verifier.read(path.read_bytes()) for path in sorted(folder.glob("*.pub.pem")))
    return {verifier.id: verifier for verifier in verifiers}


def pepper(folder: Path) -> bytes:
    """The 32 secret bytes that client keys are hashed with; made on first use."""
    path = folder / "pepper"
    with locked(folder / ".lock"):
        if not path.exists():
            write_atomic(path, os.urandom(32), mode=0o600)
    return path.read_bytes()


def _make(path: Path) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = path.with_name(path.name.replace(".key.pem", ".pub.pem"))
    write_atomic(public, Verifier(private.public_key()).pem)
    write_atomic(path, pem, mode=0o600)
