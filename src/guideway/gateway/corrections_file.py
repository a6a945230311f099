"""The file of corrections as one worker follows it: what changes while it serves is made ready beside the loop."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

from guideway.gateway.corrections import Corrections, Held
from guideway.gateway.follow import FollowedFile
from guideway.gateway.log import log
from guideway.gateway.mishap import tell
from guideway.kit.files import write_atomic

Done = Callable[[Held | Exception], None]
Beside = Callable[[Callable[[], Held], Done], None]
"""Does the work given in a thread, and calls, on the loop, with what it gave or raised."""


class CorrectionsFile:
    """Follows *path* for *corrections*; *wall* tells the time in nanoseconds since 1970.

    The first look takes what is there at once: nobody is served before. Later ones leave the work to *beside*, one
    piece at a time, and what held before holds until it is done. What was good last lies in *kept* too: a worker that
    starts while the file has a mistake begins with that, so that nothing that was put right is wrong again.
    """

    def __init__(
        self, path: Path, corrections: Corrections, beside: Beside, wall: Callable[[], int], kept: Path | None = None
    ) -> None:
        self._path, self._corrections, self._beside, self._kept = path, corrections, beside, kept
        self._file = FollowedFile(path, self._accept, wall)
        self._serves = self._busy = False
        self._newest: bytes | None = None

    def look(self) -> bool:
        """Read the file if it may have changed. True when its new content was taken, or is being made ready."""
        changed = self._file.look()
        if not self._serves:
            if not changed:
                self._take_kept()
            self._serves = True
        self._begin()
        return changed

    def _take_kept(self) -> None:
        if self._kept is not None:
            with contextlib.suppress(OSError, ValueError):
                self._corrections.set(self._kept.read_bytes())

    def _accept(self, data: bytes) -> None:
        if self._serves:
            self._newest = data
        else:
            self._corrections.set(data)
            self._keep(data)

    def _begin(self) -> None:
        """Have the newest content made ready, or the rules that are left when one ended."""
        if self._busy or (self._newest is None and not self._corrections.stale):
            return
        data, self._newest, self._busy = self._newest, None, True
        work = self._corrections.again if data is None else partial(self._corrections.ready, data)
        self._beside(work, partial(self._ended, data))

    def _ended(self, data: bytes | None, found: Held | Exception) -> None:
        self._busy = False
        if isinstance(found, Held):
            self._corrections.take(found)
            if data is not None:
                self._keep(data)
        elif isinstance(found, ValueError | RecursionError):
            log("file kept as it was", file=str(self._path), why=str(found))
        else:
            tell(found)
        self._begin()

    def _keep(self, data: bytes) -> None:
        if self._kept is None:
            return
        try:
            write_atomic(self._kept, data, mode=0o600, durable=False)
        except OSError as error:  # the rules hold all the same
            log("copy of the corrections not kept", file=str(self._kept), why=error.strerror)
