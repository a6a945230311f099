"""A real Ray cluster of two nodes on the loopback interface, and its processes."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

RAY = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=1", "--disable-usage-stats"]
TOKEN = secrets.token_hex(32)
"""Whoever lacks it can start nothing there. It also marks the processes that are ours to end."""
PATIENT = {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": TOKEN,
    "RAY_agent_register_timeout_ms": "300000",
    "RAY_worker_register_timeout_seconds": "300",
    "RAY_worker_niceness": "0",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "300",
}
"""A machine on which others work too starts slowly."""


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def started(host: str, *flags: str, log: Path) -> subprocess.Popen:
    """One node on an address of the loopback interface; it does not know where Guideway lies."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    agent = f"--dashboard-agent-listen-port={free_port()}"
    with log.open("wb") as output:
        argv = [*RAY, f"--node-ip-address={host}", "--object-store-memory=150000000", agent, *flags]
        return subprocess.Popen(argv, stdout=output, stderr=output, env=env, start_new_session=True)


def ours(doing: bytes = b"") -> list[int]:
    """The processes of this cluster; those alone whose command line says that they are *doing* something."""
    mark, found = f"RAY_AUTH_TOKEN={TOKEN}".encode(), []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if mark in path.read_bytes().split(b"\0") and doing in path.with_name("cmdline").read_bytes():
                found.append(int(path.parent.name))
    return sorted(set(found) - {os.getpid()})


def wait_for(condition, seconds: float = 240.0):
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)
    return value


def cluster() -> Iterator[str]:
    """The address of a head with one processor, and of another node with one, on loopback."""
    folder = Path(tempfile.mkdtemp(prefix="ray-"))  # sockets lie in it: the path must be short
    address = f"127.0.0.2:{free_port()}"
    logs = [folder / "head.log", folder / "node.log"]
    nodes: list[subprocess.Popen] = []
    up = b"Ray runtime started"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in PATIENT.items():
            patch.setenv(name, value)
        head = ("--head", f"--port={address.partition(':')[2]}", "--include-dashboard=false", f"--temp-dir={folder}/t")
        try:
            nodes.append(started("127.0.0.2", *head, log=logs[0]))
            wait_for(lambda: up in logs[0].read_bytes())
            nodes.append(started("127.0.0.3", f"--address={address}", log=logs[1]))
            wait_for(lambda: up in logs[1].read_bytes())
            yield address
        finally:
            for pid in ours():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            for one in nodes:
                one.wait(60)
            shutil.rmtree(folder, ignore_errors=True)
