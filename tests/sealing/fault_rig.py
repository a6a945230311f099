"""Faults at the i-th call that changes the disk, and a disk that remembers only what was fsynced."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from guideway.store.database import Database

SYNCS = ("fsync", "fdatasync")
WRITES = ("write", "open", "mkdir", "link", "symlink", "rename", "replace", *SYNCS)
CALLS = (*WRITES, "unlink", "rmdir", "fchmod", "chmod", "execute", "commit")


class Faults:
    """Counts the calls that change the disk, and calls *act* before the one whose number is *at* (from 1).

    A write at that place is torn: half of it is done. Statements and commits of the database count too.
    """

    def __init__(self, act: Callable[[], None], *, at: int = 0, only: tuple[str, ...] = CALLS, ever: bool = False):
        self._act, self._at, self._only, self._ever = act, at, only, ever
        self.seen: list[str] = []

    @contextlib.contextmanager
    def armed(self) -> Iterator[Faults]:
        with pytest.MonkeyPatch.context() as patch:
            for name in set(CALLS) - {"write", "open", "execute", "commit"}:
                patch.setattr(os, name, self._before(name, getattr(os, name)))
            patch.setattr(os, "open", self._open(os.open))
            patch.setattr(os, "write", self._write(os.write))
            patch.setattr(os, "fdopen", self._fdopen(os.fdopen))
            patch.setattr(Database, "execute", self._before("execute", Database.execute))
            patch.setattr(Database, "transaction", self._transaction(Database.transaction))
            yield self

    def _met(self, name: str) -> bool:
        """Count a call; is it the one?"""
        if name not in self._only:
            return False
        self.seen.append(name)
        return len(self.seen) == self._at or (self._ever and 0 < self._at < len(self.seen))

    def _before(self, name: str, real: Any) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            if self._met(name):
                self._act()
            return real(*arguments, **named)

        return call

    def _open(self, real: Any) -> Any:
        def call(path: Any, flags: int, *arguments: Any, **named: Any) -> Any:
            if flags & os.O_CREAT and self._met("open"):
                self._act()
            return real(path, flags, *arguments, **named)

        return call

    def _write(self, real: Any) -> Any:
        def call(handle: int, data: Any) -> int:
            if self._met("write"):
                real(handle, data[: len(data) // 2])
                self._act()
            return real(handle, data)

        return call

    def _fdopen(self, real: Any) -> Any:
        rig = self

        class Spied:
            def __init__(self, *arguments: Any, **named: Any) -> None:
                self._file = real(*arguments, **named)

            def __enter__(self) -> Spied:
                return self

            def __exit__(self, *_: object) -> None:
                self._file.close()

            def __getattr__(self, name: str) -> Any:
                return getattr(self._file, name)

            def write(self, data: bytes) -> int:
                if rig._met("write"):
                    self._file.write(data[: len(data) // 2])
                    self._file.flush()
                    rig._act()
                return self._file.write(data)

        return Spied

    def _transaction(self, real: Any) -> Any:
        @contextlib.contextmanager
        def call(database: Any) -> Iterator[Any]:
            with real(database) as inside:
                yield inside
                if self._met("commit"):
                    self._act()

        return call


def fails(number: int) -> Callable[[], None]:
    """An act: the call fails with this error number."""

    def act() -> None:
        raise OSError(number, os.strerror(number))

    return act


def nothing() -> None:
    """An act: go on."""


def killed_at(at: int, work: Callable[[], object]) -> bool:
    """Run *work* in a fork that kills itself at call *at*; False when it came to its end before."""
    child = os.fork()
    if not child:
        try:
            with Faults(lambda: os.kill(os.getpid(), 9), at=at).armed():
                work()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


class ForgetfulDisk:
    """What would be left of *folder* if the machine went down now.

    Three ways in which a file system may keep less than it was told, though it honours fsync: ``strict`` keeps only
    names and contents that were fsynced, ``names`` every name but only contents that were, ``contents`` the reverse.
    """

    WAYS = ("strict", "names", "contents")

    def __init__(self, folder: Path) -> None:
        self.folder, self._looking = folder, False
        self._files = 0
        self._identity: dict[int, int] = {}
        self._contents: dict[int, bytes] = {}
        self._names: dict[str, dict[str, tuple[str, Any]]] = {}
        for path in [folder, *folder.rglob("*")]:  # what is there when we begin is on the disk
            self._note(path)

    @contextlib.contextmanager
    def armed(self, at_every_call: Callable[[], None]) -> Iterator[None]:
        """Remember fsyncs, and call back after every call that changes the disk."""

        def after(name: str, real: Any) -> Any:
            def call(*arguments: Any, **named: Any) -> Any:
                if self._looking:
                    return real(*arguments, **named)
                dying = self._dying(name, arguments, named)
                result = real(*arguments, **named)
                self._identity.pop(dying, None)  # its number may be that of another file soon
                if name in SYNCS:
                    self._note(Path(f"/proc/self/fd/{arguments[0]}").readlink())
                self._looking = True
                at_every_call()
                self._looking = False
                return result

            return call

        with pytest.MonkeyPatch.context() as patch:
            for name in ("write", "mkdir", "link", "symlink", "rename", "replace", "unlink", *SYNCS):
                patch.setattr(os, name, after(name, getattr(os, name)))
            yield

    def image(self, way: str, place: Path) -> Path:
        """Write what would be left into *place*."""
        self._image(way, self.folder, place)
        return place

    def _image(self, way: str, folder: Path, place: Path) -> None:
        place.mkdir(parents=True)
        names = self._listing(folder) if way == "names" else self._names.get(str(folder), {})
        for name, (kind, what) in names.items():
            if kind == "folder":
                self._image(way, folder / name, place / name)
            elif kind == "link":
                (place / name).symlink_to(what)
            else:
                (place / name).write_bytes(self._content(way, folder / name, what))
                (place / name).chmod(0o444)

    def _content(self, way: str, path: Path, identity: int) -> bytes:
        if way == "contents" and path.exists() and self._of(path) == identity:
            return path.read_bytes()
        return self._contents.get(identity, b"")

    def _note(self, path: Path) -> None:
        if path.is_dir():
            self._names[str(path)] = self._listing(path)
        elif path.is_file():
            self._contents[self._of(path)] = path.read_bytes()

    def _listing(self, folder: Path) -> dict[str, tuple[str, Any]]:
        found: dict[str, tuple[str, Any]] = {}
        for path in folder.iterdir():
            if path.is_symlink():
                found[path.name] = ("link", path.readlink())
            else:
                found[path.name] = ("folder", None) if path.is_dir() else ("file", self._of(path))
        return found

    @staticmethod
    def _dying(name: str, arguments: Any, named: Any) -> int | None:
        """The inode that a call removes for good, if it does."""
        if name not in ("unlink", "rename", "replace"):
            return None
        try:
            found = os.stat(arguments[name != "unlink"], dir_fd=named.get("dir_fd"), follow_symlinks=False)
        except FileNotFoundError:
            return None
        return found.st_ino if found.st_nlink == 1 else None

    def _of(self, path: Path) -> int:
        self._files += 1
        return self._identity.setdefault(path.stat().st_ino, self._files)


def copy_rest(house: Path, place: Path) -> None:
    """Rows and keys as they are now: the database keeps its own promises."""
    for path in house.glob("state.db*"):
        shutil.copyfile(path, place / path.name)
    shutil.copytree(house / "keys", place / "keys")
