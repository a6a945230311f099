"""Several named signers in one folder: make, trust, rotate, revoke, look up."""

from __future__ import annotations

import os
import re
from pathlib import Path

import msgspec

from guideway.core.errors import Refused, SpecError
from guideway.kit.files import write_atomic
from guideway.signing.keypair import P256, Kind, Signer, Verifier
from guideway.signing.keys import DEFAULT, every_key, keep, key_path, load_signer, locked_folder, public_path
from guideway.signing.revocation import Revocation, add, revoked

_ID = re.compile(r"[0-9a-f]{8,64}")


class Known(msgspec.Struct, frozen=True):
    """One key of the folder: whose it is, whether it is their current one, can sign here, and is revoked."""

    name: str
    id: str
    kind: Kind
    current: bool
    signs: bool
    revoked: Revocation | None = None


def all_of(folder: Path) -> list[Known]:
    """Every key in *folder*, by name, the current one of each first."""
    gone = revoked(folder)
    found = []
    for path, key in every_key(folder).items():
        current = path.name == f"{key.name}.pub.pem"
        signs = current and key.id not in gone and (folder / f"{key.name}.key.pem").exists()
        found.append(Known(key.name, key.id, key.kind, current, signs, gone.get(key.id)))
    return sorted(found, key=lambda one: (one.name, not one.current, one.id))


def new(folder: Path, name: str, *, kind: Kind = P256) -> Signer:
    """A new signer called *name*.

    Raises:
        SpecError: the name cannot be used, or is taken.
    """
    with locked_folder(folder):
        if os.path.lexists(key_path(folder, name)) or public_path(folder, name).exists():
            raise SpecError(f"there is a key of '{name}' already", try_this=f"`guideway signers rotate {name}`")
        made = Signer.generate(name, kind)
        keep(folder, made)
    return made


def trust(folder: Path, name: str, pem: bytes, *, where: str | None = None) -> Verifier:
    """Trust the public key *pem* of somebody else, called *name*. Their key before it stays trusted: they rotated.

    Raises:
        SpecError: the name signs here itself, or the key is known already.
        Refused: the key is revoked.
        Corrupt: it is not a public key of an accepted kind.
    """
    with locked_folder(folder):
        if os.path.lexists(key_path(folder, name)) or name == DEFAULT:  # ours, if need be soon
            raise SpecError(f"'{name}' signs here with a key of its own", try_this="choose another name")
        key = Verifier.read(pem, name=name, where=where)
        if key.id in revoked(folder):
            raise Refused(f"this key is revoked: {revoked(folder)[key.id].reason}", where=where)
        for known in all_of(folder):
            if known.id == key.id:
                raise SpecError(f"this key is trusted already, as '{known.name}'", where=where)
        _set_aside(folder, name)
        write_atomic(public_path(folder, name), key.pem)
    return key


def rotate(folder: Path, name: str) -> Signer:
    """A new key of the same kind for *name*. What the old one signed stays valid; the old private key is destroyed.

    Raises:
        SpecError: there is no private key of that name.
    """
    with locked_folder(folder):
        path = key_path(folder, name)
        if not os.path.lexists(path):
            raise SpecError(f"there is no private key of '{name}' here", try_this="`guideway signers list`")
        old = load_signer(folder, name)
        _set_aside(folder, name)
        with path.open("r+b") as before:
            made = Signer.generate(name, old.kind)
            keep(folder, made)
            before.write(
                b"\0" * os.fstat(before.fileno()).st_size
            )  # without a name by now: only this handle reaches it
            before.flush()
            os.fsync(before.fileno())
    return made


def revoke(folder: Path, which: str, *, at: float, reason: str) -> Revocation:
    """Never count the key *which* (a name means its current key, otherwise an id) any more.

    Raises:
        SpecError: there is no such key, it is revoked already, or the reason is empty.
    """
    if not reason.strip():
        raise SpecError("a revocation needs a reason", try_this="--reason 'the laptop was stolen'")
    with locked_folder(folder):
        key = find(folder, which)
        if key.id in revoked(folder):
            raise SpecError(f"the key {key.id[:12]} of '{key.name}' is revoked already")
        one = Revocation(key.id, key.name, at, reason.strip())
        add(folder, one)
    return one


def find(folder: Path, which: str) -> Verifier:
    """The current key of the name *which*, or the one key whose id begins with it (8 digits or more).

    Raises:
        SpecError: there is none, or several.
    """
    keys = every_key(folder)
    for path, key in keys.items():
        if path.name == f"{which}.pub.pem":
            return key
    found = {key.id: key for key in keys.values() if _ID.fullmatch(which) and key.id.startswith(which)}
    if len(found) != 1:
        what = "several keys begin" if found else "there is no key of that name, and none begins"
        raise SpecError(f"{what} with {which[:80]!r}", where=str(folder), try_this="`guideway signers list`")
    return next(iter(found.values()))


def _set_aside(folder: Path, name: str) -> None:
    """Keep the current public key of *name* under its id, if there is one."""
    current = public_path(folder, name)
    if current.exists():
        key = Verifier.read(current.read_bytes(), where=str(current))
        write_atomic(public_path(folder, name, older=key.id), key.pem)
