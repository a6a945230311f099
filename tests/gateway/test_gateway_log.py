"""The log: one inert JSON line per event, a reader that sleeps costs lines and never time, nothing secret."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import threading

import pytest
from gateway_rig import wait_for

from guideway.gateway import log as room
from guideway.gateway.log import LINE_BYTES, LogWriter, RequestLine, keep_short, log, log_requests, rendered

HOSTILE = [
    'one\n{"event":"forged"}',
    "one\r\ntwo",
    "\x1b[31mred\x1b[0m\x1b]0;title\x07",
    "\x9b31mred",
    "<script>alert(1)</script>&amp;",
    "a\u2028b\u2029c\x85d",
    "user\u202eexe.txt\u2066x\ufeff\u200b",
    "\x00\x08\x7f",
]


class Pipe:
    """A pipe whose reader sleeps until it is asked."""

    def __init__(self, size=4096):
        self.reading, self.writing = os.pipe()
        fcntl.fcntl(self.writing, fcntl.F_SETPIPE_SZ, size)
        self.got = b""

    def fill(self):
        os.set_blocking(self.writing, False)
        with pytest.raises(BlockingIOError):
            while True:
                os.write(self.writing, b" " * 1024)
        os.set_blocking(self.writing, True)

    def read_on(self):
        def read():
            while data := os.read(self.reading, 65536):
                self.got += data

        threading.Thread(target=read, daemon=True).start()

    def lines(self):
        return [json.loads(line) for line in self.got.strip().splitlines()]


@pytest.fixture
def pipe():
    made = Pipe()
    yield made
    os.close(made.writing)


@pytest.mark.catalogue("B37")
@pytest.mark.parametrize("text", HOSTILE)
def test_what_a_client_sent_is_inert_in_a_line_and_can_be_read_back(text):
    line = rendered({"event": "request", "model": text})
    assert json.loads(line) == {"event": "request", "model": text}
    (shown,) = line.decode().splitlines()
    assert all(char.isprintable() for char in shown)
    assert not set("<>&") & set(shown)


@pytest.mark.catalogue("B37")
@pytest.mark.parametrize("text", [*HOSTILE, "\udcff", "诗人" * 40_000])
def test_the_line_of_a_request_is_inert_too(capsys, text):
    log_requests([RequestLine(1.0, "r", "k", text, "", 404, 1.0, 1.0, prompt=text)])
    (shown,) = capsys.readouterr().err.splitlines()
    assert json.loads(shown)["model"] == text[:1024]
    assert all(char.isprintable() for char in shown)
    assert not set("<>&") & set(shown)


def test_text_in_other_scripts_stays_readable():
    assert "诗人" in rendered({"event": "诗人"}).decode()


def test_half_a_surrogate_pair_is_written_all_the_same():
    assert json.loads(rendered({"event": "file", "name": "\udcff"})) == {"event": "file", "name": "\udcff"}


def test_a_line_that_is_too_long_is_cut_and_says_so():
    line = rendered({"event": "request", "prompt": "p" * LINE_BYTES, "masked": ["email"]})
    assert len(line) < 2048
    assert json.loads(line)["cut"] > LINE_BYTES
    assert json.loads(line)["event"] == "request"


def test_without_start_a_line_is_there_at_once(capsys):
    log("worker left", cut=0)
    assert json.loads(capsys.readouterr().err)["cut"] == 0


def test_a_reader_that_sleeps_costs_lines_and_never_time_and_is_told_how_many(pipe):
    pipe.fill()
    writer = LogWriter(pipe.writing, lines=10)
    kept = sum(writer.put(b'{"n":%d}\n' % number) for number in range(1000))
    assert 10 <= kept <= 30, "a queue, and what the thread took before it had to wait"
    assert writer.dropped == 1000 - kept
    pipe.read_on()
    wait_for(lambda: b"log lines dropped" in pipe.got)
    writer.close()
    lines = pipe.lines()
    assert sum("n" in line for line in lines) == kept
    assert sum(line.get("lines", 0) for line in lines) == writer.dropped
    assert writer.put(b"{}\n") is True


def test_the_queue_is_bounded_in_bytes_too(pipe):
    pipe.fill()
    writer = LogWriter(pipe.writing, size=100_000)
    for _ in range(100):
        writer.put(b" " * 9_999 + b"\n")
    assert writer.dropped >= 80
    pipe.read_on()
    writer.close()


def test_lines_keep_their_order_and_none_is_lost_when_somebody_reads(pipe):
    pipe.read_on()
    writer = LogWriter(pipe.writing)
    for number in range(5000):
        writer.put(b'{"n":%d}\n' % number)
    writer.close(10)
    wait_for(lambda: pipe.got.count(b"\n") == 5000)
    assert [line["n"] for line in pipe.lines()] == list(range(5000))


def test_a_descriptor_that_does_not_block_loses_nothing(pipe):
    os.set_blocking(pipe.writing, False)
    writer = LogWriter(pipe.writing)
    for number in range(2000):
        writer.put(b'{"n":%d}\n' % number)
    pipe.read_on()
    writer.close(10)
    wait_for(lambda: pipe.got.count(b"\n") == 2000)


def test_a_descriptor_that_is_gone_ends_nothing():
    reading, writing = os.pipe()
    os.close(reading)
    writer = LogWriter(writing)
    assert writer.put(b"{}\n")
    writer.close(5)
    assert not writer._thread.is_alive()
    os.close(writing)


@pytest.mark.parametrize("end", ["pass", "raise SystemExit(3)", "1/0"])
def test_a_process_that_ends_writes_its_last_words(end):
    code = f"from guideway.gateway.log import log, start\nstart()\nlog('worker left', cut=2)\n{end}\n"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=30, check=False)
    assert b'"event":"worker left","cut":2}\n' in ended.stderr


def test_a_process_whose_reader_sleeps_ends_all_the_same(pipe):
    pipe.fill()
    code = "from guideway.gateway.log import log, start\nstart()\nfor _ in range(99): log('x')\n"
    ended = subprocess.run([sys.executable, "-c", code], stderr=pipe.writing, timeout=30, check=False)
    assert ended.returncode == 0


def test_the_line_of_a_request_names_what_happened(capsys):
    log_requests([RequestLine(1.0, "r1", "k1", "poet", "stable", 200, 12.346, 0.1)])
    line = json.loads(capsys.readouterr().err)
    assert {name: line[name] for name in ("event", "id", "key", "model", "arm", "status", "ms", "cache", "masked")} == {
        "event": "request",
        "id": "r1",
        "key": "k1",
        "model": "poet",
        "arm": "stable",
        "status": 200,
        "ms": 12.346,
        "cache": "",
        "masked": [],
    }
    assert "prompt" not in line, "only when the policy says so"


def test_a_log_file_that_is_too_large_is_moved_aside_and_goes_on(tmp_path):
    path = tmp_path / "gateway.log"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, b"old\n" * 100)
        assert keep_short(descriptor, 1000) is False
        assert keep_short(descriptor, 100) is True
        os.write(descriptor, b"new\n")
    finally:
        os.close(descriptor)
    assert path.read_bytes() == b"new\n"
    old = tmp_path / "gateway.log.1"
    assert old.read_bytes() == b"old\n" * 100
    assert old.stat().st_mode & 0o777 == 0o600


def test_a_log_that_is_no_file_or_is_not_appended_to_is_left_alone(tmp_path, pipe):
    assert keep_short(pipe.writing, 0) is False
    path = tmp_path / "log"
    path.write_bytes(b"x" * 100)
    with path.open("rb+") as file:
        assert keep_short(file.fileno(), 10) is False
    assert path.read_bytes() == b"x" * 100


def test_start_is_done_once(monkeypatch, pipe):
    monkeypatch.setattr(room, "_writer", None)
    room.start(pipe.writing)
    first = room._writer
    room.start(pipe.writing)
    assert room._writer is first
    assert room.dropped() == 0
    pipe.read_on()
    log("hello")
    wait_for(lambda: b"hello" in pipe.got)
    first.close()
