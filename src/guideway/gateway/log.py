"""One JSON object a line on standard error. Keys and answers never appear here, prompts only masked and when asked for.

A process that must not wait calls `start`: from then on a thread writes, and a reader that sleeps costs lines, never
time. Lines that found no room are counted, and the next line that is written says how many.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import json
import os
import re
import select
import shutil
import stat
import sys
import threading
import time
from collections import deque
from pathlib import Path

import msgspec

from guideway.kit.files import locked

LINES = 8192
LINE_BYTES = 64 * 1024
TOTAL_BYTES = 4 * 1024 * 1024
GATHER_SECONDS = 0.05
"""How long the thread gathers lines: one write, and one change of threads, for all that came meanwhile."""
LAST_WORDS_SECONDS = 1.0
FILE_BYTES = 64 * 1024 * 1024

_LIVE = re.compile("[<>&\x7f-\x9f\u00ad\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff]")
"""What JSON leaves as it is, and a terminal, a browser or a reader's eye does not."""
_MARKS = (b"<", b">", b"&", b"\x7f")
"""Those of them that are ASCII."""
_encode = msgspec.json.Encoder().encode
_encode_lines = msgspec.json.Encoder().encode_lines

Fact = str | float | bool | list[str] | None


class RequestLine(msgspec.Struct, gc=False):
    """The line about one request. ``key`` is the id of a key; ``prompt``, if the policy wants it, is masked.

    ``error`` is the code of the error that the client was told. ``outlier`` is the share of ordinary requests that are
    at least as unusual, and ``corrected`` names the corrections that were applied.
    """

    at: float
    id: str
    key: str
    model: str
    arm: str
    status: int
    ms: float
    overhead_ms: float
    tokens_in: int = 0
    tokens_out: int = 0
    cache: str = ""
    masked: tuple[str, ...] = ()
    prompt: str | msgspec.UnsetType = msgspec.UNSET
    pid: int = 0
    error: str | msgspec.UnsetType = msgspec.UNSET
    outlier: float | msgspec.UnsetType = msgspec.UNSET
    corrected: list[str] | msgspec.UnsetType = msgspec.UNSET
    event: str = "request"


def log(event: str, **facts: Fact) -> None:
    """Write one line about *event*, or queue it once `start` was called."""
    _say(rendered({"at": round(time.time(), 3), "pid": os.getpid(), "event": event, **facts}))


def log_requests(lines: list[RequestLine]) -> None:
    """Write the lines about these requests."""
    _say(_plain_lines(lines) or b"".join(map(rendered, lines)), len(lines))


def _plain_lines(lines: list[RequestLine]) -> bytes | None:
    """All *lines* in one call, where none of them has anything to be escaped or cut."""
    try:
        data = _encode_lines(lines)
    except UnicodeEncodeError:
        return None
    is_plain = len(data) < LINE_BYTES and data.isascii() and not any(mark in data for mark in _MARKS)
    return data if is_plain else None


def rendered(line: dict[str, Fact] | RequestLine) -> bytes:
    """*line* as one line of JSON in which nothing a client sent is alive: no line ends, escapes, markup or tricks."""
    try:
        data = _encode(line)
    except UnicodeEncodeError:  # half a surrogate pair, as in the name of a file
        data = json.dumps(msgspec.to_builtins(line)).encode()
    if len(data) > LINE_BYTES:
        data = _encode({**_short(msgspec.to_builtins(line)), "cut": len(data)})
    if data.isascii() and not any(mark in data for mark in _MARKS):
        return data + b"\n"
    return (_LIVE.sub(_escaped, data.decode()) + "\n").encode()


def _say(line: bytes, count: int = 1) -> None:
    if _writer is not None:
        _writer.put(line, count)
    else:
        sys.stderr.write(line.decode())
        sys.stderr.flush()


def _escaped(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def _short(line: dict[str, Fact]) -> dict[str, Fact]:
    """The facts without the end of those that are too long."""
    return {
        name: value[:1024].encode(errors="replace").decode() if isinstance(value, str) else value
        for name, value in line.items()
        if not isinstance(value, list)
    }


class LogWriter:
    """A bounded queue of lines, and the thread that writes them to *descriptor*."""

    def __init__(self, descriptor: int, *, lines: int = LINES, size: int = TOTAL_BYTES) -> None:
        self.dropped = 0
        self._descriptor, self._lines, self._size = descriptor, lines, size
        self._queue: deque[bytes] = deque()
        self._bytes = self._told = 0
        self._lock = threading.Lock()
        self._filled, self._closing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def put(self, line: bytes, count: int = 1) -> bool:
        """Queue *line*, or *count* of them at once; False when there was no room and they were counted instead."""
        with self._lock:
            if len(self._queue) >= self._lines or self._bytes + len(line) > self._size:
                self.dropped += count
                return False
            self._queue.append(line)
            self._bytes += len(line)
        if not self._filled.is_set():
            self._filled.set()
        return True

    def close(self, seconds: float = LAST_WORDS_SECONDS) -> None:
        """Write what is queued, unless nobody reads it within *seconds*."""
        self._closing.set()
        self._filled.set()
        self._thread.join(seconds)

    def _run(self) -> None:
        while not self._closing.is_set() or self._queue:
            self._filled.wait()
            self._closing.wait(GATHER_SECONDS)
            self._filled.clear()
            with contextlib.suppress(OSError):  # nobody can be told
                self._write(self._take())

    def _take(self) -> bytes:
        with self._lock:
            lines, self._bytes = b"".join(self._queue), 0
            self._queue.clear()
            missed, self._told = self.dropped - self._told, self.dropped
        if missed:
            told: dict[str, Fact] = {"at": round(time.time(), 3), "pid": os.getpid(), "event": "log lines dropped"}
            lines += rendered({**told, "lines": missed})
        return lines

    def _write(self, data: bytes) -> None:
        """Write all of *data*, waiting as long as it takes."""
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:
                select.select([], [self._descriptor], [], 1.0)


_writer: LogWriter | None = None


def start(descriptor: int = 2) -> None:
    """From now on a thread writes what `log` is told; at the end of the process it gets a second for the rest."""
    global _writer
    if _writer is None:
        _writer = LogWriter(descriptor)
        atexit.register(_writer.close)


def dropped() -> int:
    """How many lines found no room so far."""
    return _writer.dropped if _writer is not None else 0


def keep_short(descriptor: int = 2, limit: int = FILE_BYTES) -> bool:
    """Move the content of a log file larger than *limit* to ``NAME.1``, and empty it; True when that was done.

    For one process among those that write to the file. All of them append, so each goes on at the new end; a line that
    is written between copy and cut is lost.
    """
    facts = os.fstat(descriptor)
    if not stat.S_ISREG(facts.st_mode) or facts.st_size <= limit:
        return False
    if not fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_APPEND:
        return False  # who does not append would go on behind a hole
    path = Path(f"/proc/self/fd/{descriptor}").readlink()
    with locked(path.with_name(path.name + ".lock"), wait=False) as alone:
        if not alone or not path.is_file() or not path.samefile(f"/proc/self/fd/{descriptor}"):
            return False
        old = path.with_name(path.name + ".1")
        shutil.copyfile(path, old)
        old.chmod(0o600)
        os.ftruncate(descriptor, 0)
    return True
