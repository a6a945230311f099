"""DSSE envelopes (https://github.com/secure-systems-lab/dsse) around in-toto statements."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from guideway.core.artifact import canonical_json
from guideway.core.errors import Corrupt
from guideway.signing.keys import Signer, Verifier

PAYLOAD_TYPE = "application/vnd.in-toto+json"
MEDIA_TYPE = "application/vnd.dsse.envelope.v1+json"

MAX_SIGNATURES = 32
"""More than this in one envelope is refused: each may cost one check per trusted key."""


class Signature(msgspec.Struct, frozen=True):
    """One signature: base64, and the id of the key, which is a hint only and may be absent."""

    sig: str
    keyid: str | None = None


class Envelope(msgspec.Struct, frozen=True, rename="camel"):
    """A signed payload; ``payload`` is base64."""

    payload: str
    payload_type: str
    signatures: tuple[Signature, ...]


class Opened(NamedTuple):
    """What an envelope says, and the trusted keys that signed exactly that, each once."""

    statement: dict[str, Any]
    by: tuple[Verifier, ...]


def pre_authentication(payload_type: str, payload: bytes) -> bytes:
    """What is really signed: type and payload, each with its length, so that neither can be shifted."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def seal(statement: Mapping[str, Any], signer: Signer, *more: Signer) -> bytes:
    """*statement* in an envelope that *signer*, and each of *more*, signs; as JSON text."""
    payload = canonical_json(statement)
    signed = pre_authentication(PAYLOAD_TYPE, payload)
    envelope = Envelope(
        payload=base64.b64encode(payload).decode(),
        payload_type=PAYLOAD_TYPE,
        signatures=tuple(
            Signature(keyid=one.id, sig=base64.b64encode(one.sign(signed)).decode()) for one in (signer, *more)
        ),
    )
    return msgspec.json.encode(envelope)


def opened(text: bytes, trusted: Mapping[str, Verifier], *, where: str = "envelope") -> Opened:
    """The statement inside, and who of *trusted* signed it.

    Raises:
        Corrupt: not an envelope, of another type, or no trusted key signed exactly these bytes.
    """
    payload, by = _checked(text, trusted, where)
    if not by:
        raise Corrupt(
            "no trusted key signed this", where=where, try_this="add the signer's public key: `guideway signers trust`"
        )
    try:
        return Opened(msgspec.json.decode(payload, type=dict[str, Any]), by)
    except (ValueError, RecursionError):
        raise Corrupt("what was signed is not a statement", where=where) from None


def unseal(text: bytes, trusted: Mapping[str, Verifier], *, where: str = "envelope") -> dict[str, Any]:
    """The statement inside, if a trusted key signed it. Raises as :func:`opened` does."""
    return opened(text, trusted, where=where).statement


def signers(text: bytes, trusted: Mapping[str, Verifier], *, where: str = "envelope") -> tuple[Verifier, ...]:
    """Those of *trusted* who signed this envelope, each once; none when only strangers did.

    Raises:
        Corrupt: not an envelope, or of another type.
    """
    return _checked(text, trusted, where)[1]


def signed_by(
    data: bytes, signatures: Iterable[tuple[str | None, bytes]], trusted: Mapping[str, Verifier]
) -> tuple[Verifier, ...]:
    """Those of *trusted* whose signature (with its key id) over *data* is among *signatures*, each once.

    A key id that names no trusted key is ignored, as the protocol asks: then every key is tried.
    """
    found: dict[str, Verifier] = {}
    for keyid, signature in signatures:
        candidates = [trusted[keyid]] if keyid is not None and keyid in trusted else trusted.values()
        found |= {one.id: one for one in candidates if one.verify(signature, data)}
    return tuple(found.values())


def decode_base64(text: str) -> bytes:
    """Bytes of base64, in the standard or in the URL-safe alphabet, never both.

    Raises:
        ValueError: it is neither.
    """
    url_safe = "-" in text or "_" in text
    if url_safe and ("+" in text or "/" in text):
        raise ValueError("two alphabets in one text")
    return base64.b64decode(text, altchars=b"-_" if url_safe else None, validate=True)


def _checked(text: bytes, trusted: Mapping[str, Verifier], where: str) -> tuple[bytes, tuple[Verifier, ...]]:
    try:
        envelope = msgspec.json.decode(text, type=Envelope)
        payload = decode_base64(envelope.payload)
        signatures = [(one.keyid, decode_base64(one.sig)) for one in envelope.signatures]
    except (ValueError, RecursionError):  # every error of msgspec and of base64 is a ValueError
        raise Corrupt("this is not a signed envelope", where=where) from None
    if envelope.payload_type != PAYLOAD_TYPE:
        raise Corrupt(f"the envelope holds {envelope.payload_type[:80]!r}, not an in-toto statement", where=where)
    if len(signatures) > MAX_SIGNATURES:
        raise Corrupt(f"the envelope has {len(signatures)} signatures, more than {MAX_SIGNATURES}", where=where)
    return payload, signed_by(pre_authentication(envelope.payload_type, payload), signatures, trusted)
