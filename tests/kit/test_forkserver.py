"""The fork server: forks of a module that is imported already behave like processes that were started cold."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from guideway.kit.forkserver import ForkServer, ForkServerError, connect_or_start
from guideway.kit.process import is_alive, start_time, terminate, writers

MODULE = """
import json, os, random, signal, sys, threading

os.environ.setdefault("SET_WHILE_IMPORTED", "yes")
IMPORTED_BY = os.getpid()

def _links():
    for name in os.listdir("/proc/self/fd"):
        try:
            yield os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            pass

def main(argv):
    what, *rest = argv
    if what == "tell":
        with open(rest[0], "w") as out:
            json.dump({
                "argv": rest[1:], "pid": os.getpid(), "imported_by": IMPORTED_BY, "session": os.getsid(0),
                "parent": os.getppid(), "cwd": os.getcwd(), "environment": dict(os.environ), "input": sys.stdin.read(),
                "handlers": [signal.getsignal(n) == signal.SIG_DFL for n in (signal.SIGTERM, signal.SIGCHLD)],
                "sockets": sum(link.startswith("socket:") for link in _links()),
                "random": random.random(),
            }, out)
    elif what == "wait":
        with open(rest[0], "w") as out:
            out.write(str(os.getpid()))
        signal.pause()
    elif what == "fail":
        raise RuntimeError("it broke")
    elif what == "exit":
        print("leaving")
        return int(rest[0])
    return None
"""


def ended(pid: int, seconds: float = 20.0) -> bool:
    """Wait for any process, a child or not."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], seconds)[0])
    finally:
        os.close(handle)


class Rig:
    """A module to preload, the server's socket, and a pipe for a word from a fork."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.module = folder / "code" / "preloaded_work.py"
        self.module.parent.mkdir()
        self.module.write_text(MODULE)
        self.socket = folder / "run" / "work.sock"
        self.log = folder / "server.log"
        self.word = folder / "word"
        os.mkfifo(self.word)
        self.forks: list[tuple[int, str]] = []

    def server(self, **more) -> ForkServer:
        return connect_or_start(self.socket, "preloaded_work", self.log, **more)

    def fork(self, *argv: str, env: dict[str, str] | None = None) -> tuple[int, str]:
        fork = self.server().fork(argv, env if env is not None else dict(os.environ), self.folder / "fork.log")
        self.forks.append(fork)
        return fork

    def tell(self, *argv: str, env: dict[str, str] | None = None) -> dict:
        self.fork("tell", str(self.word), *argv, env=env)
        return json.loads(self.word.read_text())

    def ask(self, line: bytes) -> bytes:
        """One raw request."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(20)
            connection.connect(str(self.socket))
            connection.sendall(line)
            return connection.makefile("rb").readline()


@pytest.fixture
def rig(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one = Rig(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(one.module.parent))
    yield one
    ForkServer(one.socket).stop()
    for pid, started in one.forks:
        terminate(pid, started, 0.0)


def test_a_fork_looks_like_a_process_that_was_started_cold(rig, tmp_path):
    pid, _ = rig.fork("tell", str(rig.word), "a", "b c", env={"ONLY": "this"})
    told = json.loads(rig.word.read_text())
    server = rig.server().ping()
    assert told["pid"] == pid != server
    assert told["session"] == pid
    assert told["argv"] == ["a", "b c"]
    assert told["environment"] == {"ONLY": "this", "SET_WHILE_IMPORTED": "yes"}
    assert told["cwd"] == str(tmp_path)
    assert told["input"] == ""
    assert told["handlers"] == [True, True]
    assert told["sockets"] == 0


def test_a_fork_imports_nothing_again(rig):
    told = rig.tell()
    assert told["imported_by"] == told["parent"] == rig.server().ping()


def test_two_forks_do_not_draw_the_same_random_numbers(rig):
    assert rig.tell()["random"] != rig.tell()["random"]


def test_what_the_caller_sets_wins_over_what_the_module_set(rig):
    assert rig.tell(env={"SET_WHILE_IMPORTED": "no"})["environment"] == {"SET_WHILE_IMPORTED": "no"}


def test_a_fork_is_known_by_pid_and_start_time_and_found_by_its_log(rig):
    pid, started = rig.fork("wait", str(rig.word))
    assert rig.word.read_text() == str(pid)
    assert started == start_time(pid)
    assert writers(rig.folder / "fork.log") == [(pid, started)]


@pytest.mark.parametrize(("argv", "said"), [(("fail",), "RuntimeError: it broke"), (("exit", "3"), "leaving")])
def test_what_a_fork_says_goes_to_its_own_log(rig, argv, said):
    pid, _ = rig.fork(*argv)
    assert ended(pid)
    assert said in (rig.folder / "fork.log").read_text()
    assert rig.log.read_text() == ""


def test_the_exit_code_is_what_main_returns(rig):
    argv = ["guideway.kit.forkserver", "--socket", str(rig.socket), "--preload", "preloaded_work"]
    rig.socket.parent.mkdir(mode=0o700)
    hear, speak = os.pipe()
    server = subprocess.Popen([sys.executable, "-P", "-m", *argv, "--ready", str(speak)], pass_fds=(speak,))
    os.close(speak)
    assert os.read(hear, 1) == b"1"
    os.close(hear)
    trace = Path(f"/proc/{server.pid}/task/{server.pid}/children")
    pid, _ = ForkServer(rig.socket).fork(["wait", str(rig.word)], dict(os.environ), rig.folder / "fork.log")
    assert rig.word.read_text() == str(pid)
    assert trace.read_text().split() == [str(pid)]
    os.kill(pid, signal.SIGTERM)
    assert ended(pid)
    server.send_signal(signal.SIGTERM)
    assert server.wait(20) == 0
    assert not rig.socket.exists()


def test_children_that_ended_do_not_stay_as_zombies(rig):
    pid, _ = rig.fork("exit", "0")
    assert ended(pid)
    deadline = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        rig.server().ping()
    assert not Path(f"/proc/{pid}").exists()


def test_forks_go_on_when_the_server_stops(rig):
    pid, started = rig.fork("wait", str(rig.word))
    assert rig.word.read_text()
    server = rig.server().ping()
    ForkServer(rig.socket).stop()
    assert not is_alive(server)
    assert not rig.socket.exists()
    assert is_alive(pid, started)


def test_forks_go_on_when_the_server_is_killed_and_the_next_call_starts_another(rig):
    pid, started = rig.fork("wait", str(rig.word))
    assert rig.word.read_text()
    server = rig.server().ping()
    os.kill(server, signal.SIGKILL)
    assert ended(server)
    assert rig.server().ping() != server
    assert is_alive(pid, started)


def test_the_same_server_answers_again(rig):
    assert rig.server().ping() == rig.server().ping()


def test_callers_at_once_start_one_server(rig):
    pids: list[int] = []
    threads = [threading.Thread(target=lambda: pids.append(rig.server().ping())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pids) == 4 and len(set(pids)) == 1


def test_a_server_whose_code_has_changed_is_replaced(rig):
    before = rig.server().ping()
    rig.module.write_text(MODULE.replace("leaving", "new words"))
    os.utime(rig.module, ns=(1, 1))
    with pytest.raises(ForkServerError, match=r"preloaded_work[.]py has changed"):
        ForkServer(rig.socket).ping()
    pid, _ = rig.fork("exit", "0")
    assert ended(pid)
    assert not is_alive(before)
    assert (rig.folder / "fork.log").read_text() == "new words\n"


def test_a_server_with_threads_refuses_to_fork(rig):
    rig.module.write_text(MODULE + "threading.Thread(target=threading.Event().wait, daemon=True).start()\n")
    with pytest.raises(ForkServerError, match="has 2 threads, so forking it is not safe"):
        rig.fork("exit", "0")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import no_such_library", "No module named 'no_such_library'"),
        ("raise SystemExit(3)", "ended: $"),
        ("value = 1", "has no attribute 'main'"),
    ],
)
def test_a_module_that_cannot_be_used_is_an_error_at_once(rig, code, words):
    rig.module.write_text(code)
    with pytest.raises(ForkServerError, match=words):
        rig.server()
    assert not rig.socket.exists()


def test_nobody_listening_is_an_error(rig):
    with pytest.raises(ForkServerError, match="no answer"):
        ForkServer(rig.socket).ping()
    with pytest.raises(ForkServerError, match="no answer"):
        ForkServer(rig.socket).fork(["exit"], {}, rig.folder / "fork.log")


def test_stopping_nothing_is_no_error(rig):
    ForkServer(rig.socket).stop()
    assert not rig.socket.exists()


def test_the_socket_and_its_folder_are_for_their_owner_only(rig):
    rig.socket.parent.mkdir(mode=0o755)
    rig.server()
    assert rig.socket.parent.stat().st_mode & 0o077 == 0
    assert rig.socket.stat().st_mode & 0o077 == 0


def test_a_folder_of_somebody_else_is_refused(rig, monkeypatch):
    monkeypatch.setattr("guideway.kit.forkserver.os.geteuid", lambda: os.getuid() + 1)
    with pytest.raises(ForkServerError, match="belongs to somebody else"):
        rig.server()


def test_a_server_of_somebody_else_is_not_believed(rig, monkeypatch):
    server = rig.server()
    with monkeypatch.context() as patched, pytest.raises(ForkServerError, match="somebody else listens"):
        patched.setattr("guideway.kit.forkserver.os.geteuid", lambda: os.getuid() + 1)
        server.ping()


def test_a_socket_deep_below_works(rig):
    rig.socket = rig.folder.joinpath(*["a-rather-long-name-of-a-folder"] * 6) / "work.sock"
    assert len(str(rig.socket)) > 200
    pid, _ = rig.fork("exit", "0")
    assert ended(pid)
    ForkServer(rig.socket).stop()
    assert not rig.socket.exists()


@pytest.mark.parametrize("line", [b"\n", b"no json\n", b'{"do": "steal"}\n', b'{"do": "fork", "more": 1}\n', b"[1]\n"])
def test_what_is_no_request_gets_an_error_and_the_server_goes_on(rig, line):
    before = rig.server().ping()
    assert json.loads(rig.ask(line)) == {"error": "this is no request"}
    assert rig.server().ping() == before


def test_a_client_that_leaves_does_not_disturb_the_server(rig):
    before = rig.server().ping()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(rig.socket))
    assert rig.server().ping() == before


def test_a_server_ends_when_nobody_asks(rig):
    server = ForkServer(rig.socket)
    pid = rig.server(idle=0.05)
    assert isinstance(pid, ForkServer)
    found = [pid for pid, _ in writers(rig.log)]
    assert all(ended(pid) for pid in found)
    assert not rig.socket.exists()
    with pytest.raises(ForkServerError):
        server.ping()


def test_a_server_whose_socket_was_removed_ends(rig):
    pid = rig.server().ping()
    rig.socket.unlink()
    rig.server()  # nobody can reach the first one any more
    with contextlib.suppress(ProcessLookupError):  # it may have looked already
        os.kill(pid, signal.SIGCHLD)  # it looks again whenever something wakes it
    assert ended(pid)
    assert rig.server().ping() != pid


def test_a_program_that_has_forked_still_answers_others(rig):
    forks = [rig.fork("wait", str(rig.word)) for _ in range(2)]
    words = {rig.word.read_text()}
    while len("".join(words)) < len("".join(str(pid) for pid, _ in forks)):
        words.add(rig.word.read_text())
    assert all(is_alive(*fork) for fork in forks)
