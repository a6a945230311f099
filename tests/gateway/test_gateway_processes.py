"""The parent and its workers as processes: they come, die, drain and are replaced, and clients notice nothing."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from gateway_paper import chat_or_stream, held, unary
from gateway_rig import KEY, OTHER_KEY, Client, key_file, request, wait_for
from system_rig import Load, Running

from guideway.core.route import GatewaySettings
from guideway.core.spec.gateway import Gateway as Options
from guideway.gateway.listen import bind
from guideway.gateway.parent import EXPLAINER, Parent
from guideway.gateway.settings import Versions, read_settings
from guideway.gateway.slot import Child
from guideway.kit.process import is_alive

pytestmark = pytest.mark.thorough

GET = request("GET", "/healthz")


@pytest.fixture
def running(tmp_path):
    made = []

    def start(*arguments, **options):
        made.append(Running(tmp_path, *arguments, **options))
        return made[-1]

    yield start
    for one in made:
        one.stop()


@pytest.fixture
def served(running, replica):
    """A gateway of two workers in front of two replicas."""
    one = running()
    one.replicas = [replica(chat_or_stream("a", "b")), replica(chat_or_stream("a", "b"))]
    one.routes([replica.port for replica in one.replicas])
    return one.up()


# The file that tells that it is up.


def test_the_state_file_tells_pid_port_and_workers_and_goes_with_the_gateway(served):
    state = served.state()
    assert state["pid"] == served.process.pid
    assert is_alive(state["pid"], state["started"])
    assert len(set(state["workers"])) == 2
    assert all(is_alive(pid) for pid in state["workers"])
    served.signal(signal.SIGTERM)
    assert served.process.wait(15) == 0
    assert served.state() is None
    assert not any(is_alive(pid) for pid in state["workers"])


def test_a_parent_waits_for_nobody_who_is_not_asked_for(tmp_path):
    """Who explains is off by default: an empty seat that was due long ago would keep a processor busy for ever."""
    path = tmp_path / "gateway.json"
    settings = GatewaySettings("127.0.0.1", 0, 1, str(tmp_path / "route.json"), str(tmp_path / "keys.json"), Options())
    path.write_bytes(msgspec.json.encode(settings))
    parent = Parent(Versions(path), read_settings(path), bind("127.0.0.1", 0, 1), [EXPLAINER])
    assert parent._next_due() == 0.0, "its worker is to be started at once"
    (slot,) = parent._serving.slots
    slot.current = Child(["-c", ""], 0.0)
    slot.current.deadline = 99.0
    assert parent._next_due() == 99.0
    slot.current.process.wait()
    slot.listening.close()


def test_a_port_in_use_is_one_line_and_exit_code_5(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        one = Running(tmp_path, port=port)
        assert one.process.wait(20) == 5
    one.stop()
    (line,) = (tmp_path / "gateway.log").read_text().splitlines()
    assert line.startswith(f"127.0.0.1:{port}: port {port} is in use (")
    assert one.state() is None


def test_a_second_gateway_on_the_same_port_is_refused_and_the_first_goes_on(served, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    second = Running(other, port=served.port)
    assert second.process.wait(20) == 5
    second.stop()
    assert served.probe() == 200


def test_a_second_gateway_with_the_same_settings_is_refused(served):
    second = subprocess.run(served.argv, capture_output=True, text=True, timeout=20, check=False)
    assert (second.returncode, len(second.stderr.splitlines())) == (5, 1)
    assert served.probe() == 200


@pytest.mark.parametrize("text", [None, "{", '{"host": "127.0.0.1"}'])
def test_settings_that_make_no_sense_are_one_line_and_exit_code_2(tmp_path, text):
    path = tmp_path / "gateway.json"
    if text is not None:
        path.write_text(text)
    argv = [sys.executable, "-m", "guideway.gateway", "--settings", str(path)]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    assert (ended.returncode, len(ended.stderr.splitlines())) == (2, 1)
    assert str(path) in ended.stderr


def test_a_host_that_is_not_ours_is_one_line_and_exit_code_5(tmp_path):
    path = tmp_path / "gateway.json"
    path.write_bytes(msgspec.json.encode(GatewaySettings("192.0.2.1", 0, 1, "r", "k")))
    argv = [sys.executable, "-m", "guideway.gateway", "--settings", str(path)]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    assert (ended.returncode, len(ended.stderr.splitlines())) == (5, 1)


# Files that change.


def test_a_revoked_key_is_refused_once_the_file_has_changed(served):
    other = f"Authorization: Bearer {OTHER_KEY}\r\n"

    def status():
        with Client(served.port) as client:
            return client.ask("GET", "/v1/models", headers=other).status

    assert status() == 401
    served.keys(key_file([KEY, OTHER_KEY]))
    wait_for(lambda: {status() for _ in range(6)} == {200})
    served.keys(b'{"pepper": "half a fi')
    served.keys(key_file([KEY, OTHER_KEY], revoked=[OTHER_KEY]))
    wait_for(lambda: {status() for _ in range(6)} == {401}, 5.0)


def test_a_hundred_route_changes_under_load_fail_no_request(served):
    ports = [replica.port for replica in served.replicas]
    with Load(served.port) as load:
        for number in range(100):
            chosen = [ports[number % 2]] if number % 3 else ports
            served.routes(chosen, chosen, weight=(number % 5) / 4)
            load.more(5)
    assert load.wrong == []
    assert len(load.releases) == 2
    assert load.answers >= 500


# Workers that die, drain and are replaced.


def test_a_killed_worker_is_replaced_and_the_other_ones_connections_live(served):
    first, second = served.workers
    clients = [Client(served.port) for _ in range(12)]
    for client in clients:
        assert client.ask("GET", "/healthz").status == 200
    os.kill(first, signal.SIGKILL)
    news = [Client(served.port) for _ in range(8)]
    for client in news:
        client.send(request())
    assert [client.reply().status for client in news] == [200] * 8, "new connections wait in the queue of the socket"
    wait_for(lambda: served.workers[0] != first)
    assert served.workers[1] == second
    alive = 0
    for client in clients:
        try:
            alive += client.ask().status == 200
        except (EOFError, ConnectionError):
            continue
    assert 0 < alive < 12, "the connections of the killed worker are gone, those of the other are untouched"
    for client in clients + news:
        client.socket.close()


def test_workers_that_die_again_and_again_are_started_ever_more_slowly_but_started(served):
    for _ in range(3):
        before = served.workers
        os.kill(before[0], signal.SIGKILL)
        wait_for(lambda before=before: served.workers[0] != before[0], 20)
    assert served.probe() == 200


def test_a_replica_killed_under_load_fails_no_unary_request(served):
    with Load(served.port, streams=False) as load:
        served.replicas[0].die()
        load.more(200)
    assert load.wrong == []


def test_sighup_under_load_replaces_every_worker_and_fails_no_request(served):
    with Load(served.port) as load:
        for _ in range(2):
            before = set(served.workers)
            served.signal(signal.SIGHUP)
            wait_for(lambda before=before: not before & set(served.workers), 30, "all workers being replaced")
            load.more(50)
            wait_for(lambda before=before: not any(map(is_alive, before)), 20, "the old workers leaving")
    assert load.wrong == []


def test_a_replacement_that_cannot_start_leaves_the_old_worker_at_work(served):
    before = served.workers
    good = served.settings.read_bytes()
    served.settings.write_text("{")
    served.signal(signal.SIGHUP)
    wait_for(lambda: served.state()["refused"], 20)
    assert "the settings make no sense" in served.state()["refused"]["why"]
    assert served.probe() == 200
    assert served.workers == before
    served.settings.write_bytes(good)
    served.signal(signal.SIGHUP)
    wait_for(lambda: not set(before) & set(served.workers), 20)
    assert served.probe() == 200


def test_sigterm_lets_requests_under_way_end_and_accepts_no_more(running, replica):
    one = running(1)
    slow = replica(held(unary(b'{"late":true}')))
    one.routes([slow.port])
    one.up()
    port = one.port
    with Client(port) as client:
        client.send(request())
        wait_for(lambda: slow.asked)
        one.signal(signal.SIGTERM)

        def refused():
            try:
                with Client(port):
                    return False
            except ConnectionError:
                return True

        wait_for(refused)
        assert one.process.poll() is None
        slow.release()
        reply = client.reply()
        assert (reply.status, reply.headers["connection"], reply.json()) == (200, "close", {"late": True})
    assert one.process.wait(15) == 0


@pytest.fixture
def lame(running, replica):
    """A gateway that serves for a while after it was told to stop."""
    one = running(options=Options(body_megabytes=1, lame_duck=3.0))
    one.routes([replica(chat_or_stream("a", "b")).port])
    return one.up()


def test_a_lame_duck_says_that_it_is_not_healthy_and_serves_old_and_new_connections_until_its_time_is_over(lame):
    port, workers = lame.port, lame.workers
    with Client(port) as old:
        assert old.ask().status == 200
        began = time.monotonic()
        lame.signal(signal.SIGTERM)
        wait_for(lambda: {lame.probe() for _ in range(8)} == {503}, 2.5)
        lame.signal(signal.SIGHUP)
        assert old.ask().status == 200
        with Client(port) as new:
            assert new.ask().status == 200
        assert all(map(is_alive, workers))
        assert lame.process.wait(15) == 0
        assert 3.0 <= time.monotonic() - began < 10.0


def test_a_lame_duck_is_ended_at_once_by_a_second_sigterm(lame):
    lame.signal(signal.SIGTERM)
    wait_for(lambda: {lame.probe() for _ in range(8)} == {503}, 2.5)
    began = time.monotonic()
    lame.signal(signal.SIGTERM)
    assert lame.process.wait(15) == 0
    assert time.monotonic() - began < 2.0


def test_a_worker_whose_successor_serves_leaves_without_a_lame_ducks_time(lame):
    before = set(lame.workers)
    with Load(lame.port) as load:
        lame.signal(signal.SIGHUP)
        while not load.wrong and before & set(lame.workers):
            assert lame.probe() == 200, "a balancer is told nothing of a replacement"
        load.more(20)
    assert load.wrong == []
    wait_for(lambda: not any(map(is_alive, before)), 2.5, "the old workers leaving")


def test_workers_of_a_lame_duck_leave_at_once_when_their_parent_is_killed(lame):
    workers = lame.workers
    lame.signal(signal.SIGTERM)
    wait_for(lambda: {lame.probe() for _ in range(8)} == {503}, 2.5)
    lame.process.kill()
    wait_for(lambda: not any(map(is_alive, workers)), 2.0)


def test_sighup_that_reaches_workers_themselves_ends_none_of_them(served):
    before = served.workers
    with Load(served.port) as load:
        for pid in before * 3:
            os.kill(pid, signal.SIGHUP)
            load.more(10)
    assert load.wrong == []
    assert served.workers == before


def test_many_sighups_at_once_replace_workers_and_fail_no_request(served):
    before = set(served.workers)
    with Load(served.port) as load:
        for _ in range(20):
            served.signal(signal.SIGHUP)
        wait_for(lambda: not before & set(served.workers), 30, "all workers being replaced")
        load.more(50)
    assert load.wrong == []


def listens(pid):
    """Does the process hold a listening socket?"""
    fds = [fd.readlink().name for fd in Path(f"/proc/{pid}/fd").iterdir() if fd.is_symlink()]
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(row[3] == "0A" and f"socket:[{row[9]}]" in fds for row in rows)


def test_sigterm_twice_does_not_wait(running, replica):
    one = running(1)
    slow = replica(held(unary()))
    one.routes([slow.port])
    one.up()
    with Client(one.port) as client:
        client.send(request())
        wait_for(lambda: slow.asked)
        one.signal(signal.SIGTERM)
        wait_for(lambda: not listens(one.process.pid))
        began = time.monotonic()
        one.signal(signal.SIGTERM)
        assert one.process.wait(15) == 0
        assert time.monotonic() - began < 5


def test_workers_leave_when_their_parent_is_killed_so_that_the_port_is_free_again(served, tmp_path):
    port, workers = served.port, served.workers
    served.process.kill()
    served.process.wait(10)
    wait_for(lambda: not any(map(is_alive, workers)), 15, "the workers leaving")
    again = Running(tmp_path, port=port)
    try:
        wait_for(lambda: again.state() and again.state()["pid"] == again.process.pid, 30)
        assert again.port == port
        assert again.probe() == 200
    finally:
        again.stop()


def test_a_gateway_starts_without_its_files_and_serves_once_they_are_there(running, replica):
    one = running(1)
    one.keys_file.unlink()
    wait_for(one.state, 30)
    assert one.probe() == 503
    one.keys(key_file())
    one.routes([replica().port])
    wait_for(lambda: one.probe() == 200)
    with Client(one.port) as client:
        assert client.ask().status == 200


def test_the_log_holds_no_key_and_no_prompt(served):
    with Client(served.port) as client:
        client.ask(body={"model": "poet", "messages": [{"role": "user", "content": "very secret"}]})
        client.ask(headers="Authorization: Bearer gw-wrong-key\r\n")
    served.signal(signal.SIGTERM)
    served.process.wait(15)
    said = (served.folder / "gateway.log").read_text()
    assert "gateway serves" in said
    for secret in (KEY, "gw-wrong-key", "very secret"):
        assert secret not in said


def beside(folder):
    """A gateway with one companion that writes its process id and ends when it is told to."""
    module = folder / "seen_beside.py"
    module.write_text(
        "import os, pathlib, signal, sys\n"
        f"folder = pathlib.Path({str(folder)!r})\n"
        "signal.signal(signal.SIGTERM, lambda *_: ((folder / 'told').touch(), sys.exit(0)))\n"
        "(folder / f'companion-{os.getpid()}').write_text(sys.argv[-1])\n"
        "while True: signal.pause()\n"
    )
    script = folder / "with_companion.py"
    script.write_text(
        "import pathlib, sys\n"
        f"sys.path.insert(0, {str(folder)!r})\n"
        "from guideway.gateway.listen import bind\n"
        "from guideway.gateway.parent import Parent\n"
        "from guideway.gateway.settings import Versions, read_settings\n"
        "path = pathlib.Path(sys.argv[1])\n"
        "Parent(Versions(path), read_settings(path), bind('127.0.0.1', 0, 1), ['seen_beside']).run()\n"
    )
    return script


class Accompanied(Running):
    """A gateway with a companion."""

    @property
    def argv(self):
        return [sys.executable, str(beside(self.folder)), str(self.settings)]

    def companions(self):
        return sorted(int(one.name.partition("-")[2]) for one in self.folder.glob("companion-*"))


@pytest.fixture
def accompanied(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    one = Accompanied(tmp_path, workers=1)
    yield one
    one.process.kill()
    one.process.wait()
    one.log.close()


def test_a_companion_that_dies_is_started_again_and_leaves_after_the_workers(accompanied):
    wait_for(accompanied.companions, 30)
    (first,) = accompanied.companions()
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: len(accompanied.companions()) == 2, 30)
    accompanied.process.terminate()
    assert accompanied.process.wait(20) == 0
    assert (accompanied.folder / "told").exists()


def test_sighup_that_reaches_a_companion_itself_does_not_end_it(accompanied):
    wait_for(accompanied.companions, 30)
    (only,) = accompanied.companions()
    os.kill(only, signal.SIGHUP)
    accompanied.process.terminate()
    assert accompanied.process.wait(20) == 0
    assert (accompanied.folder / "told").exists(), "it was there to be told"
    assert accompanied.companions() == [only]


def test_a_companion_ends_when_its_parent_is_killed(accompanied):
    wait_for(accompanied.companions, 30)
    (only,) = accompanied.companions()
    accompanied.process.kill()
    wait_for((accompanied.folder / "told").exists, 20)
    wait_for(lambda: not Path(f"/proc/{only}").exists(), 20)
