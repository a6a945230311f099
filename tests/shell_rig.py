"""``guideway`` as a person calls it: a process, its output, its exit code."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

ZYGOTE = Path(__file__).with_name("zygote.py")
OF_PYTHON = ("PYTHON", "LC_", "LANG")
"""Variables that an interpreter reads when it starts: with others than ours a call gets one of its own."""


def call(
    argv: Sequence[str], folder: Path, environment: Mapping[str, str], seconds: float = 120.0, typed: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run ``guideway ARGV`` in *folder* with this *environment* alone, and a line or two *typed* in.

    Raises:
        subprocess.TimeoutExpired: it took longer than *seconds*, and was killed.
    """
    if _of_python(environment) != _of_python(os.environ):
        whole = [sys.executable, "-P", "-m", "guideway.cli", *argv]
        spoken = {"input": typed, "capture_output": True, "text": True}
        return subprocess.run(whole, check=False, cwd=folder, env=dict(environment), timeout=seconds, **spoken)
    asked = {"argv": list(argv), "folder": str(folder), "environment": dict(environment)}
    read, write = os.pipe()
    os.write(write, typed.encode())
    os.close(write)
    pipes = [os.pipe() for _ in range(3)]
    theirs = [read, *(writing for _, writing in pipes)]
    try:
        socket.send_fds(_zygote(), [json.dumps(asked).encode()], theirs)
    finally:
        for one in theirs:
            os.close(one)
    out, err, status = _read([reading for reading, _ in pipes], seconds, list(argv))
    code = int(status.split()[1])
    return subprocess.CompletedProcess(list(argv), code, _text(out), _text(err))


def _of_python(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(OF_PYTHON)}


def _read(pipes: list[int], seconds: float, argv: list[str]) -> list[bytes]:
    """What comes out of *pipes*, each to its end; the last one begins with the number of the process."""
    found = {pipe: bytearray() for pipe in pipes}
    deadline = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        for pipe in pipes:
            selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            if not ready:
                with contextlib.suppress(OSError, IndexError):
                    os.kill(int(found[pipes[-1]].split()[0]), signal.SIGKILL)
                for pipe in list(selector.get_map()):
                    os.close(pipe)
                raise subprocess.TimeoutExpired(["guideway", *argv], seconds, *map(bytes, list(found.values())[:2]))
            for key, _ in ready:
                data = os.read(key.fd, 1 << 16)
                found[key.fd] += data
                if not data:
                    selector.unregister(key.fd)
                    os.close(key.fd)
    return [bytes(one) for one in found.values()]


def _text(data: bytes) -> str:
    return data.decode().replace("\r\n", "\n").replace("\r", "\n")


@cache
def _zygote() -> socket.socket:
    """The way to the one of this process of tests."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its:
        argv = [sys.executable, "-P", str(ZYGOTE), str(its.fileno())]
        process = subprocess.Popen(argv, pass_fds=[its.fileno()], stdin=subprocess.DEVNULL)

    def end() -> None:
        ours.close()
        process.wait(10)

    atexit.register(end)
    return ours
