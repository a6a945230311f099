"""An OCI image layout: blobs named by their digest, whole or absent, each kept once."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from guideway.core.artifact import Artifact, Digest, File, digest_bytes, short
from guideway.core.errors import Corrupt, Unavailable
from guideway.kit.files import locked, sync_folder, write_atomic

_CHUNK = 1 << 20
_AGAIN = "`guideway verify --discard`, then build it again"
_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'


class Blobs:
    """The folder ``oci/``. Every method may be called by several processes at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._blobs = folder / "blobs" / "sha256"
        self._blobs.mkdir(parents=True, exist_ok=True)
        if not (folder / "oci-layout").exists():
            write_atomic(folder / "oci-layout", _LAYOUT)

    def path(self, digest: Digest) -> Path:
        """Where the blob lies, or would lie."""
        return self._blobs / digest.removeprefix("sha256:")

    def has(self, digest: Digest, size: int | None = None) -> bool:
        """Is it here, with that *size* in bytes if one is given? Says nothing about its bytes."""
        try:
            found = self.path(digest).stat().st_size
        except FileNotFoundError:
            return False
        return size in (None, found)

    def discard(self, digest: Digest) -> None:
        """Drop a damaged blob, so that whoever makes or pulls it again can put it here."""
        self.path(digest).unlink(missing_ok=True)

    def put_bytes(self, data: bytes) -> Digest:
        """Keep *data*; its digest."""
        digest = digest_bytes(data)
        if not self.has(digest, len(data)):
            with _explained(self.folder):
                write_atomic(self.path(digest), data, mode=0o444)
        return digest

    def put_file(self, source: Path, *, name: str = "", take: bool = False) -> File:
        """Keep the file *source* under the path *name* of an artifact.

        With *take* the caller gives the file up: it is linked, not copied, and must not be written again.
        """
        with _explained(self.folder):
            if take:
                digest, size = _link_in(source, self._blobs)
            else:
                digest, size = _copy_in(source, self._blobs)
        return File(path=name or source.name, size=size, digest=digest)

    def adopt(self, source: Path, digest: Digest) -> None:
        """Move *source* here, whose bytes were checked against *digest* while they were written."""
        with _explained(self.folder):
            with source.open("rb") as file:
                os.fchmod(file.fileno(), 0o444)
                os.fsync(file.fileno())
            source.replace(self.path(digest))
            sync_folder(self._blobs)

    def put_tree(self, folder: Path, *, take: bool = False) -> Artifact:
        """Keep every regular file below *folder*. Links and special files are refused."""
        files = []
        for path in sorted(folder.rglob("*")):
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise Corrupt("only plain files can be kept", where=str(path))
            if path.is_file():
                files.append(self.put_file(path, name=path.relative_to(folder).as_posix(), take=take))
        with _explained(self.folder):
            sync_folder(self._blobs)
        return Artifact.of(files)

    def lay_out(self, files: Iterable[File], folder: Path) -> Path:
        """Make *files* visible below *folder* as links to the blobs: nothing is copied, nobody may write there."""
        for file in files:
            target = folder / file.path
            if not target.resolve().is_relative_to(folder.resolve()):
                raise Corrupt(f"'{file.path}' leaves its folder", where=short(file.digest))
            target.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError), _explained(folder):
                _link_or_copy(self.path(file.digest), target)
        return folder

    def read(self, digest: Digest) -> bytes:
        """A small blob's bytes, checked against the digest.

        Raises:
            Corrupt: it is missing or does not match.
        """
        try:
            data = self.path(digest).read_bytes()
        except FileNotFoundError:
            raise Corrupt("this blob is missing", where=digest) from None
        if digest_bytes(data) != digest:
            raise Corrupt("this blob is not what its digest says", where=digest)
        return data

    def verify(self, digest: Digest, size: int | None = None, *, name: str = "") -> int:
        """Read every byte of a blob again; its size. *name* is what people call it in the error.

        Raises:
            Corrupt: it is missing, of another size, or its bytes do not match.
        """
        called = f" ({name})" if name else ""
        try:
            with self.path(digest).open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
                length = file.tell()
        except FileNotFoundError:
            raise Corrupt(f"this blob is missing{called}", where=digest, try_this=_AGAIN) from None
        if "sha256:" + found != digest or (size is not None and length != size):
            raise Corrupt(f"this blob is not what its digest says{called}", where=digest, try_this=_AGAIN)
        return length

    def index(self) -> dict[str, Any]:
        """``index.json``: which manifests the layout offers."""
        path = self.folder / "index.json"
        if not path.exists():
            return {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []}
        index: dict[str, Any] = msgspec.json.decode(path.read_bytes())
        return index

    def add_to_index(self, entry: dict[str, Any]) -> None:
        """List one manifest; the same digest and annotations are listed once."""
        with locked(self.folder / ".index.lock"), _explained(self.folder):
            index = self.index()
            if entry not in index["manifests"]:
                index["manifests"].append(entry)
                write_atomic(self.folder / "index.json", msgspec.json.format(msgspec.json.encode(index)))


def _link_in(source: Path, blobs: Path) -> tuple[Digest, int]:
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.tell()
        os.fsync(file.fileno())
    target = blobs / digest
    if target.exists() and target.stat().st_size != size:
        target.unlink()  # a part of it, left by a machine that went down: the whole one is here now
    if not target.exists():
        source.chmod(0o444)
        with contextlib.suppress(FileExistsError):
            try:
                os.link(source, target)
            except OSError as error:
                if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK):
                    raise
                return _copy_in(source, blobs)
    return "sha256:" + digest, size


def _copy_in(source: Path, blobs: Path) -> tuple[Digest, int]:
    """One pass: copy and digest together, then rename. A crash leaves only a hidden temporary file."""
    handle, name = tempfile.mkstemp(dir=blobs.parent, prefix=".incoming.")
    hasher = hashlib.sha256()
    size = 0
    try:
        with os.fdopen(handle, "wb") as out, source.open("rb") as file:
            while chunk := file.read(_CHUNK):
                hasher.update(chunk)
                size += len(chunk)
                out.write(chunk)
            out.flush()
            os.fchmod(out.fileno(), 0o444)
            os.fsync(out.fileno())
        Path(name).replace(blobs / hasher.hexdigest())
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return "sha256:" + hasher.hexdigest(), size


def _link_or_copy(blob: Path, target: Path) -> None:
    try:
        os.link(blob, target)
    except FileNotFoundError:
        raise Corrupt("this blob is missing", where=blob.name, try_this=_AGAIN) from None
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK):
            raise
        shutil.copyfile(blob, target)


@contextlib.contextmanager
def _explained(folder: Path) -> Any:
    """A full disk in people's words."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Unavailable(
                "the disk is full, nothing was changed", where=str(folder), try_this="free some space and run it again"
            ) from None
        raise
