"""OpenSSF model signing: sign the files of a model by digests known already, and verify a folder with a public key."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from guideway.core.artifact import File
from guideway.core.errors import Corrupt, SpecError, Unavailable
from guideway.signing.dsse import PAYLOAD_TYPE, pre_authentication, signed_by
from guideway.signing.keypair import P256, Signer, Verifier
from guideway.signing.oms_bundle import MEDIA_TYPE, Bundle, read_bundle

__all__ = [
    "IGNORED",
    "MEDIA_TYPE",
    "Bundle",
    "available",
    "covered",
    "read_bundle",
    "sign_model",
    "signer_of",
    "verify_model",
]

IGNORED = (".git", ".gitattributes", ".github", ".gitignore")
"""Paths at the top of a model that are never signed, with all below them: the defaults of the specification."""

_CHUNK = 1 << 20


def available() -> bool:
    """Can this installation sign models? Asked without importing anything."""
    return all(importlib.util.find_spec(name) for name in ("model_signing", "OpenSSL"))


def covered(files: Sequence[File]) -> tuple[File, ...]:
    """Those of *files* that a model signature is about."""
    return tuple(file for file in files if not _is_below(file.path, IGNORED))


def sign_model(files: Sequence[File], signer: Signer, *, name: str) -> bytes:
    """A bundle (JSON) that signs *files* of the model *name*. Only their digests are used: no file is read.

    Raises:
        SpecError: the key is not ECDSA P-256, or no file is left to sign.
        Unavailable: the extra "sign" is not installed.
    """
    if signer.kind != P256:
        raise SpecError(f"model signing takes ECDSA P-256 keys only; '{signer.name}' has {signer.kind}")
    signed = covered(files)
    if not signed:
        raise SpecError("there is no file to sign", where=name)
    try:
        from guideway.signing import oms_library
    except ImportError:
        raise Unavailable("signing models needs the extra 'sign'", try_this="pip install 'guideway[sign]'") from None
    return oms_library.sign(signed, signer, name=name, ignored=IGNORED)


def signer_of(bundle: Bundle, trusted: Mapping[str, Verifier], *, where: str = "model signature") -> Verifier:
    """Who of *trusted* signed *bundle*.

    Raises:
        Corrupt: nobody did, or the bundle is signed with a certificate, which is not verified here.
    """
    if bundle.method != "key":
        raise Corrupt(
            "this model is signed with a certificate, which is not verified here",
            where=where,
            try_this=f"model_signing verify {bundle.method}",
        )
    keys = {one.id: one for one in trusted.values() if one.kind == P256 and bundle.hint in ("", hint(one))}
    if not keys:
        raise Corrupt(
            f"the key that signed this model ({bundle.hint[:12]!r}) is not trusted",
            where=where,
            try_this="add it: `guideway signers trust`, or name it: --key",
        )
    by = signed_by(pre_authentication(PAYLOAD_TYPE, bundle.payload), [(None, bundle.signature)], keys)
    if not by:
        raise Corrupt("the model signature does not belong to what it says", where=where)
    return by[0]


def hint(key: Verifier) -> str:
    """What a bundle calls *key*: the SHA-256 of its PEM form, hexadecimal."""
    return hashlib.sha256(key.pem).hexdigest()


def verify_model(
    folder: Path, bundle: Bundle, trusted: Mapping[str, Verifier], *, signature: Path | None = None
) -> Verifier:
    """Check that *folder* holds exactly the files that *bundle* lists, and who of *trusted* says so.

    *signature* is the file that the bundle came from: it may lie inside the folder.

    Raises:
        Corrupt: not signed by a trusted key, or a file is changed, missing, or was added; names the first.
    """
    by = signer_of(bundle, trusted, where=str(signature or folder))
    how = bundle.serialization
    if how.hash_type == "blake3":
        raise Corrupt("digests by blake3 are not read here", where=str(folder), try_this="model_signing verify key")
    listed = {one.name: one.digest for one in bundle.resources}
    ignored = (*IGNORED, *(how.ignore_paths or ()))
    here = {piece.name: piece for piece in _pieces(folder, bundle, signature)}
    _refuse(folder, "is missing", [name for name in listed if name not in here])
    extra = [name for name, piece in here.items() if name not in listed and not _is_below(piece.path, ignored)]
    _refuse(folder, "was added: nobody signed it", extra)
    for name, digest in listed.items():
        if _digest(folder, here[name], how.hash_type) != digest:
            _refuse(folder, "was changed", [name])
    return by


class _Piece(NamedTuple):
    """A file, or one shard of it: bytes *start* to *end* of *path*."""

    name: str
    path: str
    start: int
    end: int


def _pieces(folder: Path, bundle: Bundle, signature: Path | None) -> Iterator[_Piece]:
    """What lies in *folder*, cut as the bundle says."""
    how = bundle.serialization
    for file in _files(folder, links=how.allow_symlinks):
        if signature and file.samefile(signature):
            continue
        path, size = file.relative_to(folder).as_posix(), file.stat().st_size
        if not how.shard_size:
            yield _Piece(path, path, 0, size)
            continue
        for start in range(0, size, how.shard_size):
            end = min(start + how.shard_size, size)
            yield _Piece(f"{path}:{start}:{end}", path, start, end)


def _files(folder: Path, *, links: bool) -> Iterator[Path]:
    """Every file below *folder*; links count as what they point to only when the signer let them."""
    if not folder.is_dir():
        raise Corrupt("there is no such folder", where=str(folder))
    for place, folders, names in os.walk(folder, onerror=_raise):
        for path in (Path(place, name) for name in sorted([*folders, *names])):
            if path.is_symlink() and not links:
                raise Corrupt("a signed model holds no links", where=str(path))
            if path.is_file():
                yield path
            elif not path.is_dir():
                raise Corrupt("only plain files can be verified", where=str(path))


def _raise(error: OSError) -> None:
    """A folder that cannot be read could hide files that nobody signed."""
    raise error


def _digest(folder: Path, piece: _Piece, algorithm: str) -> str:
    hasher, left = hashlib.new(algorithm), piece.end - piece.start
    with (folder / piece.path).open("rb") as file:
        file.seek(piece.start)
        while left and (chunk := file.read(min(_CHUNK, left))):
            hasher.update(chunk)
            left -= len(chunk)
    return hasher.hexdigest()


def _refuse(folder: Path, what: str, names: Sequence[str]) -> None:
    if names:
        more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
        raise Corrupt(f"{names[0]!r} {what}{more}", where=str(folder))


def _is_below(path: str, ignored: Sequence[str]) -> bool:
    return any(path == one or path.startswith(one + "/") for one in ignored)
