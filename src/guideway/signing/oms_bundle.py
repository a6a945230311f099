"""The shape of an OpenSSF model signature (OMS v1.0, in a Sigstore bundle), read strictly.

https://github.com/ossf/model-signing-spec, the JSON schemas of v1.0 and what the text asks beyond them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from guideway.core.errors import Corrupt
from guideway.signing.dsse import PAYLOAD_TYPE, decode_base64
from guideway.signing.statements import STATEMENT

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PREDICATE = "https://model_signing/signature/v1.0"

_MEDIA_TYPES = {MEDIA_TYPE, *(f"application/vnd.dev.sigstore.bundle+json;version=0.{minor}" for minor in (1, 2, 3))}
_HEX_DIGITS = {"sha256": 64, "blake2b": 128, "blake3": 64}
_RANGE = re.compile(r"(.+):(0|[1-9][0-9]*):([1-9][0-9]*)", re.DOTALL)

Method = Literal["key", "certificate", "sigstore"]
Shape = TypeVar("Shape")


class Resource(msgspec.Struct, frozen=True):
    """One signed file (or, for shards, ``path:start:end`` of one) and its digest in hexadecimal."""

    name: str
    digest: str
    algorithm: Literal["sha256", "blake2b", "blake3"]


class Serialization(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the files were found and hashed; paths in ``ignore_paths`` were left out, with all below them."""

    method: Literal["files", "shards"]
    hash_type: Literal["sha256", "blake2b", "blake3"]
    allow_symlinks: bool
    shard_size: int | UnsetType = UNSET
    ignore_paths: tuple[str, ...] | UnsetType = UNSET


class Bundle(msgspec.Struct, frozen=True):
    """A model signature that is well formed; nothing is verified yet.

    ``hint`` names the key (SHA-256 of its PEM form), if the signer said so. ``payload`` is what was signed.
    """

    method: Method
    hint: str
    name: str
    resources: tuple[Resource, ...]
    serialization: Serialization
    payload: bytes
    signature: bytes


def read_bundle(text: bytes, *, where: str = "model signature") -> Bundle:
    """Read a model signature: envelope, statement and manifest.

    Raises:
        Corrupt: it is not one, or breaks the format; the line says how.
    """
    try:
        outer = msgspec.json.decode(text, type=_Bundle)
        method, hint = _material(outer)
        payload, signature = _envelope(outer.dsse_envelope)
        inner = msgspec.json.decode(payload, type=_Statement)
        _check_statement(inner)
    except (ValueError, RecursionError) as error:
        raise Corrupt(f"this is not a model signature: {error}", where=where) from None
    predicate = inner.predicate
    return Bundle(method, hint, inner.subject[0].name, predicate.resources, predicate.serialization, payload, signature)


def _material(outer: _Bundle) -> tuple[Method, str]:
    """Which method signed: exactly one kind of verification material says so."""
    if outer.media_type not in _MEDIA_TYPES:
        raise ValueError(f"media type {outer.media_type[:80]!r}")
    material = outer.verification_material
    key, chain, single = material.public_key, material.x509_certificate_chain, material.certificate
    if sum(one is not UNSET for one in (key, chain, single)) != 1:
        raise ValueError("verificationMaterial needs one of publicKey, x509CertificateChain, certificate")
    if key is not UNSET:
        if key.hint is UNSET and key.raw_bytes is UNSET:
            raise ValueError("publicKey needs a hint")
        return "key", key.hint or ""
    certificates = chain.certificates if chain is not UNSET else (single,)
    if not certificates or not all(one and decode_base64(one.raw_bytes) for one in certificates):
        raise ValueError("a certificate is empty")
    if chain is not UNSET:
        return "certificate", ""
    if not material.tlog_entries:
        raise ValueError("a keyless signature needs tlogEntries")
    return "sigstore", ""


def _envelope(envelope: _Envelope) -> tuple[bytes, bytes]:
    """Payload and signature; a Sigstore bundle has exactly one."""
    if envelope.payload_type != PAYLOAD_TYPE:
        raise ValueError(f"payload type {envelope.payload_type[:80]!r}")
    if len(envelope.signatures) != 1:
        raise ValueError(f"{len(envelope.signatures)} signatures, not one")
    payload, signature = decode_base64(envelope.payload), decode_base64(envelope.signatures[0].sig)
    if not payload or not signature:
        raise ValueError("an empty payload or signature")
    return payload, signature


def _check_statement(inner: _Statement) -> None:
    if inner.type_ != STATEMENT:
        raise ValueError(f"statement type {inner.type_[:80]!r}")
    if inner.predicate_type != PREDICATE:
        raise ValueError(f"predicate type {inner.predicate_type[:80]!r}, not {PREDICATE}")
    if len(inner.subject) != 1 or not inner.subject[0].name:
        raise ValueError("it must have one subject, with a name")
    resources = inner.predicate.resources
    _check_serialization(inner.predicate.serialization)
    _check_resources(resources, inner.predicate.serialization)
    digests = inner.subject[0].digest
    if not all(re.fullmatch("[0-9a-f]+", one) for one in digests.values()):
        raise ValueError("a digest of the subject is not hexadecimal")
    if digests.get("sha256") != root_digest(resources):
        raise ValueError("the digest of the subject is not the one over its resources")


def _check_serialization(how: Serialization) -> None:
    if (how.method == "shards") == isinstance(how.shard_size, UnsetType):
        raise ValueError("shard_size belongs to the method 'shards', and only there")
    if isinstance(how.shard_size, int) and how.shard_size < 1:
        raise ValueError("shard_size must be positive")
    for path in how.ignore_paths or ():
        if not is_plain_path(path) or set(path) & set("*?["):
            raise ValueError(f"ignored path {path[:80]!r}")


def _check_resources(resources: Sequence[Resource], how: Serialization) -> None:
    if not resources:
        raise ValueError("it lists no files")
    for one in resources:
        if not is_plain_path(path_of(one.name, how)):
            raise ValueError(f"path {one.name[:80]!r}")
        if one.algorithm != how.hash_type:
            raise ValueError(f"{one.name[:80]!r} has a digest by {one.algorithm}, not by {how.hash_type}")
        if not re.fullmatch(f"[0-9a-f]{{{_HEX_DIGITS[one.algorithm]}}}", one.digest):
            raise ValueError(f"the digest of {one.name[:80]!r}")
    names = [one.name for one in resources]
    if len(set(names)) != len(names):
        raise ValueError("a path is listed twice")
    if names not in (sorted(names), sorted(names, key=_reference_order(how))):
        raise ValueError("its paths are not sorted")


def root_digest(resources: Sequence[Resource]) -> str:
    """SHA-256 over the raw digests in order: the digest of the model as a whole."""
    return hashlib.sha256(b"".join(bytes.fromhex(one.digest) for one in resources)).hexdigest()


def path_of(name: str, how: Serialization) -> str:
    """The file that a resource is about; "" when its name has no byte range where one is due."""
    if how.method == "files":
        return name
    match = _RANGE.fullmatch(name)
    return match[1] if match and int(match[2]) < int(match[3]) else ""


def is_plain_path(path: str) -> bool:
    """Is *path* relative, with ``/`` between parts, and without empty, ``.`` or ``..`` parts?"""
    return "\0" not in path and all(part not in ("", ".", "..") for part in path.split("/"))


def _reference_order(how: Serialization) -> Callable[[str], Any]:
    """The order that the reference implementation writes (1.1): by parts of the path, then by offset.

    The specification asks for the order of the whole names, which differs for ``a.txt`` and ``a/b``.
    """

    def key(name: str) -> tuple[list[str], int]:
        path = path_of(name, how)
        start = 0 if how.method == "files" else int(name[len(path) + 1 :].split(":", maxsplit=1)[0])
        return path.split("/"), start

    return key


class _Hint(msgspec.Struct, frozen=True, rename="camel"):
    hint: str | UnsetType = UNSET
    raw_bytes: str | UnsetType = UNSET  # before 1.1 of the reference implementation, in place of the hint


class _Certificate(msgspec.Struct, frozen=True, rename="camel"):
    raw_bytes: str


class _Chain(msgspec.Struct, frozen=True):
    certificates: tuple[_Certificate, ...]


class _LogId(msgspec.Struct, frozen=True, rename="camel"):
    key_id: str | UnsetType = UNSET


class _KindVersion(msgspec.Struct, frozen=True):
    kind: str | UnsetType = UNSET
    version: str | UnsetType = UNSET


class _Promise(msgspec.Struct, frozen=True, rename="camel"):
    signed_entry_timestamp: str | UnsetType = UNSET


class _Checkpoint(msgspec.Struct, frozen=True):
    envelope: str | UnsetType = UNSET


class _Proof(msgspec.Struct, frozen=True, rename="camel"):
    log_index: str | UnsetType = UNSET
    root_hash: str | UnsetType = UNSET
    tree_size: str | UnsetType = UNSET
    hashes: tuple[str, ...] | UnsetType = UNSET
    checkpoint: _Checkpoint | UnsetType = UNSET


class _LogEntry(msgspec.Struct, frozen=True, rename="camel"):
    log_index: str | UnsetType = UNSET
    log_id: _LogId | UnsetType = UNSET
    kind_version: _KindVersion | UnsetType = UNSET
    integrated_time: str | UnsetType = UNSET
    inclusion_promise: _Promise | UnsetType = UNSET
    inclusion_proof: _Proof | UnsetType = UNSET
    canonicalized_body: str | UnsetType = UNSET


class _Timestamp(msgspec.Struct, frozen=True, rename="camel"):
    signed_timestamp: str | UnsetType = UNSET


class _Timestamps(msgspec.Struct, frozen=True):
    rfc3161_timestamps: tuple[_Timestamp, ...] | UnsetType = msgspec.field(default=UNSET, name="rfc3161Timestamps")


class _Material(msgspec.Struct, frozen=True, rename="camel"):
    public_key: _Hint | UnsetType = UNSET
    certificate: _Certificate | UnsetType = UNSET
    x509_certificate_chain: _Chain | UnsetType = msgspec.field(default=UNSET, name="x509CertificateChain")
    tlog_entries: tuple[_LogEntry, ...] = ()
    timestamp_verification_data: _Timestamps | UnsetType = UNSET


class _Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sig: str
    keyid: str | None = None


class _Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    payload: str
    payload_type: str
    signatures: tuple[_Signature, ...]


class _Bundle(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    media_type: str
    verification_material: _Material
    dsse_envelope: _Envelope


class _Subject(msgspec.Struct, frozen=True):
    name: str
    digest: dict[str, str]


class _Predicate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    resources: tuple[Resource, ...]
    serialization: Serialization


class _Statement(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    type_: str = msgspec.field(name="_type")
    subject: tuple[_Subject, ...]
    predicate_type: str
    predicate: _Predicate
