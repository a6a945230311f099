"""The spool of outcomes: read once, whole, and nothing that a killed worker left is misread."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guideway.core.outcome import Outcome, exceeded
from guideway.kit.frames import frame
from guideway.store.outcomes import AT_ONCE, MAGIC, read, remove, segments, size_of


def outcome(number):
    return Outcome(
        at=1.0 + number,
        environment="prod",
        rollout="r1",
        arm="candidate" if number % 3 else "stable",
        share=0.25,
        request=f"{number:032x}",
        unit="" if number % 2 else "ab" * 16,
        latency=number / 7,
        exceeded=(1.5,) * (number % 3),
        finish_reason="名" * (number % 4),
    )


def bytes_of(numbers):
    return MAGIC + b"".join(frame(msgspec.msgpack.encode(outcome(number))) for number in numbers)


def segment(folder, data, name="w-000001.msgpack"):
    (folder / name).write_bytes(data)
    return name


def read_all(folder, name, offset=0):
    """All records of a segment, as a reader gets them that commits after each read."""
    records, lost = [], 0
    while True:
        found = read(folder, name, offset)
        records += found.records
        lost += found.lost
        if found.ended or found.offset == offset:
            return records, found, lost
        offset = found.offset


def numbers(records):
    return [int(record.request, 16) for record in records]


def test_every_field_comes_back():
    full = msgspec.structs.replace(
        outcome(5),
        key="k1",
        why_not="seen before",
        status=200,
        first_status=503,
        failure="status",
        retried=True,
        first_token=3.5,
        per_token=0.5,
        input_tokens=4,
        output_tokens=2,
        cached="hit",
        refused=True,
        guarded=True,
        stream=True,
        release="555555555555",
        same=False,
    )
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(full), type=Outcome) == full


def test_a_record_of_an_older_worker_lacks_the_newer_fields_and_is_understood():
    raw = msgspec.msgpack.decode(msgspec.msgpack.encode(outcome(1)))
    assert msgspec.convert(raw[:6], Outcome).request == outcome(1).request
    assert msgspec.convert([*raw, "of tomorrow"], Outcome) == outcome(1)


@pytest.mark.parametrize(("latency", "expected"), [(5.0, ()), (10.0, ()), (10.1, (10.0,)), (900.0, (10.0, 90.0))])
def test_a_limit_is_exceeded_when_it_is_run_past(latency, expected):
    assert exceeded(latency, (10.0, 90.0)) == expected


def test_killed_at_any_byte_a_segment_gives_the_whole_records_and_names_the_bytes_that_are_lost(tmp_path):
    whole = bytes_of(range(6))
    ends = [len(bytes_of(range(count))) for count in range(7)]
    for cut in range(len(whole) + 1):
        records, last, lost = read_all(tmp_path, segment(tmp_path, whole[:cut]))
        count = sum(end <= cut for end in ends[1:])
        assert numbers(records) == list(range(count))
        assert last.ended
        assert lost == cut - (ends[count] if cut >= len(MAGIC) else 0)


@settings(max_examples=50)
@given(st.lists(st.integers(0, 30), max_size=8), st.data())
def test_a_segment_that_grows_between_reads_is_read_once(tmp_path_factory, cuts, data):
    folder = tmp_path_factory.mktemp("spool")
    whole = bytes_of(range(12))
    name, offset, got = segment(folder, b""), 0, []
    with (folder / name).open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        written = 0
        for _ in [*cuts, None]:
            more = data.draw(st.integers(0, len(whole) - written))
            file.write(whole[written : written + more])
            file.flush()
            written += more
            found = read(folder, name, offset)
            assert not found.ended
            assert found.lost == 0
            got, offset = got + numbers(found.records), found.offset
        file.write(whole[written:])
        file.flush()
    records, last, lost = read_all(folder, name, offset)
    assert got + numbers(records) == list(range(12))
    assert (last.ended, lost) == (True, 0)


def test_what_was_not_committed_is_read_again_and_what_was_committed_is_not(tmp_path):
    name = segment(tmp_path, bytes_of(range(5)))
    first = read(tmp_path, name)
    assert read(tmp_path, name) == first
    assert read(tmp_path, name, first.offset).records == ()


def test_a_large_segment_is_read_in_pieces_of_bounded_size(tmp_path):
    count = 12_000
    data = bytes_of(range(count))
    assert len(data) > AT_ONCE
    name = segment(tmp_path, data)
    assert len(read(tmp_path, name).records) < count
    assert numbers(read_all(tmp_path, name)[0]) == list(range(count))


@pytest.mark.parametrize("junk", [b"", b"GWOU", b"not a segment at all", bytes(100)])
def test_what_is_no_segment_is_lost_and_not_misread(tmp_path, junk):
    found = read(tmp_path, segment(tmp_path, junk))
    assert (found.records, found.ended, found.lost) == ((), True, len(junk))


def test_a_flipped_bit_ends_a_segment_before_it(tmp_path):
    data = bytearray(bytes_of(range(5)))
    data[len(bytes_of(range(2))) + 20] ^= 1
    records, last, lost = read_all(tmp_path, segment(tmp_path, bytes(data)))
    assert (numbers(records), last.ended) == ([0, 1], True)
    assert lost == len(data) - len(bytes_of(range(2)))


def test_a_record_that_is_not_understood_is_counted_and_passed_over(tmp_path):
    data = bytes_of([1]) + frame(b"\xc1") + frame(msgspec.msgpack.encode([1, 2])) + bytes_of([2])[len(MAGIC) :]
    found = read(tmp_path, segment(tmp_path, data))
    assert (numbers(found.records), found.unread, found.ended) == ([1, 2], 2, True)


def test_segments_are_removed_only_when_they_were_consumed_and_nobody_writes_them(tmp_path):
    done, half, open_ = (segment(tmp_path, bytes_of(range(3)), f"w-{n:06d}.msgpack") for n in (1, 2, 3))
    end = read(tmp_path, done).offset
    with (tmp_path / open_).open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert remove(tmp_path, {done: end, half: end - 1, open_: end, "gone-000001.msgpack": 5}) == [done]
        assert segments(tmp_path) == [half, open_]
    assert remove(tmp_path, {open_: end}) == [open_]
    assert size_of(tmp_path) == end


def test_a_segment_that_cannot_be_removed_stays_and_nobody_stumbles(tmp_path, monkeypatch):
    name = segment(tmp_path, bytes_of(range(3)))

    def read_only(path) -> None:
        raise PermissionError(30, "Read-only file system", str(path))

    monkeypatch.setattr(type(tmp_path), "unlink", read_only)
    assert remove(tmp_path, {name: (tmp_path / name).stat().st_size}) == []


def test_a_torn_segment_can_be_removed_once_its_loss_is_known(tmp_path):
    name = segment(tmp_path, bytes_of(range(3))[:-2])
    _, last, _ = read_all(tmp_path, name)
    assert remove(tmp_path, {name: last.offset}) == [name]


def test_a_folder_that_is_not_there_has_no_segments(tmp_path):
    assert segments(tmp_path / "none") == []
    assert size_of(tmp_path / "none") == 0


WRITER = """
import sys, time
from pathlib import Path
from guideway.core.outcome import Outcome
from guideway.gateway.outcomes import Spool
spool = Spool(Path(sys.argv[1]), sys.argv[2], clock=time.monotonic)
number = 0
while True:
    for _ in range(37):
        spool.add(Outcome(1.0, "prod", "r1", "stable", 0.5, f"{number:032x}"))
        number += 1
    spool.tick()
    print(number, flush=True)
"""


@pytest.mark.catalogue("A28")
def test_a_worker_killed_while_it_writes_loses_nothing_that_it_had_written_and_doubles_nothing(tmp_path):
    for attempt in range(6):
        command = [sys.executable, "-c", WRITER, str(tmp_path), f"worker{attempt}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            for _ in range(1 + attempt * 7):
                told = process.stdout.readline()
            os.kill(process.pid, signal.SIGKILL)
            told = int((told + process.stdout.read()).split()[-1])
        (name,) = [one for one in segments(tmp_path) if one.startswith(f"worker{attempt}-")]
        records, last, _ = read_all(tmp_path, name)
        assert last.ended, "the lock went with the process"
        assert numbers(records) == list(range(len(records)))
        assert len(records) >= told
