"""DSSE envelopes (https://github.com/secure-systems-lab/dsse) around in-toto statements."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import msgspec

from guideway.core.artifact import canonical_json
from guideway.core.errors import Corrupt
from guideway.signing.keys import Signer, Verifier

PAYLOAD_TYPE = "application/vnd.in-toto+json"
MEDIA_TYPE = "application/vnd.dsse.envelope.v1+json"


class Signature(msgspec.Struct, frozen=True):
    """One signature: base64, and the id of the key."""

    keyid: str
    sig: str


class Envelope(msgspec.Struct, frozen=True, rename="camel"):
    """A signed payload; ``payload`` is base64."""

    payload: str
    payload_type: str
    signatures: tuple[Signature, ...]


def pre_authentication(payload_type: str, payload: bytes) -> bytes:
    """What is really signed: type and payload, each with its length, so that neither can be shifted."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def seal(statement: Mapping[str, Any], signer: Signer) -> bytes:
    """*statement* in an envelope, as JSON text."""
    payload = canonical_json(statement)
    signature = signer.sign(pre_authentication(PAYLOAD_TYPE, payload))
    envelope = Envelope(
        payload=base64.b64encode(payload).decode(),
        payload_type=PAYLOAD_TYPE,
        signatures=(Signature(keyid=signer.id, sig=base64.b64encode(signature).decode()),),
    )
    return msgspec.json.encode(envelope)


def unseal(text: bytes, trusted: Mapping[str, Verifier], *, where: str = "envelope") -> dict[str, Any]:
    """The statement inside, if a trusted key signed it.

    Raises:
        Corrupt: not an envelope, of another type, or no trusted key signed exactly these bytes.
    """
    try:
        envelope = msgspec.json.decode(text, type=Envelope)
        payload = base64.b64decode(envelope.payload, validate=True)
        signatures = [(one.keyid, base64.b64decode(one.sig, validate=True)) for one in envelope.signatures]
    except (msgspec.DecodeError, binascii.Error):
        raise Corrupt("this is not a signed envelope", where=where) from None
    if envelope.payload_type != PAYLOAD_TYPE:
        raise Corrupt(f"the envelope holds '{envelope.payload_type}', not an in-toto statement", where=where)
    signed = pre_authentication(envelope.payload_type, payload)
    if not any(id in trusted and trusted[id].verify(signature, signed) for id, signature in signatures):
        raise Corrupt(
            "no trusted key signed this", where=where, try_this="add the signer's public key to the keys folder"
        )
    statement: dict[str, Any] = msgspec.json.decode(payload)
    return statement
