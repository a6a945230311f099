"""One SQLite file in WAL mode: readers never wait, writers queue, a migration happens whole or not at all."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from guideway.core.errors import Corrupt, GuidewayError, Unavailable

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
    INSERT INTO meta VALUES ('installation', lower(hex(randomblob(16))));
    INSERT INTO meta VALUES ('epoch', '0');
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
    """,
)


class Database:
    """A connection for one thread. Rows come back as ``sqlite3.Row``."""

    def __init__(self, path: Path, *, busy: float = 10.0) -> None:
        self.path = path
        try:
            self._connection = sqlite3.connect(path, timeout=busy, isolation_level=None)
            self._connection.row_factory = sqlite3.Row
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
            self._connection.execute("PRAGMA foreign_keys=ON")
            self._migrate()
        except sqlite3.DatabaseError as error:
            raise _explained(error, path) from None

    def close(self) -> None:
        """Give the connection back."""
        self._connection.close()

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def rows(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        """All rows of a query."""
        return self._connection.execute(sql, values).fetchall()

    def row(self, sql: str, *values: Any) -> sqlite3.Row | None:
        """The first row of a query, or None."""
        found: sqlite3.Row | None = self._connection.execute(sql, values).fetchone()
        return found

    def execute(self, sql: str, *values: Any) -> int:
        """Run one statement, inside the open transaction if there is one; how many rows it changed."""
        return self._connection.execute(sql, values).rowcount

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Database]:
        """Everything inside happens or nothing does. Nested calls join the outer one."""
        if self._connection.in_transaction:
            yield self
            return
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.DatabaseError as error:
            raise _explained(error, self.path) from None
        try:
            yield self
            self._connection.execute("COMMIT")
        except BaseException as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.DatabaseError):
                raise _explained(error, self.path) from None
            raise

    def _migrate(self) -> None:
        version = self._version()
        if version > len(MIGRATIONS):
            raise Unavailable(
                f"this state was written by a newer Guideway (schema {version}, this one knows {len(MIGRATIONS)})",
                where=str(self.path),
                try_this="upgrade guideway",
            )
        if version == len(MIGRATIONS):
            return
        with self.transaction():
            for number in range(self._version(), len(MIGRATIONS)):  # asked again: another process may have been first
                for statement in MIGRATIONS[number].split(";\n"):
                    if statement.strip():
                        self._connection.execute(statement)
                self._connection.execute(f"PRAGMA user_version={number + 1}")

    def _version(self) -> int:
        return int(self._connection.execute("PRAGMA user_version").fetchone()[0])


def _explained(error: sqlite3.DatabaseError, path: Path) -> GuidewayError:
    """The cause in people's words: full disk, damaged file, no permission, or busy."""
    text = str(error)
    if "full" in text or "disk I/O" in text:
        return Unavailable("the disk is full, nothing was changed", where=str(path), try_this="free some space")
    if "malformed" in text or "not a database" in text:
        return Corrupt("the state file is damaged", where=str(path), try_this="restore it from a backup")
    if "locked" in text:
        return Unavailable("another command holds the state", where=str(path), try_this="try again")
    return Unavailable(text, where=str(path))
