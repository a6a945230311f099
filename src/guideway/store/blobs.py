"""An OCI image layout: blobs named by their digest, whole or absent, each kept once.

``intake`` says how bytes come in, ``leases`` and ``garbage`` how they go, ``scrub`` how damage is found.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from guideway.core.artifact import Artifact, Digest, File, digest_bytes, short
from guideway.core.errors import Corrupt
from guideway.kit.files import locked, make_folder, sync_folder, write_atomic
from guideway.store import intake
from guideway.store.condemned import Mark, Marks
from guideway.store.intake import Fill, Staged, explained
from guideway.store.leases import NOBODY, Leases
from guideway.store.reading import BUFFER, digest_file, in_parallel

_AGAIN = "`guideway verify --discard`, then build it again"
_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_FEW = 4 * BUFFER
"""Bytes up to which threads cost more than they save."""


class Blobs:
    """The folder ``oci/``. Every method may be called by several processes and threads at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._blobs = folder / "blobs" / "sha256"
        self.leases = Leases(folder / ".guideway")
        self.marks = Marks(folder / ".guideway" / "condemned")
        make_folder(self._blobs)
        if not (folder / "oci-layout").exists():
            with self.index_locked():
                write_atomic(folder / "oci-layout", _LAYOUT)

    def path(self, digest: Digest) -> Path:
        """Where the blob lies, or would lie.

        Raises:
            Corrupt: *digest* is none, and might name a file elsewhere.
        """
        if not _DIGEST.fullmatch(digest):
            raise Corrupt("this is no sha256 digest", where=digest[:80])
        return self._blobs / digest[7:]

    def all(self) -> Iterator[tuple[Digest, int]]:
        """Digest and size in bytes of every blob that is here now."""
        for entry in os.scandir(self._blobs):
            if _DIGEST.fullmatch("sha256:" + entry.name):
                with contextlib.suppress(FileNotFoundError):  # collected meanwhile
                    yield "sha256:" + entry.name, entry.stat().st_size

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Whatever is found or put inside stays until the block ends; make it known (index, row) before that.

        Garbage collection counts on it. May be nested.
        """
        make_folder(self.leases.folder)
        with contextlib.ExitStack() as stack:
            with explained(self.folder):
                stack.enter_context(self.leases.writing())
            yield

    def has(self, digest: Digest, size: int | None = None) -> bool:
        """Is it here, with that *size* in bytes if one is given? Says nothing about its bytes.

        Inside ``writing`` a blob that was found is not collected.
        """
        path = self.path(digest)
        if self.leases.held and self.marks.has(digest):  # the mark first: a collection takes the blob before its mark
            with self.leases.lock():
                self.marks.lift(digest)
        try:
            found = path.stat().st_size
        except FileNotFoundError:
            return False
        return size in (None, found)

    def discard(self, digest: Digest) -> None:
        """Drop a damaged blob, so that whoever makes or pulls it again can put it here."""
        self.path(digest).unlink(missing_ok=True)

    def put_bytes(self, data: bytes) -> Digest:
        """Keep *data*; its digest."""
        digest = digest_bytes(data)
        with self.writing(), explained(self.folder):
            fresh = not self.has(digest, len(data))
            if fresh:
                self._take_in(intake.from_bytes(data))
            self._settle([digest] if fresh else [])
        return digest

    def put_file(self, source: Path, *, name: str = "", take: bool = False) -> File:
        """Keep the file *source* under the path *name* of an artifact.

        With *take* the caller gives the file up: it is linked where that is possible, becomes read-only, and must not
        be written again.

        Raises:
            Corrupt: it is no plain file.
        """
        return self._put_files([(source, name or source.name)], take=take)[0]

    def adopt(self, source: Path, digest: Digest) -> None:
        """Move *source* here, whose bytes were checked against *digest* while they were written."""
        with self.writing(), explained(self.folder):
            with source.open("rb") as file:
                os.fchmod(file.fileno(), 0o444)
                os.fsync(file.fileno())
                fresh = not self.has(digest, os.fstat(file.fileno()).st_size)
            if fresh:
                source.replace(self.path(digest))
            else:
                source.unlink()
            self._settle([digest] if fresh else [])

    def put_tree(self, folder: Path, *, take: bool = False) -> Artifact:
        """Keep every regular file below *folder*. Links and special files are refused."""
        found = []
        for path in sorted(folder.rglob("*")):
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise Corrupt("only plain files can be kept", where=str(path))
            if path.is_file():
                found.append((path, path.relative_to(folder).as_posix()))
        return Artifact.of(self._put_files(found, take=take))

    def lay_out(self, files: Iterable[File], folder: Path) -> Path:
        """Make *files* visible below *folder* as links to the blobs: nothing is copied, nobody may write there.

        What lies there under the same paths is replaced. On another file system the blobs are copied.

        Raises:
            Corrupt: a blob is missing, or a path leaves the folder.
        """
        inside = folder.resolve()
        for file in files:
            target = folder / file.path
            if inside not in target.resolve().parents:
                raise Corrupt(f"'{file.path}' leaves its folder", where=short(file.digest))
            target.parent.mkdir(parents=True, exist_ok=True)
            with explained(folder):
                try:
                    intake.lay(self.path(file.digest), target)
                except FileNotFoundError:
                    raise Corrupt("this blob is missing", where=file.digest, try_this=_AGAIN) from None
        return folder

    def read(self, digest: Digest) -> bytes:
        """A small blob's bytes, checked against the digest.

        Raises:
            Corrupt: it is missing or does not match.
        """
        try:
            data = self.path(digest).read_bytes()
        except FileNotFoundError:
            raise Corrupt("this blob is missing", where=digest, try_this=_AGAIN) from None
        if digest_bytes(data) != digest:
            raise Corrupt("this blob is not what its digest says", where=digest, try_this=_AGAIN)
        return data

    def verify(self, digest: Digest, size: int | None = None, *, name: str = "") -> int:
        """Read every byte of a blob again; its size. *name* is what people call it in the error.

        Raises:
            Corrupt: it is missing, of another size, or its bytes do not match.
        """
        called = f" ({name})" if name else ""
        try:
            handle = os.open(self.path(digest), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise Corrupt(f"this blob is missing{called}", where=digest, try_this=_AGAIN) from None
        try:
            short_of = size is not None and os.fstat(handle).st_size != size
            found, length = ("", 0) if short_of else digest_file(handle)
        except OSError as error:
            raise Corrupt(f"the disk cannot read this blob{called}: {error.strerror}", where=digest) from None
        finally:
            os.close(handle)
        if found != digest:
            raise Corrupt(f"this blob is not what its digest says{called}", where=digest, try_this=_AGAIN)
        return length

    def verify_files(self, files: Iterable[File], progress: Callable[[int], None] = lambda _: None) -> int:
        """Read every byte of *files* again, several at a time; how many bytes. *progress* hears them as they come.

        Raises:
            Corrupt: names the first file, in their order, that is not what its digest says.
        """
        done = 0
        for size in in_parallel(lambda file: self.verify(file.digest, file.size, name=file.path), files):
            done += size
            progress(done)
        return done

    def index(self) -> dict[str, Any]:
        """``index.json``: which manifests the layout offers.

        Raises:
            Corrupt: it is no JSON object.
        """
        path = self.folder / "index.json"
        if not path.exists():
            return {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []}
        try:
            return {"manifests": [], **msgspec.json.decode(path.read_bytes(), type=dict[str, Any])}
        except msgspec.DecodeError as error:
            raise Corrupt(
                f"not the index of a layout: {error}", where=str(path), try_this="restore it from a backup"
            ) from None

    def add_to_index(self, *entries: dict[str, Any]) -> None:
        """List manifests, all of them or none; the same digest and annotations are listed once."""
        path = self.folder / "index.json"
        with self.index_locked(), explained(self.folder):
            index = self.index()
            fresh = [entry for entry in entries if entry not in index["manifests"]]
            if fresh:
                index["manifests"] += fresh
                write_atomic(path, msgspec.json.format(msgspec.json.encode(index)))
            elif path.exists():  # whoever listed them may have failed before they were on the disk
                sync_folder(self.folder)

    @contextlib.contextmanager
    def index_locked(self) -> Iterator[None]:
        """Nobody else writes ``index.json`` inside."""
        make_folder(self.leases.folder)
        with locked(self.leases.folder / "index.lock"):
            yield

    def _put_files(self, sources: list[tuple[Path, str]], *, take: bool) -> list[File]:
        """Keep files, each with the path it has in its artifact; all are on the disk when this returns."""

        def put(source: tuple[Path, str]) -> tuple[File, bool]:
            staged, fresh = self._take_in(fill(source[0]), instead=intake.copied(source[0]))
            return File(path=source[1], size=staged.size, digest=staged.digest), fresh

        fill = intake.linked if take else intake.copied
        with self.writing(), explained(self.folder):
            small = sum(source.stat().st_size for source, _ in sources) <= _FEW
            put_in = list(map(put, sources) if small else in_parallel(put, sources))
            self._settle([file.digest for file, fresh in put_in if fresh])
        return [file for file, _ in put_in]

    def _take_in(self, fill: Fill, *, instead: Fill | None = None) -> tuple[Staged, bool]:
        """Fill a hidden file and give it its name; was the blob not here before?"""
        hidden = self.leases.hidden()
        try:
            staged = fill(hidden)
            fresh = not self.has(staged.digest, staged.size)
            if fresh and staged.shared and instead:  # under its other name it could be written again
                hidden.unlink()
                staged = instead(hidden)
            if fresh:
                hidden.replace(self.path(staged.digest))
            return staged, fresh
        finally:
            hidden.unlink(missing_ok=True)

    def _settle(self, fresh: list[Digest]) -> None:
        """Make the names durable. If the disk will not, the *fresh* ones go again, unless another writer found them."""
        try:
            sync_folder(self._blobs)
        except OSError:
            with contextlib.suppress(OSError):
                self._withdraw(fresh)
            raise

    def _withdraw(self, fresh: list[Digest]) -> None:
        with self.leases.lock():
            generation = self.leases.generation() + 1
            for digest in fresh:
                self.marks.set(Mark(digest, generation, 0.0))
            self.leases.raise_generation(generation)
            if self.leases.oldest(but_mine=True) == NOBODY:
                for digest in fresh:
                    self.path(digest).unlink(missing_ok=True)
                    self.marks.lift(digest)
