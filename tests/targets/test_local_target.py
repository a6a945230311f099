"""The local target: a launch becomes a process that outlives us, warm or cold."""

from __future__ import annotations

import os
import sys
import time
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from guideway import targets
from guideway.core.errors import SpecError, Unavailable
from guideway.core.launch import Launch, Probe, Process
from guideway.kit.forkserver import ForkServer
from guideway.kit.process import free_port, is_alive, writers
from guideway.targets import exists, target
from guideway.targets.local import LocalTarget
from guideway.targets.probe import ask

SERVER = """
import http.server, json, os, sys

def main(argv):
    port, answer = argv
    class Model(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = answer.encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
    print("serving", os.environ.get("COLOUR", ""), os.getpid(), file=sys.stderr, flush=True)
    http.server.HTTPServer(("127.0.0.1", int(port)), Model).serve_forever()

if __name__ == "__main__":
    main(sys.argv[1:])
"""
TOKEN = '{"usage": {"completion_tokens": 1}}'
PROBE = Probe("/v1/completions", "{}")


@pytest.fixture
def code(tmp_path, monkeypatch):
    """A folder with a tiny model server as a module."""
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "tiny_server.py").write_text(SERVER)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder


@pytest.fixture(params=[True, False], ids=["warm", "cold"])
def local(request, tmp_path, code):
    yield from made(tmp_path, request.param)


@pytest.fixture
def warm(tmp_path, code):
    yield from made(tmp_path, True)


def made(tmp_path: Path, warm: bool):
    local = LocalTarget(tmp_path / "run", warm=warm)
    yield local
    local.rest()
    for log in tmp_path.glob("*.log"):
        for pid, started in writers(log):
            local.stop(Process(pid, started), 0.0)


def launch(**changes) -> Launch:
    port = free_port()
    plain = {
        "argv": (sys.executable, "-P", "-m", "tiny_server", str(port), TOKEN),
        "port": port,
        "probe": PROBE,
        "env": (("COLOUR", "green"),),
        "preload": "tiny_server",
    }
    return Launch(**{**plain, **changes})


def until_ready(one: Launch, local: LocalTarget, process: Process) -> bool:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and local.alive(process):
        if ask(one.port, one.probe).ready:
            return True
    return False


def test_a_launch_serves_and_stops_and_says_so_in_its_log(local, tmp_path):
    one, log = launch(), tmp_path / "one.log"
    process = local.start(one, log)
    assert until_ready(one, local, process)
    assert log.read_text().startswith(f"serving green {process.pid}\n")
    local.stop(process, 20.0)
    assert not local.alive(process)
    assert not ask(one.port, one.probe).ready


def test_variables_that_a_launch_sheds_stay_behind_unless_it_sets_them_itself(tmp_path, monkeypatch):
    for name in ("LLAMA_ARG_TOOLS", "LLAMA_API_KEY", "OTHER"):
        monkeypatch.setenv(name, "from our own")
    log, local = tmp_path / "one.log", LocalTarget(tmp_path, warm=False)
    process = local.start(
        launch(argv=("/usr/bin/env",), preload=None, sheds=("LLAMA_",), env=(("LLAMA_API_KEY", "its own"),)), log
    )
    deadline = time.monotonic() + 20
    while local.alive(process) and time.monotonic() < deadline:
        time.sleep(0.01)
    said = log.read_text().splitlines()
    assert "OTHER=from our own" in said and [one for one in said if "LLAMA" in one] == ["LLAMA_API_KEY=its own"]


def test_replicas_share_one_process_that_was_warmed(warm, tmp_path):
    launches = [launch(), launch()]
    processes = [warm.start(one, tmp_path / f"{one.port}.log") for one in launches]
    assert all(until_ready(one, warm, process) for one, process in zip(launches, processes, strict=True))
    server = ForkServer(warm.socket("tiny_server")).ping()
    children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
    assert {int(pid) for pid in children} == {process.pid for process in processes}


def test_letting_go_of_the_warm_process_leaves_the_replicas_running(warm, tmp_path):
    one = launch()
    process = warm.start(one, tmp_path / "one.log")
    server = ForkServer(warm.socket("tiny_server")).ping()
    warm.rest()
    assert not is_alive(server)
    assert until_ready(one, warm, process)


def test_letting_go_of_nothing_is_no_error(tmp_path):
    LocalTarget(tmp_path / "run").rest()
    assert not (tmp_path / "run").exists()


def test_a_module_that_starts_threads_when_it_is_imported_starts_cold_and_the_log_says_why(warm, code, tmp_path):
    thread = "\nimport threading; threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    (code / "tiny_server.py").write_text(thread + SERVER)
    one, log = launch(), tmp_path / "one.log"
    process = warm.start(one, log)
    assert until_ready(one, warm, process)
    first, second = log.read_text().splitlines()[:2]
    assert first == "starting cold: the fork server has 2 threads, so forking it is not safe"
    assert second == f"serving green {process.pid}"


def test_a_module_that_cannot_be_imported_starts_cold_and_the_log_says_why(warm, code, tmp_path):
    (code / "tiny_server.py").write_text("import no_such_library")
    log = tmp_path / "one.log"
    process = warm.start(launch(), log)
    warm.stop(process, 20.0)
    assert "starting cold: the fork server of tiny_server ended: ModuleNotFoundError" in log.read_text()


@pytest.mark.parametrize("changes", [{"preload": None}, {"argv": ("/bin/sh", "-c", "exec sleep 600")}])
def test_what_cannot_be_forked_starts_cold_without_a_word(warm, tmp_path, changes):
    process = warm.start(launch(**changes), tmp_path / "one.log")
    assert warm.alive(process)
    assert not warm.socket("tiny_server").exists()
    assert "starting cold" not in (tmp_path / "one.log").read_text()


def test_a_program_that_is_not_there_is_one_clear_error(local, tmp_path):
    with pytest.raises(Unavailable, match="/no/such/server cannot be started: No such file"):
        local.start(launch(argv=("/no/such/server",), preload=None), tmp_path / "one.log")


def test_a_process_of_another_start_is_neither_alive_nor_stopped(local):
    stranger = Process(os.getpid(), "other-1")
    assert not local.alive(stranger)
    local.stop(stranger, 0.0)
    assert is_alive(os.getpid())


def test_a_target_that_nobody_knows_is_an_error_with_advice(tmp_path):
    with pytest.raises(SpecError, match=r"no target called 'locl'.*did you mean 'local'"):
        target("locl", tmp_path)
    assert not exists("locl")


def test_the_local_target_is_found_by_its_name(tmp_path):
    assert isinstance(target("local", tmp_path), LocalTarget)
    assert exists("local")


def test_a_target_of_an_outsider_is_loaded_when_it_is_named_and_not_before(tmp_path, monkeypatch):
    (tmp_path / "outside_target.py").write_text("def make(folder):\n    return ('made in', folder)\n")
    monkeypatch.syspath_prepend(tmp_path)
    ours = EntryPoints([EntryPoint("far", "outside_target:make", "guideway.targets")])
    monkeypatch.setattr(targets, "entry_points", ours.select)
    assert exists("far")
    assert "outside_target" not in sys.modules
    assert target("far", tmp_path) == ("made in", tmp_path)
    with pytest.raises(SpecError, match="did you mean 'far'"):
        target("farr", tmp_path)
    del sys.modules["outside_target"]
