"""The load that gateway workers tell: ``FOLDER/PID-START.json``, one file a worker, replaced about once a second.

A worker that is gone leaves its file behind. It has nothing under way any more, but what it had finished is still part
of the sum, until a worker that starts takes the file over and adds its counts to its own.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import msgspec

from guideway.core.load import WAITS, Load, WorkerLoad
from guideway.kit.files import write_atomic
from guideway.kit.process import is_alive, start_time

FOLDER = "load"
"""Where the files lie, in the folder of a gateway."""
STALE_SECONDS = 5.0
"""A worker whose file is older tells nothing of now."""

Lives = Callable[[int, str], bool]
"""Does the process with this pid and start time run?"""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(WorkerLoad).decode


def read_load(folder: Path, now: float, lives: Lives = is_alive) -> Load:
    """The load of the gateway whose workers write to *folder*, *now* in seconds since 1970."""
    total = Load()
    for path, told in _files(folder):
        fresh = abs(now - told.at) <= STALE_SECONDS and _lives(path, lives)
        total = _plus(total, told.load if fresh else _past(told.load))
    return total


def write_load(folder: Path, told: WorkerLoad) -> None:
    """Leave what this process tells.

    Raises:
        OSError: it cannot be written.
    """
    write_atomic(folder / _own_name(), _encode(told), mode=0o600, durable=False)


def take_over(folder: Path, lives: Lives = is_alive) -> Load:
    """What workers that are gone had finished. Their files are gone then: whoever asks has to count it as its own."""
    total = Load()
    for path, _ in list(_files(folder)):
        if not _lives(path, lives):
            total = _plus(total, _past(_taken(path)))
    return total


def _files(folder: Path) -> Iterator[tuple[Path, WorkerLoad]]:
    for path in sorted(folder.glob("[0-9]*-*.json")):
        with contextlib.suppress(OSError, ValueError):  # it went meanwhile, or is of another version
            told = _decode(path.read_bytes())
            if len(told.load.waits) == len(WAITS) + 1:
                yield path, told


def _taken(path: Path) -> Load:
    """What *path* tells, for one process only, however many start at once."""
    own = path.with_name(f".{path.name}.{os.getpid()}")
    with contextlib.suppress(OSError, ValueError):
        path.rename(own)
        try:
            return _decode(own.read_bytes()).load
        finally:
            own.unlink(missing_ok=True)
    return Load()


def _lives(path: Path, lives: Lives) -> bool:
    pid, _, started = path.stem.partition("-")
    return pid.isdigit() and lives(int(pid), started)


def _past(load: Load) -> Load:
    return Load(finished=load.finished, batch_finished=load.batch_finished)


def _plus(one: Load, other: Load) -> Load:
    return Load(
        workers=one.workers + other.workers,
        running=one.running + other.running,
        waiting=one.waiting + other.waiting,
        finished=one.finished + other.finished,
        batch_running=one.batch_running + other.batch_running,
        batch_waiting=one.batch_waiting + other.batch_waiting,
        batch_finished=one.batch_finished + other.batch_finished,
        waits=tuple(ours + theirs for ours, theirs in zip(one.waits, other.waits, strict=True)),
    )


@cache
def _own_name() -> str:
    pid = os.getpid()
    return f"{pid}-{start_time(pid)}.json"
