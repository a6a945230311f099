"""Real shared stores for the cache's tests: started on a free loopback port, stopped, killed and started again."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from gateway_rig import wait_for


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Store:
    """A redis-server or a memcached."""

    def __init__(self, kind: str, folder: Path, *options: str) -> None:
        self.kind, self.port = kind, free_port()
        self._folder, self._options = folder, options
        self._process: subprocess.Popen | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"{self.kind}://127.0.0.1:{self.port}"

    def start(self) -> None:
        argv = _redis(self.port, self._folder) if self.kind != "memcached" else _memcached(self.port)
        self._process = subprocess.Popen([*argv, *self._options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(self._accepts, what=f"{self.kind} on port {self.port}")

    def _accepts(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"{self.kind} ended by itself"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 0.2):
            return True
        return False

    def kill(self) -> None:
        """kill -9"""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)
        threads = Path(f"/proc/{self._process.pid}/task")
        wait_for(lambda: all(_stands(one) for one in threads.iterdir()), what=f"{self.kind} to stand still")

    def go_on(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def say(self, words: bytes, until: bytes) -> bytes:
        """Talk to it as a stranger would."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as talk:
            talk.sendall(words)
            heard = b""
            while not heard.endswith(until):
                piece = talk.recv(65536)
                assert piece, heard
                heard += piece
            return heard

    def value(self, name: bytes) -> bytes:
        """What lies under *name*, with what the store says around it."""
        if self.kind == "memcached":
            return self.say(b"get %b\r\n" % name, b"END\r\n")
        return self.say(b"GET %b\r\n" % name, b"\r\n")

    def overwrite(self, name: bytes, value: bytes) -> None:
        if self.kind == "memcached":
            assert self.say(b"set %b 0 0 %d\r\n%b\r\n" % (name, len(value), value), b"\r\n") == b"STORED\r\n"
        else:
            words = b"*3\r\n$3\r\nSET\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(name), name, len(value), value)
            assert self.say(words, b"\r\n") == b"+OK\r\n"


def _stands(thread: Path) -> bool:
    return (thread / "stat").read_text().rpartition(")")[2].split()[0] == "T"


def _redis(port: int, folder: Path) -> list[str]:
    found = shutil.which("redis-server")
    assert found, "redis-server is not installed"
    return [found, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]


def _memcached(port: int) -> list[str]:
    found = shutil.which("memcached")
    assert found, "memcached is not installed"
    as_root = ["-u", "root"] if os.getuid() == 0 else []
    return [found, "-l", "127.0.0.1", "-p", str(port), "-U", "0", *as_root]
