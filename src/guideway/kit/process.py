"""Processes that outlive their starter, told apart from others that later get the same pid."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path


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
    return now is not None and started in (None, now)


def spawn_detached(
    argv: Sequence[str], env: Mapping[str, str], log: Path, pass_fds: Sequence[int] = ()
) -> tuple[int, str]:
    """Start a process in a session of its own, its output appended to *log*; its pid and start time.

    It is nobody's child afterwards: a small process between us starts it and ends, so it never becomes a zombie.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    hear, speak = os.pipe()
    with log.open("ab") as output:
        between = os.fork()
        if between == 0:
            _start_grandchild(argv, env, output.fileno(), speak, pass_fds)
    os.close(speak)
    os.waitpid(between, 0)
    with os.fdopen(hear, "rb") as voice:
        said = voice.read().decode()
    if not said.isdigit():
        raise OSError(f"cannot start {argv[0]}: {said}")
    pid = int(said)
    return pid, start_time(pid) or ""


def _start_grandchild(argv: Sequence[str], env: Mapping[str, str], output: int, speak: int, fds: Sequence[int]) -> None:
    try:
        process = subprocess.Popen(
            list(argv),
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=tuple(fds),
            start_new_session=True,
        )
        os.write(speak, str(process.pid).encode())
    except BaseException as error:
        os.write(speak, str(error).encode())
    finally:
        os._exit(0)


def terminate(pid: int, started: str | None, grace: float) -> None:
    """Ask a process to end; after *grace* seconds make it. Returns when it is gone."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if not is_alive(pid, started):
            return
        signal.pidfd_send_signal(handle, signal.SIGTERM)
        if not select.select([handle], [], [], grace)[0]:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            select.select([handle], [], [], 5.0)
    except ProcessLookupError:
        return
    finally:
        os.close(handle)


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
