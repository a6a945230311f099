"""What is carried between us and the workers of a cluster: messages, checkpoints, the model; bytes and no objects.

No folder is shared. What the workers read is put into the cluster's object store, each file with its digest; what they
leave comes back through one actor, the post, in the order in which it was sent.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from guideway.core.errors import Corrupt

PIECE = 64 << 20
"""Bytes of a file that travel at once."""
WAITING = 8
"""Pieces in the post at the most: a sender waits until there is room."""
SAID, RESUME, OUT = "said", "resume", "out"
"""What a piece is part of: a message, a checkpoint, or what is left in the end."""


class Piece(NamedTuple):
    """Part ``number`` of the file ``path`` that has so many; or a whole message."""

    kind: str
    data: bytes
    path: str = ""
    number: int = 0
    of: int = 1


class Post:
    """An actor: what the first worker sends waits here until we take it. The newest checkpoint stays for the next."""

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[Piece] = asyncio.Queue(WAITING)
        self._coming: list[Piece] = []
        self._newest: list[Piece] = []

    async def put(self, piece: Piece) -> None:
        """Send one piece."""
        await self._waiting.put(piece)
        if piece.kind == RESUME:
            self.keep(piece)

    async def take(self) -> list[Piece]:
        """All that waits; at least one piece, or none after a second."""
        try:
            found = [await asyncio.wait_for(self._waiting.get(), 1.0)]
        except TimeoutError:
            return []
        while not self._waiting.empty() and len(found) < WAITING:
            found.append(self._waiting.get_nowait())
        return found

    async def seed(self, piece: Piece) -> None:
        """Know a checkpoint that was kept before."""
        self.keep(piece)

    async def newest(self) -> list[Piece]:
        """The newest checkpoint that is whole; none: there is none."""
        return self._newest

    def keep(self, piece: Piece) -> None:
        """Remember a piece of a checkpoint; with its last piece it is the newest."""
        self._coming = [*self._coming, piece] if piece.number else [piece]
        if len(self._coming) == piece.of:
            self._newest, self._coming = self._coming, []


def pieces_of(path: Path, kind: str, name: str) -> Iterator[Piece]:
    """The file at *path* in pieces; an empty file is one empty piece."""
    count = max(1, -(-path.stat().st_size // PIECE))
    with path.open("rb") as file:
        for number in range(count):
            yield Piece(kind, file.read(PIECE), name, number, count)


class Inbox:
    """Puts files together below *folder* from their pieces. A file has its name only when it is whole."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, piece: Piece) -> None:
        """Write one piece; those of a file come one after the other.

        Raises:
            Corrupt: the name leads out of the folder.
        """
        folder = self._folder.resolve()
        whole = (folder / piece.path).resolve()
        if folder not in whole.parents:
            raise Corrupt("a worker sent a file that leads out of its folder", where=piece.path)
        whole.parent.mkdir(parents=True, exist_ok=True)
        part = whole.with_name(f".part-{whole.name}")
        with part.open("ab" if piece.number else "wb") as file:
            file.write(piece.data)
        if piece.number + 1 == piece.of:
            part.replace(whole)


class Shipped(NamedTuple):
    """One file in the object store: where it belongs, its digest, and its pieces."""

    path: str
    digest: str
    pieces: list[Any]


def ship(folders: Mapping[str, Path]) -> dict[str, list[Shipped]]:
    """Put every file below *folders* into the object store."""
    import ray

    return {
        name: [_shipped(path, folder, ray.put) for path in sorted(folder.rglob("*")) if path.is_file()]
        for name, folder in folders.items()
    }


def _shipped(path: Path, folder: Path, put: Callable[[bytes], Any]) -> Shipped:
    hasher, pieces = hashlib.sha256(), []
    for piece in pieces_of(path, "", ""):
        hasher.update(piece.data)
        pieces.append(put(piece.data))
    return Shipped(path.relative_to(folder).as_posix(), hasher.hexdigest(), pieces)


def unpack(shipped: Mapping[str, list[Shipped]], below: Path) -> dict[str, Path]:
    """Write the files that were shipped below a folder; where each input is then.

    Raises:
        Corrupt: a file is not what was shipped.
    """
    import ray

    for name, files in shipped.items():
        (below / name).mkdir(parents=True)
        for one in files:
            _write(one, below / name / one.path, ray.get)
    return {name: below / name for name in shipped}


def _write(one: Shipped, path: Path, get: Callable[[Any], bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    hasher = hashlib.sha256()
    with path.open("wb") as file:
        for reference in one.pieces:
            data = get(reference)
            hasher.update(data)
            file.write(data)
    if hasher.hexdigest() != one.digest:
        raise Corrupt("a file came to a worker as another than it was sent", where=one.path)


def send_to(post: Any) -> Callable[[Piece], None]:
    """Send a piece through *post*, and wait until it is there: the order is that of sending."""
    import ray

    def send(piece: Piece) -> None:
        ray.get(post.put.remote(piece))

    return send
