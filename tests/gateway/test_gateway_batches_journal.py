"""The journal of answers, the lines of a file, and the credential: no process needed."""

from __future__ import annotations

import errno
import io
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guideway.gateway.batches import credential, lines
from guideway.gateway.batches.journal import BAD, GOOD, Journal, Result

RESULTS = [Result(number, BAD if number == 2 else GOOD, b'{"custom_id":"%d"}' % number) for number in (0, 3, 1, 2)]


def filled(path) -> bytes:
    journal = Journal(path, 5)
    journal.write(RESULTS)
    journal.settle(RESULTS)
    journal.close()
    return path.read_bytes()


def test_a_journal_is_read_back_in_the_order_of_the_lines(tmp_path):
    filled(tmp_path / "j")
    journal = Journal(tmp_path / "j", 5)
    assert list(journal.results()) == [RESULTS[0], RESULTS[2], RESULTS[3], RESULTS[1], None]
    assert (journal.counts.total, journal.counts.completed, journal.counts.failed) == (5, 3, 1)


@pytest.mark.catalogue("A28")
def test_a_journal_cut_at_any_byte_keeps_every_whole_line_and_takes_the_rest_again(tmp_path):
    whole = filled(tmp_path / "whole")
    ends = [sum(len(one.framed()) for one in RESULTS[:count]) for count in range(5)]
    for cut in range(len(whole) + 1):
        path = tmp_path / str(cut)
        path.write_bytes(whole[:cut])
        journal = Journal(path, 5)
        kept = sum(end <= cut for end in ends) - 1
        assert [number for number in range(5) if journal.has(number)] == sorted(one.number for one in RESULTS[:kept])
        journal.write(RESULTS[kept:])
        journal.settle(RESULTS[kept:])
        assert path.read_bytes() == whole
        journal.close()


@pytest.mark.catalogue("A28")
def test_a_byte_that_changed_never_becomes_a_result(tmp_path):
    whole = filled(tmp_path / "whole")
    for at in range(len(whole)):
        path = tmp_path / str(at)
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        journal = Journal(path, 5)
        found = [one for one in journal.results() if one]
        assert all(one in RESULTS for one in found)
        assert len(found) < len(RESULTS)
        journal.close()


def test_a_line_that_stands_there_twice_counts_once(tmp_path):
    filled(tmp_path / "j")
    with (tmp_path / "j").open("ab") as file:
        file.write(Result(0, BAD, b'{"late":1}').framed())
    journal = Journal(tmp_path / "j", 5)
    assert next(journal.results()) == RESULTS[0]
    assert journal.counts.failed == 1


def test_a_write_that_fails_leaves_the_journal_as_it_was(tmp_path, monkeypatch):
    filled(tmp_path / "j")
    journal = Journal(tmp_path / "j", 5)
    before = (tmp_path / "j").read_bytes()
    write = os.write

    def half(handle, data):
        if len(data) < 5:
            raise OSError(errno.ENOSPC, "full")
        return write(handle, bytes(data)[: len(data) // 2])

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", half)
        with pytest.raises(OSError, match="full"):
            journal.write([Result(4, GOOD, b"{}")])
    assert (tmp_path / "j").read_bytes() == before
    assert not journal.has(4)
    journal.write([Result(4, GOOD, b"{}")])
    journal.settle([Result(4, GOOD, b"{}")])
    assert list(journal.results())[4] == Result(4, GOOD, b"{}")


def test_the_credential_of_a_key_is_good_for_that_key_alone():
    secret, other = credential.secret_of(b"p" * 32), credential.secret_of(b"q" * 32)
    value = credential.sign(secret, "key.1")
    assert credential.check(secret, value) == "key.1"
    assert credential.check(other, value) is None
    mac = value.rpartition(".")[2]
    for wrong in ("", ".", "key.1", f"key.2.{mac}", f".{mac}", mac, value[:-1], value + "0", value.upper(), "é.\udcff"):
        assert credential.check(secret, wrong) is None
    with pytest.raises(ValueError, match="pepper"):
        credential.secret_of(b"")


@given(st.binary(max_size=400))
def test_any_bytes_are_examined_without_a_surprise(data):
    found = lines.examine(io.BytesIO(data), lines.Demands(lines.ENDPOINTS[0], (), 100))
    assert found.errors


@given(st.lists(st.text(st.characters(exclude_characters="\n", codec="utf-8"), max_size=30), max_size=20))
def test_lines_are_found_where_they_are(texts):
    data = "\n".join(texts).encode()
    file = io.BytesIO(data)
    found = [lines.read(file, place).removesuffix(b"\n") for place in lines.places(file, 1000)]
    assert found == data.split(b"\n")[: len(found)]
    assert b"\n".join(found) == data.removesuffix(b"\n")
