"""Feedback: nothing that was acknowledged is lost or doubled, the last word counts, and a tenant can take it back."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import msgspec
import pytest

from guideway.core.errors import Unavailable
from guideway.core.feedback import Judgement
from guideway.store import feedback, ledger
from guideway.store.feedback import Committed
from guideway.store.feedback_spool import Spool, records, take

A = Judgement("r1", "k1", "acme", "dev", "5555555555", "stable", 10.0, thumb="up")


def changed(**facts) -> Judgement:
    return msgspec.structs.replace(A, **facts)


def packed(judgement: Judgement) -> bytes:
    return msgspec.msgpack.encode(judgement)


@pytest.fixture
def spool(tmp_path):
    made = Spool(tmp_path / "feedback", "worker")
    yield made
    made.close()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "feedback"


# The way to the rows.


def test_what_was_appended_becomes_rows_once(database, spool, folder):
    spool.append(packed(A))
    spool.append(packed(changed(request="r2", at=11.0, correction="Ünïcode 诗 \n")))
    assert feedback.commit(database, folder) == Committed(judgements=2)
    assert feedback.commit(database, folder) == Committed()
    assert [one.request for one in feedback.all_of(database, "dev")] == ["r2", "r1"]
    assert feedback.all_of(database, "dev")[0].correction == "Ünïcode 诗 \n"
    spool.append(packed(changed(request="r3", at=12.0)))
    assert feedback.commit(database, folder).judgements == 1


def test_the_last_word_of_a_key_counts_in_whatever_order_it_comes(database):
    later = changed(thumb="down", at=20.0)
    for order in ((A, later), (later, A), (later, later)):
        for judgement in order:
            feedback.put_all(database, [judgement])
        assert feedback.all_of(database, "dev") == [later]
    feedback.put_all(database, [changed(key="k2")])
    assert len(feedback.all_of(database, "dev")) == 2, "another key has its own word"


def test_a_list_is_of_one_environment_and_time_and_has_a_limit(database):
    for number in range(5):
        feedback.put_all(database, [changed(request=f"r{number}", at=float(number))])
    feedback.put_all(database, [changed(request="other", environment="prod")])
    assert [one.at for one in feedback.all_of(database, "dev", since=2.0)] == [4.0, 3.0, 2.0]
    assert [one.at for one in feedback.all_of(database, "dev", limit=1)] == [4.0]


def test_being_killed_between_rows_and_file_doubles_nothing(database, spool, folder):
    spool.append(packed(A))
    (taken,) = take(folder)
    data = taken.read_bytes()
    feedback.commit(database, folder)
    taken.write_bytes(data)  # as if it had not been removed yet
    assert feedback.commit(database, folder).judgements == 1
    assert feedback.all_of(database, "dev") == [A]


class Away:
    """A state that cannot be reached."""

    def put_newest(self, *_):
        raise Unavailable("the database server does not answer")


@pytest.mark.catalogue("A24")
def test_while_the_database_is_away_all_waits_and_then_drains(database, spool, folder):
    for number in range(200):
        spool.append(packed(changed(request=f"r{number}")))
        if number % 20 == 0:
            with pytest.raises(Unavailable):
                feedback.commit(Away(), folder)
    assert feedback.commit(database, folder).judgements == 200
    assert len(feedback.all_of(database, "dev")) == 200
    assert [path.suffix for path in folder.iterdir()] == [".lock"]


@pytest.mark.catalogue("A24")
def test_what_waits_is_bounded_and_the_rest_is_refused_not_lost(database, folder):
    spool = Spool(folder, "worker", limit=1000)
    accepted = 0
    with pytest.raises(OSError, match="too much waits"):
        for number in range(100):
            spool.append(packed(changed(request=f"r{number}")))
            accepted += 1
    assert 5 < accepted < 20
    assert feedback.commit(database, folder).judgements == accepted
    spool.append(packed(A))
    spool.close()


def test_a_folder_that_is_not_there_holds_nothing(database, tmp_path):
    assert feedback.commit(database, tmp_path / "none") == Committed()


def test_a_record_that_is_none_of_ours_does_not_hold_up_the_others(database, spool, folder):
    spool.append(b"\xc1")
    spool.append(packed(A))
    assert feedback.commit(database, folder) == Committed(judgements=1, lost=1)


# The file.


def test_wherever_a_file_was_cut_the_records_before_are_whole(folder, spool):
    payloads = [packed(A), packed(changed(comment="x" * 50)), b"end"]
    for payload in payloads:
        spool.append(payload)
    data = (folder / "worker.spool").read_bytes()
    ends = [sum(len(one) + 8 for one in payloads[:count]) for count in range(4)]
    for cut in range(len(data) + 1):
        found, lost = records(data[:cut])
        whole = sum(end <= cut for end in ends) - 1
        assert (found, lost) == (payloads[:whole], cut - ends[whole])


def test_a_flipped_bit_is_found(folder, spool):
    spool.append(packed(A))
    data = bytearray((folder / "worker.spool").read_bytes())
    for place in range(len(data)):
        data[place] ^= 1
        assert records(bytes(data))[0] == []
        data[place] ^= 1


def test_a_write_that_fails_halfway_leaves_no_half_record(folder, spool, monkeypatch):
    spool.append(b"first")
    real = os.write
    with monkeypatch.context() as patched:

        def full(descriptor, data):
            if len(data) < 10:
                raise OSError(28, "No space left on device")
            return real(descriptor, data[: len(data) - 5])

        patched.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            spool.append(b"second one")
    spool.append(b"third")
    assert records((folder / "worker.spool").read_bytes()) == ([b"first", b"third"], 0)


def test_while_many_append_and_one_takes_nothing_is_lost_or_doubled(folder):
    spools = [Spool(folder, f"worker-{number}") for number in range(3)]
    done = threading.Event()

    def write(spool, number):
        for count in range(60):
            spool.append(b"%d-%d" % (number, count))

    def write_all():
        writers = [threading.Thread(target=write, args=(one, number)) for number, one in enumerate(spools)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join(30)
        done.set()

    threading.Thread(target=write_all, daemon=True).start()
    found: list[bytes] = []
    while True:
        last = done.is_set()
        for path in take(folder):
            found += records(path.read_bytes())[0]
            path.unlink()
        if last:
            break
        done.wait(0.002)
    for spool in spools:
        spool.close()
    assert sorted(found) == sorted(b"%d-%d" % (number, count) for number in range(3) for count in range(60))


def test_a_worker_that_is_killed_has_on_the_disk_what_it_acknowledged(folder):
    code = f"""
import os, signal, sys
from pathlib import Path
from guideway.store.feedback_spool import Spool
spool = Spool(Path({str(folder)!r}), "worker")
number = 0
while True:
    spool.append(b"%d" % number)
    print(number, flush=True)
    number += 1
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = [int(process.stdout.readline()) for _ in range(20)]
    process.kill()
    said += [int(line) for line in process.stdout.read().splitlines()]
    process.wait(10)
    process.stdout.close()
    (path,) = take(folder)
    found, _ = records(path.read_bytes())
    assert [b"%d" % number for number in said] == found[: len(said)]
    assert path.stat().st_mode & 0o777 == 0o600


# The right to take it back.


def test_a_tenant_is_erased_everywhere_and_does_not_come_back_from_a_spool(database, spool, folder):
    feedback.put_all(database, [changed(environment="prod", request="r9")])
    feedback.put_all(database, [changed(owner="other", key="k9")])
    spool.append(packed(changed(correction="Jane Doe, 12 High Street")))
    assert feedback.erase(database, "acme", at=1.0, who="command line", folders=[folder]) == 2
    assert feedback.commit(database, folder) == Committed()
    assert feedback.all_of(database, "prod") == []
    assert [one.owner for one in feedback.all_of(database, "dev")] == ["other"]
    (line,) = [entry for entry in ledger.entries(database) if entry.what == "feedback erased"]
    assert (line.subject, line.data["rows"]) == ("acme", 2)
