"""One blob to a registry: small ones at once, large ones in parts that go on where a killed upload ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO

import msgspec

from guideway.core.artifact import Digest
from guideway.core.errors import Unavailable
from guideway.kit.retry import pauses
from guideway.sealing.registry.client import Repository, Session
from guideway.sealing.registry.http import TRIES
from guideway.sealing.registry.wire import PIECE, Denied
from guideway.sealing.transfers import Meter, Transfers, held
from guideway.store.blobs import Blobs

PART = 16 << 20
"""Bytes of a blob that go in one request."""


def upload(
    repository: Repository,
    blobs: Blobs,
    digest: Digest,
    size: int,
    meter: Meter,
    *,
    mount_from: Sequence[str] = (),
    part: int = PART,
    wait: Callable[[float], None],
) -> int:
    """Bring one blob into *repository*; how many bytes went over the wire, 0 when it was mounted or came meanwhile.

    Raises:
        Corrupt: our own blob is damaged.
        Unavailable: the registry does not take it.
    """
    path = Transfers(blobs.folder).upload(repository.where, digest)
    with held(path) as file:
        if repository.has_blob(digest, size):
            meter.add(size)
            sent = 0
        else:
            task = _Upload(repository, blobs.path(digest), digest, size, meter=meter, memory=file, part=part)
            sent = _sent_at_last(task, blobs, mount_from, wait)
        path.unlink()
    return sent


class _Upload:
    """The upload of one blob, with the file that remembers where it goes on."""

    def __init__(
        self,
        repository: Repository,
        path: Path,
        digest: Digest,
        size: int,
        *,
        meter: Meter,
        memory: BinaryIO,
        part: int,
    ) -> None:
        self._repository, self._path, self.digest, self.size = repository, path, digest, size
        self._meter, self._memory, self._part = meter, memory, part
        self._counted = self.sent = 0

    def send(self, mount_from: Sequence[str]) -> bool:
        """Go on, or begin; is the blob there now?"""
        session = self._remembered() or self._begun(mount_from)
        if session is None:
            self._count_to(self.size)
            return True
        self._count_to(session.offset)
        while self.size - session.offset > self._part:
            taken = self._repository.send_part(session, self._part, partial(self._bytes, session.offset, self._part))
            if taken is None:
                return False
            session = taken
            self._remember(session)
        rest = self.size - session.offset
        self._forget()  # a session that is being closed cannot go on
        return self._repository.finish_upload(session, self.digest, rest, partial(self._bytes, session.offset, rest))

    def _bytes(self, start: int, count: int) -> Iterator[bytes]:
        self._count_to(start)
        with self._path.open("rb") as file:
            file.seek(start)
            while count and (piece := file.read(min(PIECE, count))):
                count -= len(piece)
                self.sent += len(piece)
                yield piece
                self._count_to(self._counted + len(piece))

    def _count_to(self, offset: int) -> None:
        self._meter.add(offset - self._counted)
        self._counted = offset

    def _begun(self, mount_from: Sequence[str]) -> Session | None:
        session: Session | None = None
        for source in mount_from or ("",):
            session = self._repository.begin_upload(self.digest, source)
            if session is None:
                return None
        if session and self.size > self._part:
            self._remember(session)
        return session

    def _remembered(self) -> Session | None:
        """Where to go on, if an upload was broken off and the registry still knows it."""
        self._memory.seek(0)
        text = self._memory.read()
        try:
            location = msgspec.json.decode(text, type=str) if text else ""
        except msgspec.DecodeError:  # killed while it was written
            return None
        session = self._repository.upload_status(location) if location else None
        return session if session and session.offset <= self.size else None

    def _remember(self, session: Session) -> None:
        self._forget()
        self._memory.write(msgspec.json.encode(session.location))

    def _forget(self) -> None:
        self._memory.seek(0)
        self._memory.truncate()


def _sent_at_last(task: _Upload, blobs: Blobs, mount_from: Sequence[str], wait: Callable[[float], None]) -> int:
    """Try until the registry has it. If it never takes the bytes, our own are looked at."""
    left = pauses(TRIES)
    while True:
        fault: Unavailable | None = None
        try:
            if task.send(mount_from):
                return task.sent
        except Denied:
            raise
        except Unavailable as error:
            fault = error
        pause = next(left, None)
        if pause is None:
            blobs.verify(task.digest, task.size)
            raise fault or Unavailable("the registry does not take this blob", where=task.digest)
        wait(pause)
