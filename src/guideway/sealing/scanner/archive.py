"""Archives from elsewhere: every member is judged before anything is written, and a refusal leaves nothing behind."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import msgspec

from guideway.core.errors import Refused, Unavailable
from guideway.sealing.scanner import paths
from guideway.sealing.scanner.findings import shown

HEADER_READ = 1 << 20
"""Bytes that a reader of headers may ask for at once: names are not longer, and bombs are."""
COPY = 1 << 20
BROKEN = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, gzip.BadGzipFile, EOFError, ValueError,
    OverflowError, NotImplementedError, RuntimeError, RecursionError, IndexError, KeyError,
)  # fmt: skip
"""What the standard library raises over a broken archive."""


class Limits(msgspec.Struct, frozen=True):
    """How much an archive may hold: members, bytes in all, and bytes per byte of the archive."""

    members: int = 100_000
    bytes: int = 1 << 40
    ratio: int = 1000


LIMITS = Limits()


class Member(msgspec.Struct, frozen=True):
    """One thing in an archive: its path, its size in bytes, and whether it is a folder."""

    path: str
    size: int
    folder: bool


def check_archive(path: Path, *, limits: Limits = LIMITS) -> tuple[Member, ...]:
    """The members of the tar or zip at *path*, which may be packed with gzip, bzip2 or xz. Writes nothing.

    Raises:
        Refused: a member would leave its folder, is a link or no plain file, or there is too much of it.
    """
    seen, total = _Names(path), 0
    members: list[Member] = []
    most = path.stat().st_size * limits.ratio
    with _told(path), _opened(path) as archive:
        for member in archive.members():
            if len(members) >= limits.members:
                raise _refused(path, f"the archive has more than {limits.members} members")
            total += member.size
            if total > limits.bytes or total >= most:
                raise _refused(path, f"the archive unpacks to {total} bytes or more, which is a bomb")
            seen.add(member)
            members.append(member)
    return tuple(members)


def unpack(archive: Path, folder: Path, *, limits: Limits = LIMITS) -> tuple[Member, ...]:
    """Unpack *archive* into the new *folder*; its members. All of it is there afterwards, or nothing.

    Raises:
        Refused: as ``check_archive``, or the folder exists already.
        Unavailable: the disk has too little space.
    """
    if folder.exists() or folder.is_symlink():
        raise Refused("this folder exists already", where=str(folder), try_this="choose another one")
    members = check_archive(archive, limits=limits)
    folder.parent.mkdir(parents=True, exist_ok=True)
    need, free = sum(member.size for member in members), shutil.disk_usage(folder.parent).free
    if need > free:
        raise Unavailable(f"{need} bytes are needed and {free} are free", where=str(folder), try_this="free some space")
    made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        with _told(archive), _opened(archive) as source:
            _write_all(source, made, {member.path: member for member in members})
        made.chmod(0o755)
        made.rename(folder)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    return members


def _write_all(source: _Tar | _Zip, made: Path, expected: dict[str, Member]) -> None:
    for member in source.members():
        if expected.get(member.path) != member:
            raise ValueError("the archive changed while it was read")
        place = made / member.path
        if member.folder:
            place.mkdir(parents=True, exist_ok=True)
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        with source.read() as data, _created(place) as file:
            _copy(data, file, member.size)


def _created(place: Path) -> IO[bytes]:
    handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    return os.fdopen(handle, "wb")


def _copy(source: IO[bytes], target: IO[bytes], size: int) -> None:
    """Copy exactly *size* bytes."""
    left = size
    while left:
        piece = source.read(min(COPY, left))
        if not piece:
            raise EOFError("a member ends early")
        target.write(piece)
        left -= len(piece)
    if source.read(1):
        raise ValueError("a member is longer than it says")


class _Names:
    """The names so far, as a file system would see them that knows no case."""

    def __init__(self, archive: Path) -> None:
        self._archive = archive
        self._kinds: dict[str, bool] = {}

    def add(self, member: Member) -> None:
        """Take in *member*, or refuse it."""
        fault = paths.fault(member.path)
        if fault:
            raise _refused(self._archive, f"the archive names '{shown(member.path)}', which {fault}")
        name = paths.folded(member.path)
        parents = name.split("/")[:-1]
        for depth in range(1, len(parents) + 1):
            if not self._kinds.setdefault("/".join(parents[:depth]), True):
                raise _refused(self._archive, f"the archive puts '{shown(member.path)}' below a file")
        if name in self._kinds and not (member.folder and self._kinds[name]):
            raise _refused(self._archive, f"the archive names '{shown(member.path)}' twice, perhaps in another case")
        self._kinds[name] = member.folder


class _Tar:
    """A tar archive as a row of members; each is read before the next."""

    def __init__(self, file: Any) -> None:
        self._file = _Forward(file)
        self._tar = tarfile.TarFile(fileobj=self._file, errorlevel=2)
        self._now: tarfile.TarInfo | None = None

    def members(self) -> Iterator[Member]:
        while (found := self._tar.next()) is not None:
            self._tar.members = []  # type: ignore[attr-defined]  # so that a long archive costs no memory
            _check_mode(found.name, found.mode)
            if found.size < 0:
                raise _Forbidden(found.name, "has a negative size")
            if not (found.isdir() or found.isreg()) or found.issparse():
                raise _Forbidden(found.name, "is no plain file: a link, a device, a pipe or a file with holes")
            self._now = found
            yield Member(found.name.rstrip("/") if found.isdir() else found.name, found.size, found.isdir())
        self._file.end()

    def read(self) -> IO[bytes]:
        assert self._now is not None
        found = self._tar.extractfile(self._now)
        assert found is not None
        return found


class _Zip:
    """A zip archive as a row of members."""

    def __init__(self, file: IO[bytes]) -> None:
        self._zip = zipfile.ZipFile(file)
        self._now: zipfile.ZipInfo | None = None

    def members(self) -> Iterator[Member]:
        for found in self._zip.infolist():
            mode = found.external_attr >> 16
            _check_mode(found.orig_filename, mode)
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _Forbidden(found.orig_filename, "is no plain file: a link, a device or a pipe")
            if found.flag_bits & 0x1:
                raise _Forbidden(found.orig_filename, "is encrypted")
            self._now = found
            yield Member(found.orig_filename.removesuffix("/"), found.file_size, found.is_dir())

    def read(self) -> IO[bytes]:
        assert self._now is not None
        return self._zip.open(self._now)


class _Forbidden(ValueError):
    """A member that no archive of ours has."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"the archive holds '{shown(name)}', which {why}")


class _Forward(io.RawIOBase):
    """A stream that reads forwards only and never much at once: a header that claims gigabytes is a bomb."""

    def __init__(self, file: Any) -> None:
        self._file, self._at = file, 0

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET or offset < self._at:
            raise ValueError("the archive leads backwards")
        while self._at < offset:
            if not self.read(min(HEADER_READ, offset - self._at)):
                raise EOFError("the archive ends early")
        return self._at

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= HEADER_READ:
            raise ValueError("the archive has a huge header")
        piece: bytes = self._file.read(size)
        self._at += len(piece)
        return piece

    def end(self) -> None:
        """Read what is behind the last member: zeros up to a block, and the checksum of what it is packed with."""
        rest = self.read(HEADER_READ)
        if any(rest) or self.read(1):
            raise ValueError("the archive goes on behind its end")


def _check_mode(name: str, mode: int) -> None:
    if mode & (stat.S_ISUID | stat.S_ISGID):
        raise _Forbidden(name, "would run with somebody else's rights (setuid)")


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[_Tar | _Zip]:
    """The archive at *path*, by its content."""
    with path.open("rb") as file:
        head = file.read(6)
        file.seek(0)
        if head.startswith(b"PK"):
            yield _Zip(file)
        elif head.startswith(b"\x1f\x8b"):
            with gzip.GzipFile(fileobj=file) as unpacked:
                yield _Tar(unpacked)
        elif head.startswith(b"BZh"):
            with bz2.BZ2File(file) as unpacked:
                yield _Tar(unpacked)
        elif head.startswith(b"\xfd7zXZ\0"):
            with lzma.LZMAFile(file) as unpacked:
                yield _Tar(unpacked)
        else:
            yield _Tar(file)


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Errors of the standard library in people's words."""
    try:
        yield
    except _Forbidden as error:
        raise _refused(path, str(error)) from None
    except BROKEN as error:
        raise _refused(path, f"the archive is broken: {shown(str(error)) or type(error).__name__}") from None
    except OSError as error:
        if error.errno is not None:
            raise
        raise _refused(path, f"the archive is broken: {shown(str(error))}") from None


def _refused(path: Path, what: str) -> Refused:
    return Refused(what, where=str(path), try_this="make the archive again, from plain files and folders")
