"""What goes wrong with a database is one clear line, and nothing half-written stays."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import signal
import sqlite3
import sys
import threading

import pytest
from postgres_rig import PASSWORD, as_owner

from guideway.core.errors import Corrupt, GuidewayError, SpecError, Unavailable
from guideway.core.release import Release
from guideway.kit.process import free_port
from guideway.store import database as room
from guideway.store import ledger, releases
from guideway.store.address import Address
from guideway.store.causes import explained
from guideway.store.database import Database

pytestmark = pytest.mark.thorough

SPAWN = multiprocessing.get_context("spawn")


def publish(database, number: int) -> None:
    """One change of several statements: a release and its line."""
    with database.transaction():
        digest = f"sha256:{number:064}"
        releases.add(database, Release(digest=digest, name="m" * 3000, number=0, created=1.0))
        ledger.append(database, at=1.0, who="ann", what="seal", subject=digest)


def whole(where) -> int:
    """How many changes there are; each has both its rows."""
    with Database(where) as database:
        count = ledger.verify(database)
        assert len(releases.all_of(database)) == count
        return count


# -- nested transactions, threads ----------------------------------------------------------------------------------


def test_a_nested_transaction_joins_the_outer_one(database):
    with pytest.raises(RuntimeError), database.transaction():
        publish(database, 1)
        assert database.in_transaction
        raise RuntimeError
    assert not database.in_transaction
    assert ledger.last(database) is None


def test_a_transaction_whose_error_was_swallowed_inside_can_still_not_half_happen(where, database):
    with pytest.raises(GuidewayError), database.transaction():
        ledger.append(database, at=1.0, who="ann", what="seal", subject="s")
        with contextlib.suppress(GuidewayError):
            database.execute(ledger.tables.ledger.insert().values(seq=1))
        ledger.append(database, at=1.0, who="ann", what="seal", subject="t")
        raise Unavailable("given up")
    assert ledger.last(database) is None


def test_a_writer_sees_what_the_one_before_it_wrote(where, database):
    order = []

    def other() -> None:
        with Database(where) as second:
            ready.set()
            publish(second, 2)
            order.append("second")

    ready = threading.Event()
    with database.transaction():
        thread = threading.Thread(target=other)
        thread.start()
        assert ready.wait(30)
        publish(database, 1)
        order.append("first")
    thread.join(30)
    assert order == ["first", "second"]
    assert whole(where) == 2


def test_a_reader_does_not_wait_for_a_writer(where, database):
    with Database(where) as reader, database.transaction():
        publish(database, 1)
        assert ledger.last(reader) is None
    with Database(where) as reader:
        assert ledger.last(reader)[0] == 1


def test_a_writer_that_waits_too_long_says_so(where, database):
    with Database(where, busy=0.2) as second, database.transaction():
        with pytest.raises(Unavailable, match="another command holds the state"):
            publish(second, 1)
        assert not second.in_transaction
    publish(database, 1)
    assert whole(where) == 1


# -- killed --------------------------------------------------------------------------------------------------------


class Mortal(Database):
    """Killed with SIGKILL before its n-th statement."""

    left = sys.maxsize

    def _connected(self):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return super()._connected()


def _die(where, at):
    with Mortal(where) as database:
        database.left = at
        publish(database, 2)


@pytest.mark.catalogue("A28")
def test_killed_before_any_statement_of_a_change_it_is_absent_or_complete_and_the_next_one_works(where):
    with Database(where) as database:
        publish(database, 1)
    for at in range(1, 40):
        process = SPAWN.Process(target=_die, args=(where, at))
        process.start()
        process.join(60)
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        assert whole(where) == 1
    assert at > 6 and process.exitcode == 0
    assert whole(where) == 2


# -- SQLite --------------------------------------------------------------------------------------------------------


def _publish_on_a_small_disk(where, first, limit, tell):
    """No file may grow beyond *limit* bytes: like a disk that is full at another write each time."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        with Database(where) as database:
            for number in range(first, 8):
                publish(database, number)
    except GuidewayError as error:
        tell.put(str(error))


@pytest.mark.catalogue("A27")
def test_a_disk_that_is_full_at_any_write_leaves_whole_changes_only(tmp_path):
    where, said = tmp_path / "state.db", set()
    with Database(where) as database:
        publish(database, 1)
    tell = SPAWN.Queue()
    for limit in (*range(0, 140_000, 6_000), 1 << 30):
        before = whole(where)
        process = SPAWN.Process(target=_publish_on_a_small_disk, args=(where, before + 1, limit, tell))
        process.start()
        process.join(60)
        assert process.exitcode == 0
        if not tell.empty():
            said.add(tell.get())
        assert whole(where) >= before
    assert whole(where) == 7
    full = f"{where}: the disk is full, nothing was changed (free some space)"
    assert full in said
    assert said <= {full, f"{where}: the state file cannot be written (look at its permissions)"}


def test_a_full_database_says_that_the_disk_is_full_and_keeps_the_old_state(tmp_path):
    where = tmp_path / "state.db"
    with Database(where) as database:
        publish(database, 1)
        pages = database._connected().exec_driver_sql("PRAGMA page_count").scalar_one()
        database._connected().exec_driver_sql(f"PRAGMA max_page_count={pages}")
        with pytest.raises(Unavailable, match="the disk is full, nothing was changed"):
            for number in range(2, 50):
                publish(database, number)
        assert not database.in_transaction
    assert 1 <= whole(where) < 49


def test_a_damaged_state_file_is_named(tmp_path):
    (tmp_path / "state.db").write_bytes(b"this is no database at all" * 50)
    with pytest.raises(Corrupt, match="damaged"):
        Database(tmp_path / "state.db")


def test_a_page_that_was_overwritten_is_named_when_it_is_read(tmp_path):
    where = tmp_path / "state.db"
    with Database(where) as database:
        for number in range(30):
            publish(database, number)
    data = bytearray(where.read_bytes())
    data[3 * 4096 :] = b"\xa5" * (len(data) - 3 * 4096)
    where.write_bytes(data)
    with pytest.raises(Corrupt, match="the state file is damaged"), Database(where) as database:
        ledger.verify(database)


def test_a_folder_in_the_place_of_the_file_is_told(tmp_path):
    (tmp_path / "state.db").mkdir()
    with pytest.raises(Unavailable) as caught:
        Database(tmp_path / "state.db")
    assert str(caught.value) == f"{tmp_path}/state.db: the state file cannot be written (look at its permissions)"


@pytest.mark.parametrize("name", ["a b", "a?b=c", "a#b", "a%20b", "新"])
def test_a_file_may_have_any_name(tmp_path, name):
    with Database(tmp_path / name) as database:
        publish(database, 1)
    assert (tmp_path / name).exists()
    assert sqlite3.connect(tmp_path / name).execute("SELECT count(*) FROM ledger").fetchone() == (1,)


# -- PostgreSQL ----------------------------------------------------------------------------------------------------


def refused(url) -> str:
    with pytest.raises(GuidewayError) as caught:
        Database(url, busy=2.0)
    text = str(caught.value)
    assert "\n" not in text and PASSWORD not in text and "s3cret" not in text
    return text


def test_a_server_that_is_not_there_is_one_line(postgres):
    port = free_port()
    url = postgres.url("state").replace(str(postgres.port), str(port))
    says = f"postgresql://127.0.0.1:{port}/state: the database server does not answer"
    assert refused(url) == f"{says} (start it, or look at host and port)"


def test_a_wrong_password_a_wrong_user_and_an_unknown_database_are_told_apart(postgres):
    at = f"postgresql://127.0.0.1:{postgres.port}"
    wrong = "the database refused the user or the password (look at state.url, or put the password into ~/.pgpass)"
    assert refused(postgres.url("postgres", password="s3cret-no")) == f"{at}/postgres: {wrong}"
    assert refused(postgres.url("postgres").replace("guideway:", "nobody:")) == f"{at}/postgres: {wrong}"
    assert refused(postgres.url("nowhere")) == f"{at}/nowhere: there is no such database (`createdb` makes one)"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ann:s3cret@host:port/x",
        "mysql://ann:s3cret@host/x",
        "postgresql+psycopg2://ann:s3cret@host/x",
        "postgresql://ann:s3cret@host",
        "postgresql://ann:1234@s3cret@host/x",
        "://ann:s3cret@host/x",
    ],
)
def test_a_url_that_cannot_be_meant_is_refused_and_never_repeated(url):
    with pytest.raises(SpecError) as caught:
        Database(url)
    assert "s3cret" not in str(caught.value) and caught.value.where == "state.url"


def test_without_the_driver_the_line_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    assert refused("postgresql://ann:s3cret@127.0.0.1/x") == (
        "postgresql://127.0.0.1/x: the driver for PostgreSQL is not installed (pip install 'guideway[postgres]')"
    )


@pytest.mark.parametrize(
    ("state", "text", "says"),
    [
        (None, "could not translate host name", "does not answer"),
        ("08006", "server closed the connection", "does not answer"),
        ("53100", "could not extend file", "the disk of the database is full"),
        ("53300", "sorry, too many clients already", "has no connection left"),
        ("25006", "cannot execute INSERT in a read-only transaction", "can only be read"),
        ("57P03", "the database system is starting up", "is starting or stopping"),
        ("XX001", "invalid page in block 3", "the database is damaged"),
        (None, "FATAL:  no pg_hba.conf entry for host", "lets nobody in from here"),
        ("42704", 'type "x" does not exist\nLINE 1: s3cret', 'type "x" does not exist'),
        (None, "something about s3cret", "something about ***"),
    ],
)
def test_what_a_server_says_is_told_in_one_line_without_the_password(state, text, says):
    error = Exception(text)
    error.sqlstate = state
    told = str(explained(error, Address.of("postgresql://ann:s3cret@db/x")))
    assert says in told and "s3cret" not in told and "\n" not in told


def test_a_user_without_rights_is_told(postgres):
    url = postgres.fresh()
    Database(url).close()
    as_owner(url, "DROP ROLE IF EXISTS guest", f"CREATE ROLE guest LOGIN PASSWORD '{PASSWORD}'")
    guest = url.replace("guideway:", "guest:")
    assert "the database does not let this user do that (use its owner in state.url, or GRANT it)" in refused(guest)


@pytest.mark.catalogue("A28")
def test_a_server_that_stops_in_mid_work_is_one_line_and_the_next_try_works(postgres):
    url = postgres.fresh()
    with Database(url, busy=2.0) as database:
        publish(database, 1)
        with pytest.raises(Unavailable) as caught, database.transaction():
            publish(database, 2)
            postgres.stop()
            publish(database, 3)
        assert "the database server does not answer" in str(caught.value) and "\n" not in str(caught.value)
        with pytest.raises(Unavailable, match="does not answer"):
            publish(database, 2)
        postgres.start()
        assert ledger.verify(database) == 1
        publish(database, 2)
    assert whole(url) == 2


def test_a_connection_that_was_cut_is_one_line_and_the_next_try_works(postgres):
    url = postgres.fresh()
    with Database(url) as database:
        publish(database, 1)
        as_owner(url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        with pytest.raises(Unavailable, match="does not answer"):
            ledger.last(database)
        publish(database, 2)
    assert whole(url) == 2


def test_whoever_stands_still_in_a_transaction_does_not_keep_the_others_for_ever(postgres, monkeypatch):
    monkeypatch.setattr(room, "_ABANDONED", 0.2)
    url = postgres.fresh()
    with Database(url) as database, Database(url, busy=20.0) as second:
        with pytest.raises(Unavailable, match="stood still for too long, nothing was changed"), database.transaction():
            publish(database, 1)
            publish(second, 2)  # waits until the server has given the first one up
            publish(database, 3)
        assert whole(url) == 1
        publish(database, 3)
    assert whole(url) == 2


def test_only_one_holds_a_claim_and_it_ends_with_its_connection(postgres):
    url = postgres.fresh()
    with Database(url) as first, Database(url) as second:
        assert first.claim(7) and first.claim(7)
        assert not second.claim(7)
        assert second.claim(8)
    with Database(url) as third:
        assert third.claim(7)


def test_a_claim_is_taken_again_with_the_connection_or_its_holder_stops(postgres):
    url = postgres.fresh()
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
    with Database(url) as first:
        assert first.claim(7)
        as_owner(url, cut)
        with pytest.raises(Unavailable):
            ledger.last(first)
        assert ledger.last(first) is None  # connected again
        with Database(url) as second:
            assert not second.claim(7)
        as_owner(url, cut)
        with pytest.raises(Unavailable):
            ledger.last(first)
        with Database(url) as second:
            assert second.claim(7)
            with pytest.raises(Unavailable, match="another machine has taken over"):
                ledger.last(first)
        assert ledger.last(first) is None


def test_a_claim_on_a_file_is_always_given(tmp_path):
    with Database(tmp_path / "state.db") as first, Database(tmp_path / "state.db") as second:
        assert first.claim(7) and second.claim(7)
