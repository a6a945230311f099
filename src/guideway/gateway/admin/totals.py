"""The numbers of all workers of one gateway, those that have gone included: a sum that never goes backwards.

A worker that is gone leaves its last snapshot behind. It is added to ``retired.msgpack``, which names what it holds
already, and only then removed: being killed in between counts nothing twice.
"""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path

import msgspec

from guideway.gateway import metrics
from guideway.gateway.log import log
from guideway.gateway.metrics import Snapshot
from guideway.kit.files import write_atomic
from guideway.kit.process import is_alive

RETIRED = "retired.msgpack"
ABANDONED_SECONDS = 60.0
"""The age at which a half-written file is nobody's."""


class Retired(msgspec.Struct):
    """What workers that have gone had counted; ``names``: their files that may still be there."""

    total: bytes = b""
    names: list[str] = []


class Live(msgspec.Struct, frozen=True):
    """A worker that runs, and what it said last."""

    pid: int
    snapshot: Snapshot


class Totals:
    """Adds up the snapshots in *folder*. May be asked from any thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()

    def read(self) -> tuple[Snapshot, list[Live]]:
        """The sum over all workers that ever ran, and those that run now."""
        with self._lock:
            live, gone = self._found()
            total = self._retire(gone)
        for one in live:
            total.add(one.snapshot)
        return total, live

    def _found(self) -> tuple[list[Live], dict[str, Snapshot]]:
        live: list[Live] = []
        gone: dict[str, Snapshot] = {}
        for path in self._folder.glob(".*"):
            _forget_half(path)
        for path in sorted(self._folder.glob("*-*.msgpack")):
            pid, _, started = path.name.removesuffix(".msgpack").partition("-")
            runs = pid.isdigit() and is_alive(int(pid), started)  # asked before reading: what it says last is read
            snapshot = _read(path, runs=runs)
            if snapshot is None:
                continue
            if runs:
                live.append(Live(int(pid), snapshot))
            else:
                gone[path.name] = snapshot
        return live, gone

    def _retire(self, gone: dict[str, Snapshot]) -> Snapshot:
        """Add what is *gone* to the file of those, once; the sum."""
        path = self._folder / RETIRED
        retired, total = _retired(path)
        new = [name for name in gone if name not in retired.names]
        for name in new:
            total.add(gone[name])
        try:
            if new:
                kept = Retired(metrics.encode(total), sorted(gone))
                write_atomic(path, msgspec.msgpack.encode(kept), mode=0o600)
            for name in gone:
                (self._folder / name).unlink(missing_ok=True)
        except OSError as error:  # their files stay, and are added up again the next time
            log("counters of workers that left stay apart", why=error.strerror)
        return total


def _retired(path: Path) -> tuple[Retired, Snapshot]:
    try:
        kept = msgspec.msgpack.decode(path.read_bytes(), type=Retired)
        return kept, metrics.decode(kept.total)
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        log("counters start anew", file=str(path), why=str(error))
    return Retired(), Snapshot()


def _read(path: Path, *, runs: bool) -> Snapshot | None:
    try:
        return metrics.decode(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log("counters of a worker left out", file=str(path), why=str(error))
        if not runs:
            path.unlink(missing_ok=True)
        return None


def _forget_half(path: Path) -> None:
    """Remove what a worker that was killed while it wrote has left."""
    with contextlib.suppress(OSError):
        if time.time() - path.stat().st_mtime > ABANDONED_SECONDS:
            path.unlink()
