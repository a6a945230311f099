"""Where the bytes lie: under ids that we made, in folders that nobody else reads."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO

from guideway.kit.files import make_folder, sync_folder

FILE_ID = re.compile(r"file-[0-9a-f]{32}\Z")
BATCH_ID = re.compile(r"batch_[0-9a-f]{32}\Z")
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Shelf:
    """The folder of one service. A file is whole or absent; names that clients give are never used as names here."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files, self._journals, self._parts = folder / "files", folder / "journals", folder / "parts"
        for one in (folder, self._files, self._journals, self._parts):
            make_folder(one)
            one.chmod(0o700)

    def file(self, id: str) -> Path:
        """Where the file *id* lies.

        Raises:
            ValueError: this is no id that we made.
        """
        if not FILE_ID.match(id):
            raise ValueError("not the id of a file")
        return self._files / id

    def journal(self, batch_id: str) -> Path:
        """Where the answers of a batch lie until it is at its end.

        Raises:
            ValueError: this is no id that we made.
        """
        if not BATCH_ID.match(batch_id):
            raise ValueError("not the id of a batch")
        return self._journals / batch_id

    @contextlib.contextmanager
    def part(self) -> Iterator[IO[bytes]]:
        """A file to write to; it is gone at the end of the block, unless it was kept."""
        handle, name = tempfile.mkstemp(dir=self._parts)
        os.close(handle)
        try:
            with Path(name).open("wb") as file:  # opened by name, so that it knows its own
                yield file
        finally:
            Path(name).unlink(missing_ok=True)

    def keep(self, part: IO[bytes], id: str) -> int:
        """Make a part the file *id*, durably; its size."""
        part.flush()
        os.fsync(part.fileno())
        Path(part.name).replace(self.file(id))
        sync_folder(self._files)
        return os.fstat(part.fileno()).st_size

    def drop(self, id: str) -> None:
        """Delete the file *id*."""
        self.file(id).unlink(missing_ok=True)

    def sweep(self, files: Collection[str], batches: Collection[str]) -> int:
        """Delete what a process that was killed left behind: everything but these; how many."""
        strays = [path for path in self._files.iterdir() if path.name not in files]
        strays += [path for path in self._journals.iterdir() if path.name not in batches]
        strays += self._parts.iterdir()
        for path in strays:
            path.unlink(missing_ok=True)
        return len(strays)


def is_full(error: OSError) -> bool:
    """Does *error* say that there is no room?"""
    return error.errno in _FULL
