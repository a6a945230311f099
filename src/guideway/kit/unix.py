"""Unix sockets for one user, with names that fit into the 108 bytes of the kernel however deep their folder lies."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def short(path: Path) -> Iterator[str]:
    """A name for the socket at *path*, as long as the body of this runs.

    Raises:
        OSError: its folder is not there.
    """
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


@contextlib.contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    """A socket at *path* that listens, for us alone. Whoever comes after takes the name over."""
    with socket.socket(socket.AF_UNIX) as one:
        path.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            with short(path) as name:
                one.bind(name)
        finally:
            os.umask(before)
        one.listen()
        try:
            yield one
        finally:
            path.unlink(missing_ok=True)
