"""Migrations: whole or not at all, once, and from every older schema without loss."""

from __future__ import annotations

import contextlib
import multiprocessing
import sqlite3

import msgspec
import pytest
from postgres_rig import as_owner
from sqlalchemy import inspect

from guideway.core.artifact import Artifact, digest_of
from guideway.core.errors import Unavailable
from guideway.core.evidence import Evidence, Subject
from guideway.core.release import Release
from guideway.store import api_keys, evidence, fleet, ledger, migrations, releases, steps, tables
from guideway.store.chain import line_hash
from guideway.store.database import Database
from guideway.store.migrations import Migration

SCHEMA_1 = """
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
    INSERT INTO meta VALUES ('installation', 'abcd');
    INSERT INTO meta VALUES ('epoch', '7');
    CREATE TABLE steps (
        key TEXT PRIMARY KEY, stage TEXT NOT NULL, result TEXT NOT NULL, at REAL NOT NULL);
    CREATE INDEX steps_by_stage ON steps (stage, at);
    CREATE TABLE file_digests (
        path TEXT PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, inode INTEGER NOT NULL,
        digest TEXT NOT NULL);
    CREATE TABLE releases (
        digest TEXT PRIMARY KEY, name TEXT NOT NULL, number INTEGER NOT NULL, body TEXT NOT NULL,
        UNIQUE (name, number));
    CREATE TABLE admissions (
        release TEXT NOT NULL, environment TEXT NOT NULL, verdict TEXT NOT NULL, envelope TEXT NOT NULL,
        at REAL NOT NULL, PRIMARY KEY (release, environment));
    CREATE TABLE environments (name TEXT PRIMARY KEY, body TEXT NOT NULL);
    CREATE TABLE rollouts (
        id TEXT PRIMARY KEY, environment TEXT NOT NULL, phase TEXT NOT NULL, created REAL NOT NULL, body TEXT NOT NULL);
    CREATE INDEX rollouts_by_environment ON rollouts (environment, created);
    CREATE TABLE routes (
        environment TEXT PRIMARY KEY, epoch INTEGER NOT NULL, revision INTEGER NOT NULL, body TEXT NOT NULL);
    CREATE TABLE replicas (
        id TEXT PRIMARY KEY, environment TEXT NOT NULL, release TEXT NOT NULL, state TEXT NOT NULL, body TEXT NOT NULL);
    CREATE TABLE api_keys (
        id TEXT PRIMARY KEY, environment TEXT NOT NULL, body TEXT NOT NULL);
    CREATE TABLE ledger (
        seq INTEGER PRIMARY KEY, at REAL NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL, subject TEXT NOT NULL,
        why TEXT NOT NULL, data TEXT NOT NULL, previous TEXT NOT NULL, hash TEXT NOT NULL);
    PRAGMA user_version = 1;
"""
"""As version 0.1 made it. It must be readable for ever, so it is written down here and not taken from the code."""
FACT = Evidence("exact_match", 0.9, "share", Subject("artifact", "sha256:" + "a" * 64, "compress"), n=3, at=5.0)


@pytest.fixture
def old(tmp_path):
    """A state of version 0.1 with something in every table that matters."""
    path = tmp_path / "state.db"
    result = steps.StepResult("k", "evaluate", Artifact.of([]), (FACT, FACT), (), "sha256:e", 1.0, 5.0)
    release = Release(digest="sha256:" + "1" * 64, name="m", number=1, created=1.0)
    with contextlib.closing(sqlite3.connect(path)) as plain:
        plain.executescript(SCHEMA_1)
        plain.execute("INSERT INTO steps VALUES (?,?,?,?)", ("k", "evaluate", text(result), 5.0))
        plain.execute("INSERT INTO releases VALUES (?,?,?,?)", (release.digest, "m", 1, text(release)))
        plain.execute("INSERT INTO admissions VALUES (?,?,?,?,?)", (release.digest, "dev", "PASS", "sha256:f", 2.0))
        key = '{"id":"k1","digest":"d","label":"me","revoked":false}'
        plain.execute("INSERT INTO api_keys VALUES (?,?,?)", ("k1", "dev", key))
        previous = "abcd"
        for seq in range(1, 4):
            fields = (seq, float(seq), "guideway", "seal", "s", "", "{}", previous)
            previous = line_hash(fields)
            plain.execute("INSERT INTO ledger VALUES (?,?,?,?,?,?,?,?,?)", (*fields, previous))
        plain.commit()
    return path


def text(value) -> str:
    return msgspec.json.encode(value).decode()


def shape(database):
    """Tables, their columns, keys and indexes, as the database itself tells them."""
    found = inspect(database._connected())
    return {
        table: (
            {one["name"]: affinity(str(one["type"])) for one in found.get_columns(table)},
            found.get_pk_constraint(table)["constrained_columns"],
            {
                one["name"]: one["column_names"]
                for one in found.get_indexes(table)
                if "duplicates_constraint" not in one
            },
            [one["column_names"] for one in found.get_unique_constraints(table)],
        )
        for table in found.get_table_names()
        if table != "schema_version"
    }


def affinity(kind: str) -> str:
    kind = kind.partition(" COLLATE")[0]
    same = {"REAL": "DOUBLE", "DOUBLE PRECISION": "DOUBLE", "BIGINT": "INTEGER"}
    return same.get(kind, kind)


def test_an_old_state_keeps_everything(old):
    with Database(old) as database:
        assert ledger.verify(database) == 3
        assert ledger.append(database, at=9.0, who="ann", what="build", subject="s").seq == 4
        assert ledger.verify(database) == 4
        assert ledger.installation(database) == "abcd"
        assert fleet.take_epoch(database) == 8
        assert releases.find(database, "m:1").name == "m"
        assert releases.admission(database, "sha256:" + "1" * 64, "dev") == "sha256:f"
        assert steps.step(database, "k").evidence == (FACT, FACT)
        assert [key.label for key in api_keys.all_of(database, "dev")] == ["me"]


def test_the_evidence_of_old_steps_becomes_rows_each_fact_once(old):
    with Database(old) as database:
        (kept,) = evidence.about(database, [FACT.subject.digest])
    assert kept == evidence.Kept(FACT, digest_of(FACT), "sha256:e", "guideway")


def test_an_old_state_gets_the_same_shape_as_a_new_one(old, tmp_path):
    with Database(old) as migrated, Database(tmp_path / "new.db") as new:
        assert shape(migrated) == shape(new)


def test_the_tables_in_the_code_are_those_that_the_migrations_make(database):
    made = shape(database)
    for table in tables.TABLES.sorted_tables:
        columns, key, indexes, unique = made.pop(table.name)
        dialect = database._engine.dialect
        assert columns == {one.name: affinity(str(one.type.compile(dialect))) for one in table.columns}
        assert key == [one.name for one in table.primary_key.columns]
        assert indexes == {one.name: [column.name for column in one.columns] for one in table.indexes}
        assert unique == [["name", "number"]] * (table.name == "releases")
    assert made == {}


def _break(connection) -> None:
    connection.exec_driver_sql("CREATE TABLE extra (a TEXT)")
    connection.exec_driver_sql("INSERT INTO extra VALUES ('half')")
    connection.exec_driver_sql("CREATE NONSENSE")


def _stumble(connection) -> None:
    connection.exec_driver_sql("CREATE TABLE extra (a TEXT)")
    raise KeyError("evidence")


@pytest.mark.parametrize("broken", [_break, _stumble])
def test_a_failed_migration_stops_the_start_names_itself_and_changes_nothing(where, monkeypatch, broken):
    with Database(where) as database:
        before = shape(database)
        ledger.append(database, at=1.0, who="ann", what="build", subject="s")
    good = migrations.MIGRATIONS
    monkeypatch.setattr(migrations, "MIGRATIONS", (*good, Migration("one that is broken", broken)))
    for _ in range(2):
        with pytest.raises(Unavailable) as caught:
            Database(where)
        assert caught.value.what.startswith("migration 4 (one that is broken) failed, nothing was changed: ")
    monkeypatch.setattr(migrations, "MIGRATIONS", good)
    with Database(where) as database:
        assert shape(database) == before
        assert ledger.verify(database) == 1


def test_a_failed_first_start_leaves_an_empty_database(where, monkeypatch):
    monkeypatch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, Migration("broken", _break)))
    with pytest.raises(Unavailable, match="migration 4"):
        Database(where)
    schema = "sqlite_master" if not isinstance(where, str) else "pg_tables WHERE schemaname = 'public'"
    assert as_owner(where, f"SELECT count(*) FROM {schema}") == [(0,)]


def _open(where):
    with Database(where) as opened:
        fleet.take_epoch(opened)


def test_many_processes_may_open_a_new_state_at_once(where):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_open, args=(where,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    with Database(where) as database:
        assert fleet.current_epoch(database) == 4


def test_many_processes_may_migrate_an_old_state_at_once(old):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_open, args=(old,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    with Database(old) as database:
        assert fleet.current_epoch(database) == 11


def test_a_state_of_a_newer_version_is_refused(where, database):
    as_owner(
        where, "PRAGMA user_version = 99" if not isinstance(where, str) else "UPDATE schema_version SET version = 99"
    )
    with pytest.raises(Unavailable, match=r"newer Guideway \(schema 99, this one knows 3\)"):
        Database(where)
