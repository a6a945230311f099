"""The ledger: a changed, removed, added or moved line is found and named."""

from __future__ import annotations

import pytest

from guideway.core.errors import Corrupt
from guideway.store import ledger
from guideway.store.database import Database


@pytest.fixture
def database(tmp_path):
    with Database(tmp_path / "state.db") as opened:
        for number in range(1, 6):
            ledger.append(opened, at=float(number), who="ann", what="build", subject=f"s{number}", data={"n": number})
        yield opened


def test_an_untouched_ledger_verifies(database):
    assert ledger.verify(database) == 5


def test_entries_come_back_as_they_were_written(database):
    newest = next(ledger.entries(database, newest_first=True))
    assert (newest.seq, newest.who, newest.subject, newest.data) == (5, "ann", "s5", {"n": 5})


@pytest.mark.parametrize("column", ["at", "who", "what", "subject", "why", "data", "previous", "hash"])
def test_a_change_in_any_column_is_named(database, column):
    value = 99.0 if column == "at" else "changed"
    database.execute(f"UPDATE ledger SET {column} = ? WHERE seq = 3", value)
    with pytest.raises(Corrupt, match=r"line [34] was changed"):
        ledger.verify(database)


def test_a_removed_line_is_named(database):
    database.execute("DELETE FROM ledger WHERE seq = 2")
    with pytest.raises(Corrupt, match="line 2 is missing"):
        ledger.verify(database)


def test_two_lines_that_changed_places_are_found(database):
    database.execute("UPDATE ledger SET seq = 100 WHERE seq = 2")
    database.execute("UPDATE ledger SET seq = 2 WHERE seq = 3")
    database.execute("UPDATE ledger SET seq = 3 WHERE seq = 100")
    with pytest.raises(Corrupt, match="line 2 was changed"):
        ledger.verify(database)


def test_a_ledger_of_another_installation_does_not_verify(database):
    database.execute("UPDATE meta SET value = 'other' WHERE key = 'installation'")
    with pytest.raises(Corrupt, match="line 1 was changed"):
        ledger.verify(database)


def test_a_line_is_not_kept_when_its_transaction_fails(database):
    with pytest.raises(RuntimeError), database.transaction():
        ledger.append(database, at=6.0, who="ann", what="seal", subject="x")
        raise RuntimeError
    assert ledger.verify(database) == 5
