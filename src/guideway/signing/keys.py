"""The folder of keys: who signs, who is trusted, and the pepper. Private keys are readable by their owner only.

``NAME.key.pem`` (0600) and ``NAME.pub.pem`` are the current key of NAME, ``NAME.<first 8 of its id>.pub.pem`` an older
one; ``revoked.json`` lists the keys that never count any more.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from guideway.core.errors import Refused, SpecError, Unavailable, did_you_mean
from guideway.kit.files import locked, write_atomic
from guideway.signing.keypair import Signer, Verifier
from guideway.signing.revocation import revoked

__all__ = ["DEFAULT", "Signer", "Verifier", "chosen_name", "every_key", "pepper", "signer", "trusted"]

DEFAULT = "guideway"
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")
_DATED = re.compile(r".*\.[0-9a-f]{8}")
_PUBLIC = ".pub.pem"


def signer(folder: Path, name: str = DEFAULT) -> Signer:
    """The signer called *name* in *folder*; made when there is none yet.

    Raises:
        Unavailable: key or folder can be read by others, or only the public key is here.
        Corrupt: it is not a key of an accepted kind.
        Refused: the key is revoked.
    """
    with locked_folder(folder):
        if not os.path.lexists(key_path(folder, name)):
            if public_path(folder, name).exists():
                raise Unavailable(
                    f"only the public key of '{name}' is here, which cannot sign",
                    where=str(folder),
                    try_this="restore the private key from a backup, or set GUIDEWAY_SIGNER to another name",
                )
            keep(folder, Signer.generate(name))
        found = load_signer(folder, name)
        if found.id in revoked(folder):
            raise Refused(
                f"the key of '{name}' is revoked", where=str(folder), try_this=f"`guideway signers rotate {name}`"
            )
    return found


def person(folder: Path, name: str) -> Signer:
    """The signer called *name*, who exists already: nobody approves or waives with a key that was made in passing.

    Raises:
        SpecError: there is no such key here, or it is the installation's own, which everybody here signs with.
        Refused: it is revoked.
    """
    if name == DEFAULT:
        raise SpecError(
            f"'{DEFAULT}' is the key of this installation and answers for nobody",
            try_this="sign with a key of your own (`guideway signers new NAME`)",
        )
    if not os.path.lexists(key_path(folder, name)):
        names = [path.name.removesuffix(".key.pem") for path in folder.glob("*.key.pem")]
        raise SpecError(
            f"nobody called '{name}' signs here",
            try_this=f"`guideway signers new {name}`; {did_you_mean(name, names)}",
        )
    return signer(folder, name)


def trusted(folder: Path) -> dict[str, Verifier]:
    """The public keys in *folder* that count, by id: current and older ones, not the revoked ones.

    Raises:
        Unavailable: others could add keys to the folder.
        Corrupt: a key file, or the list of revoked keys, is damaged.
    """
    gone = revoked(folder)
    return {one.id: one for one in every_key(folder).values() if one.id not in gone}


def pepper(folder: Path) -> bytes:
    """The 32 secret bytes that client keys are hashed with; made on first use."""
    path = folder / "pepper"
    with locked_folder(folder):
        if not path.exists():
            write_atomic(path, os.urandom(32), mode=0o600)
    return path.read_bytes()


def chosen_name(environment: Mapping[str, str] = os.environ) -> str:
    """Who signs here: ``$GUIDEWAY_SIGNER``, or "guideway".

    Raises:
        SpecError: that is not a name for a signer.
    """
    return checked_name(environment.get("GUIDEWAY_SIGNER") or DEFAULT)


def every_key(folder: Path) -> dict[Path, Verifier]:
    """Every public key in *folder*, revoked or not, by the file that holds it."""
    if folder.is_dir() and folder.stat().st_mode & 0o022:
        raise Unavailable("others could add keys to this folder", where=str(folder), try_this=f"chmod 700 {folder}")
    return {path: _read(path) for path in sorted(folder.glob("*" + _PUBLIC))}


def checked_name(name: str) -> str:
    """*name*, if it is one that a signer can have.

    Raises:
        SpecError: it could leave the folder, or be taken for an older key.
    """
    if not _NAME.fullmatch(name) or ".." in name or _DATED.fullmatch(name):
        raise SpecError(
            f"{name[:80]!r} cannot be the name of a signer",
            try_this="up to 64 small letters, digits, '.', '_' and '-', such as 'anna' or 'build-1'",
        )
    return name


def key_path(folder: Path, name: str) -> Path:
    """Where the private key of *name* lies."""
    return folder / f"{checked_name(name)}.key.pem"


def public_path(folder: Path, name: str, older: str = "") -> Path:
    """Where the public key of *name* lies; with *older*, the key of that id which was rotated away."""
    dated = f".{older[:8]}" if older else ""
    return folder / f"{checked_name(name)}{dated}{_PUBLIC}"


def locked_folder(folder: Path) -> AbstractContextManager[bool]:
    """Hold the lock of *folder*, made with mode 0700 when it is absent.

    Raises:
        Unavailable: others can look into it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_mode & 0o077:
        raise Unavailable("others can look into this folder of keys", where=str(folder), try_this=f"chmod 700 {folder}")
    return locked(folder / ".lock")


def keep(folder: Path, one: Signer) -> None:
    """Write the pair of *one*. Private first: without its public half it is mended, the other way it would be lost."""
    write_atomic(key_path(folder, one.name), one.private_pem(), mode=0o600)
    write_atomic(public_path(folder, one.name), one.pem)


def load_signer(folder: Path, name: str) -> Signer:
    """The private key of *name*, revoked or not; its public half is written again if a crash left another one."""
    path = key_path(folder, name)
    found = Signer.load(_private_bytes(path), name, where=str(path))
    public = public_path(folder, name)
    if not public.exists() or public.read_bytes() != found.pem:
        write_atomic(public, found.pem)
    return found


def _private_bytes(path: Path) -> bytes:
    """Checked on the open file, so that nothing can be put in its place in between."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise Unavailable(
            "a key must be a file, not a link", where=str(path), try_this="put the file itself here"
        ) from None
    with os.fdopen(handle, "rb") as file:
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode):
            raise Unavailable("a key must be a plain file", where=str(path))
        if facts.st_uid != os.geteuid():
            raise Unavailable("this key belongs to another user", where=str(path), try_this=f"chown $USER {path}")
        if facts.st_mode & 0o077:
            raise Unavailable("this key can be read by others", where=str(path), try_this=f"chmod 600 {path}")
        return file.read()


def _read(path: Path) -> Verifier:
    found = Verifier.read(path.read_bytes(), where=str(path))
    found.name = path.name.removesuffix(_PUBLIC).removesuffix(f".{found.id[:8]}")
    return found
