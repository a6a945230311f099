"""Processes that outlive their starter, told apart from others that later get the same pid."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

POLL = 0.02
"""Seconds between two looks where the kernel cannot tell us that a process ended."""
KILL_WAIT = 5.0
"""Seconds until a killed process must be gone; only one that is stuck in the kernel needs longer."""
_PR_SET_PDEATHSIG = 1

_ours: set[int] = set()
"""Detached processes that we started and have not reaped yet."""


@cache
def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()[:8]


def start_time(pid: int) -> str | None:
    """When the kernel started *pid*, unique across reboots; None when it is gone or only a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()  # the name before may hold spaces and brackets
    return None if fields[0] in "ZX" else f"{_boot()}-{fields[19]}"


def is_alive(pid: int, started: str | None = None) -> bool:
    """Does *pid* run, and is it the process that started at *started*?"""
    now = start_time(pid)
    if now is None:
        _reap(pid)
    return now is not None and started in (None, now)


def spawn_detached(
    argv: Sequence[str], env: Mapping[str, str], log: Path, pass_fds: Sequence[int] = ()
) -> tuple[int, str]:
    """Start a process in a session of its own, its output appended to *log*; its pid and start time.

    It goes on when we end, and no Ctrl-C in our terminal reaches it. Safe in a process with threads. The start time
    is empty when the process ended at once.

    Raises:
        OSError: it cannot be started, or the log cannot be written.
    """
    for pid in tuple(_ours):
        _reap(pid)
    output = open_log(log)
    try:
        process = subprocess.Popen(
            list(argv),
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=tuple(pass_fds),
            start_new_session=True,
        )
    finally:
        os.close(output)
    _ours.add(process.pid)
    process.returncode = 0  # we reap it ourselves, so that nobody has to keep this object
    return process.pid, start_time(process.pid) or ""


def open_log(log: Path) -> int:
    """A descriptor that appends to *log*, readable by its owner only; the folder is made."""
    log.parent.mkdir(parents=True, exist_ok=True)
    return os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def last_words(log: Path) -> str:
    """The last line of a log that says something; empty when there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 4096))
            lines = file.read().decode("utf-8", "replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1].strip() if lines else ""


def terminate(pid: int, started: str | None, grace: float) -> bool:
    """Ask a process to end; after *grace* seconds make it. Returns when it is gone: did it go by itself?

    A pid that another process has by now is left alone.

    Raises:
        PermissionError: it belongs to somebody else.
    """
    handle = _handle(pid)
    try:
        if not is_alive(pid, started):
            return True
        started = started or start_time(pid)
        for number, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, KILL_WAIT)):
            _send(pid, handle, number)
            if _gone(pid, started, handle, seconds):
                return number is signal.SIGTERM
        return False
    except ProcessLookupError:
        return True
    finally:
        if handle is not None:
            os.close(handle)
        _reap(pid)


def _handle(pid: int) -> int | None:
    """A descriptor that means this process for ever; None where the kernel or the interpreter has none."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None


def _send(pid: int, handle: int | None, number: signal.Signals) -> None:
    if handle is None:
        os.kill(pid, number)
    else:
        signal.pidfd_send_signal(handle, number)


def _gone(pid: int, started: str | None, handle: int | None, seconds: float) -> bool:
    """Wait until the process has ended, *seconds* at most."""
    if handle is not None:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        return bool(poll.poll(seconds * 1000))
    deadline = time.monotonic() + seconds
    while is_alive(pid, started):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL)
    return True


def _reap(pid: int) -> None:
    """Take the exit status of a process that we started, so that it does not stay as a zombie."""
    if pid not in _ours:
        return
    try:
        gone = os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:  # we are a fork of the one who started it
        gone = True
    if gone:
        _ours.discard(pid)


def writers(log: Path) -> list[tuple[int, str]]:
    """The processes whose standard output is the file *log*: those that were started with it, noted or not."""
    return outputs().get(log.resolve(), [])


def outputs() -> dict[Path, list[tuple[int, str]]]:
    """Every process of ours as pid and start time, by the file that its standard output is."""
    found: dict[Path, list[tuple[int, str]]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (output := _output(entry)) and (started := start_time(int(entry.name))):
            found.setdefault(output, []).append((int(entry.name), started))
    return found


def _output(process: Path) -> Path | None:
    try:
        return (process / "fd" / "1").readlink()
    except OSError:  # somebody else's, or gone
        return None


def die_with_parent(parent: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Let the kernel end this process when its parent *parent* ends, however that ends.

    Call it in the child. The kernel means the thread that started us: start such a process from the main thread.
    """
    import ctypes  # the only one here who needs it, and it is slow to import

    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "the kernel refused a parent-death signal")
    if os.getppid() != parent:  # it ended before we asked
        os.kill(os.getpid(), number)


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def pss_bytes(pid: int) -> int | None:
    """Proportional set size: memory, with what is shared counted in shares. None when it cannot be read."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return None
    line = next((line for line in text.splitlines() if line.startswith("Pss:")), None)
    return int(line.split()[1]) * 1024 if line else None
