"""A worker's side of the spool: nothing waits, nothing grows, and what is lost is counted."""

from __future__ import annotations

import resource
import signal

import pytest

from guideway.core.outcome import Outcome
from guideway.gateway import outcomes
from guideway.gateway.outcomes import BUFFER_BYTES, SEGMENT_SECONDS, WRITE_BYTES, Spool
from guideway.store.outcomes import read, remove, segments


def outcome(number):
    return Outcome(1.0, "prod", "r1", "stable", 0.5, f"{number:032x}")


def numbers(folder):
    return [int(one.request, 16) for name in segments(folder) for one in read(folder, name).records]


class Later:
    """Jobs that are done when the test says so, and a clock that stands."""

    def __init__(self):
        self.jobs, self.now = [], 0.0

    def run(self):
        while self.jobs:
            self.jobs.pop(0)()


@pytest.fixture
def later():
    return Later()


@pytest.fixture
def spool(tmp_path, later):
    made = Spool(tmp_path / "outcomes", "w0", clock=lambda: later.now, submit=later.jobs.append)
    yield made
    made.close()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "outcomes"


def test_records_are_written_at_the_tick_and_not_before(spool, later, folder):
    for number in range(3):
        spool.add(outcome(number))
    assert (later.jobs, segments(folder)) == ([], [])
    spool.tick()
    later.run()
    assert numbers(folder) == [0, 1, 2]


def test_a_full_buffer_is_written_without_waiting_for_the_tick(spool, later):
    number = 0
    while not later.jobs:
        spool.add(outcome(number))
        number += 1
    assert number * 60 < WRITE_BYTES < number * 200


def test_while_a_writing_goes_on_no_second_one_is_begun(spool, later, folder):
    spool.add(outcome(0))
    spool.tick()
    spool.add(outcome(1))
    spool.tick()
    assert len(later.jobs) == 1
    later.run()
    spool.tick()
    later.run()
    assert numbers(folder) == [0, 1]


def test_a_disk_that_hangs_costs_bounded_memory_and_the_drops_are_counted(spool, later, folder):
    spool.add(outcome(0))
    spool.tick()
    count = 3 * BUFFER_BYTES // 60
    for number in range(1, count):
        spool.add(outcome(number))
    assert spool._size <= BUFFER_BYTES
    later.run()
    spool.tick()
    later.run()
    kept = []
    for name in segments(folder):
        offset = 0
        while not (found := read(folder, name, offset)).ended and found.offset > offset:
            kept += found.records
            offset = found.offset
    assert spool.dropped > 0
    assert len(kept) + spool.dropped == count


def test_a_segment_ends_after_a_minute_or_at_its_size_and_the_next_has_the_next_number(
    spool, later, folder, monkeypatch
):
    def write(number):
        spool.add(outcome(number))
        spool.tick()
        later.run()

    write(0)
    later.now = SEGMENT_SECONDS - 1
    write(1)
    later.now = SEGMENT_SECONDS
    write(2)
    monkeypatch.setattr(outcomes, "SEGMENT_BYTES", 10)
    write(3)
    assert segments(folder) == [f"w0-{number:06d}.msgpack" for number in (1, 2, 3)]
    assert numbers(folder) == [0, 1, 2, 3]


def test_a_segment_that_is_old_is_closed_even_when_nothing_comes_any_more(spool, later, folder):
    spool.add(outcome(0))
    spool.tick()
    later.run()
    (name,) = segments(folder)
    assert not read(folder, name).ended
    later.now = SEGMENT_SECONDS
    spool.tick()
    later.run()
    found = read(folder, name)
    assert found.ended
    assert remove(folder, {name: found.offset}) == [name]


def test_a_name_that_was_used_before_goes_on_counting(spool, later, folder):
    folder.mkdir()
    (folder / "w0-000041.msgpack").write_bytes(b"")
    spool.add(outcome(0))
    spool.tick()
    later.run()
    assert segments(folder)[-1] == "w0-000042.msgpack"


def test_a_folder_that_cannot_be_written_fails_no_request(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    spool = Spool(tmp_path / "file" / "outcomes", "w0", clock=lambda: 0.0)
    spool.add(outcome(0))
    spool.tick()
    assert spool.dropped == 1
    spool.close()


@pytest.mark.catalogue("A27")
def test_a_disk_that_is_full_in_the_middle_of_a_write_leaves_a_torn_end_and_a_new_segment_follows(tmp_path):
    folder = tmp_path / "outcomes"
    spool = Spool(folder, "w0", clock=lambda: 0.0)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, hard))
    try:
        for number in range(10):
            spool.add(outcome(number))
        spool.tick()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert spool.dropped == 10
    spool.add(outcome(77))
    spool.tick()
    spool.close()
    first, second = segments(folder)
    assert [one.request for one in read(folder, second).records] == [outcome(77).request]
    offset = read(folder, first).offset
    assert read(folder, first, offset).lost > 0


def test_a_spool_that_nobody_reads_stops_growing_and_goes_on_when_it_was_read(spool, later, folder, monkeypatch):
    spool.add(outcome(0))
    spool.tick()
    later.run()
    later.now = SEGMENT_SECONDS
    monkeypatch.setattr(outcomes, "SPOOL_BYTES", 10)
    spool.add(outcome(1))
    spool.tick()
    later.run()
    assert spool.dropped == 1
    (name,) = segments(folder)
    remove(folder, {name: read(folder, name).offset})
    spool.add(outcome(2))
    spool.tick()
    later.run()
    assert numbers(folder) == [2]


def test_what_cannot_be_written_down_is_dropped_and_counted(spool):
    spool.add(Outcome(1.0, "prod", "r1", "stable", 0.5, "x" * 2_000_000))
    assert spool.dropped == 1


def test_an_executor_that_is_gone_fails_nothing(tmp_path):
    def refuse(job):
        raise RuntimeError("cannot schedule new futures after shutdown")

    spool = Spool(tmp_path, "w0", clock=lambda: 0.0, submit=refuse)
    spool.add(outcome(0))
    spool.tick()
    assert spool.dropped == 1
    spool.close()


def test_the_files_are_for_their_owner_alone(spool, later, folder):
    spool.add(outcome(0))
    spool.close()
    (name,) = segments(folder)
    assert (folder / name).stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
