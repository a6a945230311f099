"""What drills do to processes and stores: exactly what was meant, and nothing else."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading

import pytest

from guideway.core.errors import GuidewayError, Unavailable
from guideway.core.launch import Process
from guideway.fleet.drills import faults
from guideway.gateway.cache.address import read_address
from guideway.kit.process import free_port, spawn_detached, start_time, terminate
from guideway.store.home import Home


class Store:
    """Answers every command with the next of its lines, and remembers what it heard."""

    def __init__(self, *lines: bytes) -> None:
        self.heard: list[bytes] = []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.thread = threading.Thread(target=self._serve, args=(lines,), daemon=True)
        self.thread.start()

    def _serve(self, lines: tuple[bytes, ...]) -> None:
        with self.socket.accept()[0] as client:
            for line in lines:
                self.heard.append(client.recv(4096))
                client.sendall(line)

    def url(self, kind: str, rest: str = "") -> str:
        return f"{kind}://{rest}127.0.0.1:{self.socket.getsockname()[1]}"


def test_a_redis_is_paused_for_a_time_that_ends_by_itself_after_its_password_and_database():
    store = Store(b"+OK\r\n", b"+OK\r\n", b"+OK\r\n")
    faults.pause(read_address(store.url("redis", "ann:secret@") + "/3"), 1.5)
    store.thread.join(5)
    assert [line.split(b"\r\n")[2::2] for line in store.heard] == [
        [b"AUTH", b"ann", b"secret"],
        [b"SELECT", b"3"],
        [b"CLIENT", b"PAUSE", b"1500", b"ALL"],
    ]
    store.socket.close()


def test_a_memcached_is_emptied():
    store = Store(b"OK\r\n")
    faults.emptied(read_address(store.url("memcached")))
    store.thread.join(5)
    assert store.heard == [b"flush_all\r\n"]
    store.socket.close()


@pytest.mark.parametrize(
    ("kind", "line", "why"),
    [
        ("redis", b"-NOPERM this user has no permissions\r\n", "will not be paused: -NOPERM"),
        ("memcached", b"ERROR\r\n", "will not be emptied: ERROR"),
    ],
)
def test_a_store_that_refuses_is_an_error_that_says_why(kind, line, why):
    store = Store(line)
    with pytest.raises(GuidewayError, match=why):
        faults.pause(read_address(store.url(kind)), 1.0) if kind == "redis" else faults.emptied(
            read_address(store.url(kind))
        )
    store.socket.close()


def test_a_store_that_is_not_there_is_one_clear_line_without_its_password():
    address = read_address(f"redis://:secret@127.0.0.1:{free_port()}")
    with pytest.raises(Unavailable, match="the cache cannot be reached") as caught:
        faults.pause(address, 1.0)
    assert "secret" not in str(caught.value)


def test_only_the_very_process_is_killed_and_never_another_with_its_number():
    with subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"]) as child:
        started = start_time(child.pid) or ""
        assert not faults.kill(Process(child.pid, started + "0"))
        assert child.poll() is None
        assert faults.kill(Process(child.pid, started))
        assert child.wait(5) == -signal.SIGKILL
        assert not faults.kill(Process(child.pid, started))


def test_a_controller_is_known_by_its_log_and_its_module(tmp_path):
    home = Home.of(tmp_path)
    log = home.logs / "controller.log"
    sleeping = [sys.executable, "-c", "import signal; signal.pause()"]
    other = spawn_detached(sleeping, dict(os.environ), log)
    try:
        assert faults.controller(home) is None
        real = spawn_detached([*sleeping, "guideway.fleet"], dict(os.environ), log)
        try:
            assert faults.controller(home) == Process(*real)
        finally:
            terminate(*real, 0.0)
    finally:
        terminate(*other, 0.0)
