"""The ledger: a changed, removed, added or moved line is found and named, on both databases."""

from __future__ import annotations

import hashlib
import json
import multiprocessing

import pytest
from postgres_rig import as_owner, unguarded

from guideway.core.errors import Corrupt, Unavailable
from guideway.kit.user import user_name
from guideway.store import ledger
from guideway.store.chain import line_hash
from guideway.store.database import Database

COLUMNS = ("seq", "at", "who", "what", "subject", "why", "data", "previous", "hash")


@pytest.fixture
def written(database, where):
    """Five lines, and no guard against their owner."""
    for number in range(1, 6):
        subject, what = f"s{number}", "build" if number < 4 else "seal"
        ledger.append(database, at=float(number), who="ann", what=what, subject=subject, data={"n": number})
    unguarded(where)
    return database


def found(database) -> str:
    with pytest.raises(Corrupt) as caught:
        ledger.verify(database)
    return caught.value.what


def rewrite(where, seq, **changes) -> str:
    """Change line *seq* and its hash, as somebody would who knows how the hash is made; the new hash."""
    row = as_owner(where, f"SELECT * FROM ledger WHERE seq = {seq}")[0]
    fields = {**dict(zip(COLUMNS, row, strict=True)), **changes}
    new = line_hash([fields[name] for name in COLUMNS[:8]])
    text = "', '".join(str(fields[name]) for name in COLUMNS[2:8])
    as_owner(
        where,
        f"DELETE FROM ledger WHERE seq = {seq}",
        f"INSERT INTO ledger VALUES ({seq}, {fields['at']!r}, '{text}', '{new}')",
    )
    return new


def shift(where, *numbers, by, first="SELECT 1") -> None:
    as_owner(where, first, *(f"UPDATE ledger SET seq = {n + by} WHERE seq = {n}" for n in numbers))


def copy(where, seq, to) -> None:
    rest = ", ".join(COLUMNS[1:])
    as_owner(where, f"INSERT INTO ledger SELECT {to}, {rest} FROM ledger WHERE seq = {seq}")


def test_an_untouched_ledger_verifies(written):
    assert ledger.verify(written) == 5


def test_an_empty_ledger_verifies(database):
    assert ledger.verify(database) == 0


def test_entries_come_back_as_they_were_written_with_the_user_we_act_as(written):
    newest = next(ledger.entries(written, newest_first=True))
    assert (newest.seq, newest.who, newest.subject) == (5, "ann", "s5")
    assert newest.data == {"n": 5, "user": user_name()}


def test_entries_are_found_by_what_and_by_subject(written):
    digest = "sha256:" + "ab" * 32
    ledger.append(written, at=6.0, who="ann", what="seal", subject=digest)
    assert [one.seq for one in ledger.entries(written, what="seal", newest_first=True, limit=2)] == [6, 5]
    assert [one.seq for one in ledger.entries(written, subject="s2")] == [2]
    for text in (digest, "abab", "sha256:abab"):
        assert [one.seq for one in ledger.entries(written, subject=text)] == [6]
    assert list(ledger.entries(written, what="nothing")) == []


def test_anybody_can_recompute_a_hash_with_json_and_sha256(database):
    ledger.append(database, at=1_800_000_000.123456, who="ann", what="say", subject="é", why='"\\\n\t\x01 end')
    ledger.append(database, at=1_800_000_001.0, who="ann", what="say", subject="x", data={"b": 1.5, "a": ["é", None]})
    for line in ledger.lines(database):
        text = json.dumps(line[:8], separators=(",", ":"), ensure_ascii=False)
        assert hashlib.sha256(text.encode()).hexdigest() == line.hash


@pytest.mark.parametrize("column", COLUMNS[1:])
def test_a_change_in_any_column_is_named(written, where, column):
    value = "99.0" if column == "at" else "'changed'"
    as_owner(where, f"UPDATE ledger SET {column} = {value} WHERE seq = 3")
    assert found(written) == "line 3 was changed"


def test_one_flipped_bit_in_any_place_of_a_line_is_named(written, where):
    for place, text in enumerate(as_owner(where, "SELECT who, data, hash FROM ledger WHERE seq = 2")[0]):
        column = ("who", "data", "hash")[place]
        flipped = chr(ord(text[0]) ^ 1) + text[1:]
        as_owner(where, f"UPDATE ledger SET {column} = '{flipped}' WHERE seq = 2")
        assert found(written) == "line 2 was changed"
        as_owner(where, f"UPDATE ledger SET {column} = '{text}' WHERE seq = 2")
    assert ledger.verify(written) == 5


@pytest.mark.parametrize(
    ("gone", "says"),
    [("2", "line 2 is missing"), ("2, 3", "lines 2 to 3 are missing"), ("1", "line 1 is missing")],
)
def test_removed_lines_are_named(written, where, gone, says):
    as_owner(where, f"DELETE FROM ledger WHERE seq IN ({gone})")
    assert found(written) == says


def test_lines_that_changed_places_are_named(written, where):
    moves = ((2, 100), (4, 2), (100, 4))
    as_owner(where, *(f"UPDATE ledger SET seq = {new} WHERE seq = {old}" for old, new in moves))
    assert found(written) == "line 4 was moved to 2"


def test_a_line_that_was_removed_by_moving_the_others_up_is_named(written, where):
    shift(where, 3, 4, 5, by=-1, first="DELETE FROM ledger WHERE seq = 2")
    assert found(written) == "lines 3 to 5 were moved to 2: one was removed before 3"


def test_a_line_that_was_inserted_by_moving_the_others_down_is_named(written, where):
    shift(where, 5, 4, 3, by=1)
    copy(where, 2, to=3)
    rewrite(where, 3, who="eve", previous=as_owner(where, "SELECT hash FROM ledger WHERE seq = 2")[0][0])
    assert found(written) == "lines 3 to 5 were moved to 4: one was inserted at 3"


def test_a_line_before_the_first_one_is_named(written, where):
    copy(where, 1, to=0)
    assert found(written) == "line 0 was inserted"


def test_a_line_that_was_written_anew_with_its_hash_is_named(written, where):
    rewrite(where, 3, who="eve")
    assert found(written) == "line 3 was replaced: line 4 follows another one"


def test_a_ledger_of_another_installation_does_not_verify(written, where):
    as_owner(where, "UPDATE meta SET value = 'other' WHERE key = 'installation'")
    assert found(written) == "line 1 was written by another installation"


@pytest.mark.parametrize("statement", ["UPDATE ledger SET who = 'eve' WHERE seq = 1", "DELETE FROM ledger"])
def test_the_database_refuses_to_change_or_remove_a_line(database, where, statement):
    ledger.append(database, at=1.0, who="ann", what="build", subject="s")
    with pytest.raises(Exception, match="append-only"):
        as_owner(where, statement)
    assert ledger.verify(database) == 1


def test_our_own_code_cannot_change_a_line_either_and_says_so(database):
    ledger.append(database, at=1.0, who="ann", what="build", subject="s")
    with pytest.raises(Unavailable, match="a line of the ledger is never changed or removed"):
        database.execute(ledger.tables.ledger.update().values(who="eve"))


def test_a_line_is_not_kept_when_its_transaction_fails(written):
    with pytest.raises(RuntimeError), written.transaction():
        ledger.append(written, at=6.0, who="ann", what="seal", subject="x")
        raise RuntimeError
    assert ledger.verify(written) == 5


def test_more_lines_than_are_fetched_at_once_verify(database, monkeypatch):
    monkeypatch.setattr(ledger, "_CHUNK", 3)
    for number in range(9):
        ledger.append(database, at=float(number), who="ann", what="build", subject="s")
        assert ledger.verify(database) == number + 1


def _append_many(where, count):
    with Database(where, busy=60.0) as database:
        for number in range(count):
            ledger.append(database, at=float(number), who="ann", what="build", subject="s")


@pytest.mark.thorough
def test_eight_processes_that_append_at_once_leave_one_whole_chain(where):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_append_many, args=(where, 200)) for _ in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * 8
    with Database(where) as database:
        assert ledger.verify(database) == 1600
        assert ledger.last(database)[0] == 1600
