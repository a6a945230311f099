"""The replica as a process: importing, forking, listening, draining, failing."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from replica_fakes import Recorder, Remembering, solo, write_release

from guideway.kit.forkserver import connect_or_start
from guideway.kit.process import free_port, is_alive, terminate
from guideway.replica.onnx_backend import OnnxBackend
from guideway.replica.score import generate_all
from guideway.replica.serve import begun
from guideway.replica.text import Text

HERE = Path(__file__).parent
PATIENCE = 60.0
ONNX, TRANSFORMERS = "guideway.replica.serve_onnx", "guideway.replica.serve_transformers"


def plain_env() -> dict[str, str]:
    """The environment without what would hide a module that does not protect itself."""
    hidden = ("OPENBLAS_NUM_THREADS", "ORT_DISABLE_TELEMETRY", "OMP_NUM_THREADS")
    return {name: value for name, value in os.environ.items() if name not in hidden}


@contextlib.contextmanager
def running(*argv: object) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A replica and its port, once it listens; killed at the end if it still runs."""
    command = [sys.executable, *map(str, argv), "--port", "0"]
    pipes = {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=plain_env(), cwd=HERE, **pipes) as process:
        guard = threading.Timer(PATIENCE, process.kill)
        guard.start()
        try:
            lines: list[str] = []
            port = next((int(line.split()[-1]) for line in said(process, lines) if "listens on" in line), None)
            assert port, "".join(lines)
            yield process, port
        finally:
            guard.cancel()
            process.kill()


def said(process: subprocess.Popen[str], lines: list[str]) -> Iterator[str]:
    assert process.stderr is not None
    for line in process.stderr:
        lines.append(line)
        yield line


def ask(port: int, **fields: Any) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    body = {"messages": [{"role": "user", "content": "the module"}], "max_tokens": 8, **fields}
    connection.request("POST", "/v1/chat/completions", json.dumps(body))
    return connection.getresponse()


def text_of(answer: http.client.HTTPResponse) -> str:
    assert answer.status == 200
    content: str = json.loads(answer.read())["choices"][0]["message"]["content"]
    return content


def test_importing_the_server_starts_no_thread_and_asks_for_no_report_and_no_torch() -> None:
    code = (
        f"import os, sys, {ONNX}\n"
        "print(len(os.listdir('/proc/self/task')), os.environ['ORT_DISABLE_TELEMETRY'], 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=plain_env(), capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    assert done.stdout.split() == ["1", "1", "False"]


def test_the_text_of_a_model_needs_no_model_library() -> None:
    code = "import sys, guideway.replica.text; print({'onnxruntime', 'torch', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert done.stdout.strip() == "set()"


@pytest.fixture(scope="module")
def expected(models: SimpleNamespace) -> str:
    """What the tiny model answers to ``ask``."""
    text = Text(models.fp32)
    prompt = text.encode_chat([{"role": "user", "content": "the module"}])
    [answer] = generate_all(OnnxBackend(models.fp32), [prompt], 8, text.stop_ids)
    return str(text.tokenizer.decode(answer))


def test_a_replica_listens_answers_and_ends_when_asked(models: SimpleNamespace, expected: str, tmp_path: Path) -> None:
    release = write_release(tmp_path / "release", models.fp32)
    with running("-m", ONNX, "--release", release, "--threads", 2) as (process, port):
        assert text_of(ask(port)) == expected
        process.terminate()
        assert process.wait(PATIENCE) == 0


@pytest.mark.parametrize(("module", "model"), [(ONNX, "fp32"), (TRANSFORMERS, "hf")])
def test_a_forked_replica_answers_as_a_cold_one(
    module: str, model: str, models: SimpleNamespace, expected: str, tmp_path: Path
) -> None:
    release = write_release(tmp_path / "release", getattr(models, model))
    server = connect_or_start(tmp_path / "fork.sock", module, tmp_path / "fork.log")
    log, port = tmp_path / "replica.log", free_port()
    pid, started = server.fork(["--release", str(release), "--port", str(port)], os.environ, log)
    try:
        wait_for(port, pid, log)
        assert text_of(ask(port)) == expected
    finally:
        terminate(pid, started, PATIENCE)
        server.stop()


def wait_for(port: int, pid: int, log: Path) -> None:
    while is_alive(pid):
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), PATIENCE):
            return
    raise AssertionError(log.read_text())


def test_a_server_has_read_how_its_conversations_begin(token_folder: Path) -> None:
    text, system = Text(token_folder), "the end of the hello world"
    model = Remembering()
    scheduler, fed = begun(model, text, system), 0
    for said in ("hello", "world", "hello"):
        prompt = text.encode_chat([{"role": "user", "content": said}], system)
        work = Recorder(prompt, 3)
        scheduler.add(work)
        while scheduler.busy:
            scheduler.step()
        fed += len(prompt) - len(text.prefix(system))
        assert work.answer == solo(Remembering(), prompt, 3)
    assert model.fed == fed


def test_a_beginning_that_fills_the_context_is_not_kept(token_folder: Path) -> None:
    model = Remembering(context=20)
    begun(model, Text(token_folder), "the end of the hello world " * 9)
    assert model.learned == []


def test_a_stream_that_runs_is_finished_before_the_replica_ends(token_folder: Path, tmp_path: Path) -> None:
    release = write_release(tmp_path / "release", token_folder)
    with running("stepped_server.py", "--release", release) as (process, port):
        assert process.stdin is not None
        process.stdin.write("..")
        process.stdin.flush()
        answer = ask(port, stream=True)
        begun = answer.readline()
        process.terminate()
        assert any("draining" in line for line in said(process, []))
        with pytest.raises(ConnectionError):
            ask(port)
        process.stdin.write("." * 20)
        process.stdin.flush()
        rest = answer.read()
        assert process.wait(PATIENCE) == 0
    assert b'"delta"' in begun
    assert b'"finish_reason":"length"' in rest
    assert rest.endswith(b"data: [DONE]\n\n")


def outcome(*argv: object) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", ONNX, *map(str, argv)], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("settings", "message"),
    [(None, "there is no serve.json"), ("{", "cannot be read"), ('{"name": 3}', "cannot be read")],
)
def test_a_folder_that_is_no_release_is_one_clear_line(settings: str | None, message: str, tmp_path: Path) -> None:
    if settings is not None:
        (tmp_path / "serve.json").write_text(settings)
    code, error = outcome("--release", tmp_path, "--port", 0)
    assert code == 2
    assert message in error
    assert len(error.splitlines()) == 1


def test_a_port_that_is_taken_is_one_clear_line(models: SimpleNamespace, tmp_path: Path) -> None:
    release = write_release(tmp_path / "release", models.int8)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, error = outcome("--release", release, "--port", taken.getsockname()[1])
    assert code == 5
    assert "another port" in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize("arguments", [["--port", "0"], ["--release", "x", "--port", "0", "--slots", "0"]])
def test_arguments_that_cannot_be_meant_are_refused(arguments: list[str]) -> None:
    code, error = outcome(*arguments)
    assert code == 2
    assert "usage:" in error


def test_the_log_of_a_replica_holds_nothing_that_people_wrote(models: SimpleNamespace, tmp_path: Path) -> None:
    release = write_release(tmp_path / "release", models.fp32)
    with running("-m", ONNX, "--release", release) as (process, port):
        ask(port, messages=[{"role": "user", "content": "my secret"}]).read()
        ask(port, messages=[{"role": "user", "content": "my secret" * 5000}]).read()
        process.terminate()
        assert process.wait(PATIENCE) == 0
        assert process.stderr is not None
        assert "secret" not in process.stderr.read()
