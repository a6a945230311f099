"""Processes: told apart, started detached, ended without hitting a stranger."""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from guideway.kit import process
from guideway.kit.process import (
    free_port,
    is_alive,
    last_words,
    pss_bytes,
    spawn_detached,
    start_time,
    terminate,
    writers,
)

ENV = dict(os.environ)
STUBBORN = "import signal, sys; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); signal.pause()"
PIDFD_OPEN = os.pidfd_open  # some tests take it away from the code that they test
POLITE = "import signal, sys; print('ready', flush=True); signal.pause()"


def python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", code, *arguments]


def ended(pid: int, seconds: float = 20.0) -> bool:
    """Wait for any process, a child or not."""
    try:
        handle = PIDFD_OPEN(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], seconds)[0])
    finally:
        os.close(handle)


@pytest.fixture
def fifo(tmp_path):
    """A pipe with a name: the test waits on it for a word of a process that is not its child."""
    path = tmp_path / "word"
    os.mkfifo(path)
    return path


@pytest.fixture
def started(tmp_path):
    """Start detached processes; what is left of them ends with the test."""
    running: list[tuple[int, str]] = []

    def start(code: str, *arguments: str, **more) -> tuple[int, str]:
        running.append(spawn_detached(python(code, *arguments), ENV, tmp_path / "log", **more))
        return running[-1]

    yield start
    for pid, began in running:
        terminate(pid, began, 0.0)


@pytest.fixture
def waiting(tmp_path):
    """A child of ours that is ready for signals."""
    running: list[subprocess.Popen[str]] = []

    def start(code: str) -> subprocess.Popen[str]:
        child = subprocess.Popen(python(code), stdout=subprocess.PIPE, text=True)
        running.append(child)
        assert child.stdout and child.stdout.readline() == "ready\n"
        return child

    yield start
    for child in running:
        child.kill()
        child.communicate()


def test_this_process_is_alive_and_has_one_start_time():
    began = start_time(os.getpid())
    assert began and began == start_time(os.getpid())
    assert is_alive(os.getpid()) and is_alive(os.getpid(), began)


def test_a_pid_that_another_process_has_by_now_is_not_alive():
    assert not is_alive(os.getpid(), "other-1")
    assert not is_alive(os.getpid(), "")


def test_a_name_with_brackets_and_spaces_does_not_confuse_the_start_time(fifo, started):
    rename = "import signal, sys; open('/proc/self/comm', 'w').write(') Z 1 (x');"
    pid, began = started(rename + "open(sys.argv[1], 'w').write('.'); signal.pause()", str(fifo))
    assert fifo.read_text() == "."
    assert ") Z 1 (x" in Path(f"/proc/{pid}/stat").read_text()
    assert is_alive(pid, began)


def test_a_zombie_is_not_alive():
    child = subprocess.Popen(python("pass"))
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert Path(f"/proc/{child.pid}").exists()
    assert start_time(child.pid) is None and not is_alive(child.pid)
    child.wait()


def test_a_detached_process_has_its_own_session_no_terminal_and_a_log(fifo, started, tmp_path):
    code = (
        "import os, sys; print('out', os.getsid(0) == os.getpid(), repr(sys.stdin.read()), flush=True);"
        "print('err', file=sys.stderr, flush=True); open(sys.argv[1], 'w').write('done')"
    )
    pid, _ = started(code, str(fifo))
    assert fifo.read_text() == "done"
    assert ended(pid)
    assert (tmp_path / "log").read_text() == "out True ''\nerr\n"
    assert (tmp_path / "log").stat().st_mode & 0o077 == 0


def test_a_detached_process_goes_on_when_its_starter_is_killed(fifo, tmp_path):
    code = (
        "import os, signal, sys; from pathlib import Path; from guideway.kit.process import spawn_detached;"
        "child = 'import signal; signal.pause()';"
        "pid, began = spawn_detached([sys.executable, '-c', child], dict(os.environ), Path(sys.argv[2]));"
        "open(sys.argv[1], 'w').write(f'{pid} {began}'); signal.pause()"
    )
    starter = subprocess.Popen(python(code, str(fifo), str(tmp_path / "log")), start_new_session=True)
    pid, began = fifo.read_text().split()
    os.killpg(starter.pid, signal.SIGKILL)
    starter.wait()
    assert is_alive(int(pid), began)
    assert terminate(int(pid), began, 20.0)
    assert not is_alive(int(pid), began)


def test_a_detached_process_that_ended_is_no_zombie_of_ours(started):
    pid, _ = started("pass")
    assert ended(pid)
    assert not is_alive(pid)
    assert not Path(f"/proc/{pid}").exists()


def test_starting_another_one_reaps_those_that_ended(started):
    pid, _ = started("pass")
    assert ended(pid)
    started("pass")
    assert not Path(f"/proc/{pid}").exists()


def test_descriptors_are_passed_on_and_no_others(started):
    hear, speak = os.pipe()
    secret, other = os.pipe()
    os.set_inheritable(secret, True)
    code = (
        "import os, sys\ntry: os.fstat(int(sys.argv[2])); seen = 'leaked'\nexcept OSError: seen = 'closed'\n"
        "os.write(int(sys.argv[1]), seen.encode())"
    )
    started(code, str(speak), str(secret), pass_fds=(speak,))
    os.close(speak)
    with os.fdopen(hear) as voice:
        assert voice.read() == "closed"
    os.close(secret)
    os.close(other)


def test_a_program_that_does_not_exist_is_an_error_and_leaves_no_process(tmp_path):
    with pytest.raises(FileNotFoundError):
        spawn_detached(["/no/such/program"], ENV, tmp_path / "log")
    assert writers(tmp_path / "log") == []


def test_threads_may_start_processes_at_once(tmp_path):
    found: list[tuple[int, str]] = []
    threads = [
        threading.Thread(target=lambda: found.append(spawn_detached(["/bin/true"], ENV, tmp_path / "log")))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({pid for pid, _ in found}) == 8
    assert all(ended(pid) for pid, _ in found)


@pytest.fixture(params=["descriptors", "none"])
def kernel(request, monkeypatch):
    """With descriptors of processes, and without."""
    if request.param == "none":

        def refuse(pid):
            raise OSError(errno.ENOSYS, "not here")

        monkeypatch.setattr(process.os, "pidfd_open", refuse)
    return request.param


def test_a_polite_process_ends_by_itself(kernel, waiting):
    child = waiting(POLITE)
    reaper = threading.Thread(target=child.wait)
    reaper.start()
    assert terminate(child.pid, start_time(child.pid), 20.0) is True
    reaper.join()
    assert child.returncode == -signal.SIGTERM


def test_a_stubborn_process_is_killed_after_the_grace(kernel, waiting):
    child = waiting(STUBBORN)
    reaper = threading.Thread(target=child.wait)
    reaper.start()
    assert terminate(child.pid, start_time(child.pid), 0.05) is False
    reaper.join()
    assert child.returncode == -signal.SIGKILL


def test_a_stranger_with_the_same_pid_is_left_alone(kernel, waiting):
    child = waiting(POLITE)
    assert terminate(child.pid, "other-1", 0.0) is True
    assert child.poll() is None


def test_ending_what_is_gone_is_no_error(kernel, started):
    pid, began = started("pass")
    assert ended(pid)
    assert terminate(pid, began, 1.0) is True


def test_what_writes_to_a_log_is_found_even_when_nobody_noted_its_pid(fifo, started, tmp_path):
    pid, began = started("import signal, sys; open(sys.argv[1], 'w').write('.'); signal.pause()", str(fifo))
    assert fifo.read_text() == "."
    assert writers(tmp_path / "log") == [(pid, began)]
    terminate(pid, began, 20.0)
    assert writers(tmp_path / "log") == []


def test_a_process_that_dies_with_its_parent_does(fifo):
    child = (
        "import os, signal, sys; from guideway.kit.process import die_with_parent; parent = int(sys.argv[2]);"
        "die_with_parent(parent); open(sys.argv[1], 'w').write(str(os.getpid())); signal.pause()"
    )
    code = (
        "import os, signal, subprocess, sys;"
        "subprocess.Popen([sys.executable, '-c', sys.argv[2], sys.argv[1], str(os.getpid())]); signal.pause()"
    )
    parent = subprocess.Popen(python(code, str(fifo), child))
    pid = int(fifo.read_text())
    assert is_alive(pid)
    parent.kill()
    parent.wait()
    assert ended(pid)


def test_a_parent_that_ended_before_we_asked_ends_us_too():
    code = "from guideway.kit.process import die_with_parent; die_with_parent(1 << 30); print('still here')"
    done = subprocess.run(python(code), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "")


def test_dying_with_the_parent_changes_nothing_while_it_lives():
    code = f"from guideway.kit.process import die_with_parent; die_with_parent({os.getpid()}); print('here')"
    done = subprocess.run(python(code), capture_output=True, text=True, check=True)
    assert done.stdout == "here\n"


def test_a_free_port_can_be_listened_on():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", free_port()))
        listener.listen()


def test_the_memory_of_a_process_is_counted_in_bytes():
    assert 1_000_000 < (pss_bytes(os.getpid()) or 0) < 10_000_000_000
    assert pss_bytes(1 << 30) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [("", ""), ("one\n", "one"), ("one\ntwo: broke\n\n \n", "two: broke"), ("x" * 9000 + "\nend", "end")],
)
def test_the_last_words_of_a_log(tmp_path, text, words):
    (tmp_path / "log").write_text(text)
    assert last_words(tmp_path / "log") == words


def test_a_missing_log_has_no_last_words(tmp_path):
    assert last_words(tmp_path / "none") == ""
