"""The state: one SQLite file in WAL mode, or a PostgreSQL database that several machines share.

Readers never wait and writers queue, on both: SQLite by ``BEGIN IMMEDIATE``, PostgreSQL by one advisory lock that is
held until the transaction ends. So whoever checks and then writes, in one transaction, is right about what it saw.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Executable, Row, Table, create_engine, func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from guideway.core.errors import Unavailable
from guideway.store import migrations, versions
from guideway.store.address import Address
from guideway.store.causes import explained, not_text

_WRITERS = 0x6775696465776179
"""The advisory lock that writers of one PostgreSQL database queue for; its bytes spell the name of the product."""
_ABANDONED = 60.0
"""Seconds after which PostgreSQL ends a transaction whose process stands still: others wait for its lock."""


class Database:
    """A connection for one thread, opened again after it broke. Rows know their columns by name (``row.body``).

    Args:
        where: the SQLite file, or a URL: ``sqlite:///FILE`` or ``postgresql://USER@HOST/NAME``.
        busy: seconds that a writer waits for another one.

    Raises:
        SpecError: the URL cannot be meant.
        Unavailable: no driver, no server, no permission, another holds it for too long, or a newer schema.
        Corrupt: the SQLite file is damaged.
    """

    def __init__(self, where: Path | str, *, busy: float = 10.0) -> None:
        self.address = Address.of(where)
        self._busy = busy
        self._claims: set[int] = set()
        self._inside = False
        self._engine = _engine(self.address, busy)
        self._connection: Connection | None = None
        try:
            self._migrate()
        except BaseException:
            self.close()
            raise

    @property
    def in_transaction(self) -> bool:
        """Is a transaction of ours open?"""
        return self._inside

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return str(self._engine.dialect.name)

    def close(self) -> None:
        """Give the connection back."""
        self._drop()
        self._engine.dispose()

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def rows(self, statement: Executable) -> list[Row[Any]]:
        """All rows of a query."""
        with self._explained():
            return list(self._connected().execute(statement).all())

    def row(self, statement: Executable) -> Row[Any] | None:
        """The first row of a query, or None."""
        with self._explained():
            return self._connected().execute(statement).first()

    def execute(self, statement: Executable) -> int:
        """Run one statement, inside the open transaction if there is one; how many rows it changed."""
        with self._explained():
            return int(getattr(self._connected().execute(statement), "rowcount", 0))

    def put(self, table: Table, **values: Any) -> int:
        """Insert a row, or change the one that has the same primary key."""
        statement = self._insert(table).values(values)
        keys = list(table.primary_key.columns)
        changed = {name: statement.excluded[name] for name in values if table.c[name] not in keys}
        return self.execute(statement.on_conflict_do_update(index_elements=keys, set_=changed))

    def put_newest(self, table: Table, rows: Sequence[Mapping[str, Any]], newest: str) -> int:
        """Insert *rows*, or change those with the same primary keys, unless the row has a later value in *newest*.

        No two of *rows* have the same primary key. One statement, so that many cost little more than one.
        """
        if not rows:
            return 0
        statement = self._insert(table).values(list(rows))
        keys = list(table.primary_key.columns)
        changed = {name: statement.excluded[name] for name in rows[0] if table.c[name] not in keys}
        later = statement.excluded[newest] >= table.c[newest]
        return self.execute(statement.on_conflict_do_update(index_elements=keys, set_=changed, where=later))

    def put_once(self, table: Table, **values: Any) -> int:
        """Insert a row unless one with the same primary key is there; 1 when it was inserted."""
        statement = self._insert(table).values(values)
        return self.execute(statement.on_conflict_do_nothing(index_elements=list(table.primary_key.columns)))

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Database]:
        """Everything inside happens or nothing does. Nested calls join the outer one."""
        if self._inside:
            yield self
            return
        self._begin()
        try:
            yield self
            with self._explained():
                self._connected().exec_driver_sql("COMMIT")
            self._inside = False
        except BaseException:
            self._roll_back()
            raise

    def claim(self, number: int) -> bool:
        """Be the only one on any machine who holds *number*, until we close; False when somebody else does.

        On SQLite always True: who shares a file shares a machine, and a lock file serves there. A claim whose
        connection broke is claimed again before the next statement runs.
        """
        if self.dialect == "sqlite":
            return True
        found = self.row(select(func.pg_try_advisory_lock(number)))
        if found is None or not found[0]:
            return False
        self._claims.add(number)
        return True

    def _insert(self, table: Table) -> Any:
        """The dialect's own INSERT: only that one knows ON CONFLICT."""
        if self.dialect == "sqlite":
            from sqlalchemy.dialects.sqlite import insert
        else:
            from sqlalchemy.dialects.postgresql import insert  # type: ignore[assignment]
        return insert(table)

    def _begin(self) -> None:
        """Start a transaction as the only writer."""
        with self._explained():
            connection = self._connected()
            if self.dialect == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                self._inside = True
                return
            connection.exec_driver_sql("BEGIN ISOLATION LEVEL READ COMMITTED")
            self._inside = True
        try:
            self.row(select(func.pg_advisory_xact_lock(_WRITERS)))
        except BaseException:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        """End the transaction, whatever is left of it."""
        self._inside = False
        if self._connection is None:
            return
        try:
            self._connection.exec_driver_sql("ROLLBACK")
        except DBAPIError:  # the server is gone, or SQLite has rolled back by itself
            if self.dialect != "sqlite":
                self._drop()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """What the driver says, in people's words; a broken connection is given up."""
        try:
            yield
        except DBAPIError as error:
            if error.connection_invalidated:
                self._drop()
            raise explained(error.orig or error, self.address) from None
        except UnicodeEncodeError:
            raise not_text(self.address) from None

    def _connected(self) -> Connection:
        """The connection; a transaction that lost its own is over.

        Raises:
            Unavailable: it is.
        """
        if self._connection is None:
            if self._inside:
                raise Unavailable("the connection was lost, nothing was changed", where=self.address.label)
            self._connection = self._engine.connect()
            try:
                self._prepare(self._connection)
            except BaseException:
                self._drop()
                raise
        return self._connection

    def _prepare(self, connection: Connection) -> None:
        if self.dialect == "sqlite":
            for pragma in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", "PRAGMA foreign_keys=ON"):
                connection.exec_driver_sql(pragma)
            return
        settings = {"lock_timeout": self._busy, "idle_in_transaction_session_timeout": _ABANDONED}
        connection.execute(
            select(*(func.set_config(name, str(int(seconds * 1000)), False) for name, seconds in settings.items()))
        )
        for number in self._claims:
            if not connection.execute(select(func.pg_try_advisory_lock(number))).scalar():
                raise Unavailable("another machine has taken over", where=self.address.label)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(DBAPIError):
                connection.close()

    def _migrate(self) -> None:
        known = migrations.MIGRATIONS
        if self._version() == len(known):
            return
        with self.transaction(), self._explained():
            connection = self._connected()
            for number in range(self._version(), len(known)):  # asked again: another process may have been first
                self._apply(connection, number + 1, known[number])
            versions.write(connection, len(known))

    def _apply(self, connection: Connection, number: int, migration: migrations.Migration) -> None:
        try:
            migration.apply(connection)
        except Exception as error:
            cause = explained(getattr(error, "orig", None) or error, self.address)
            raise type(cause)(
                f"migration {number} ({migration.name}) failed, nothing was changed: {cause.what}",
                where=cause.where,
                try_this=cause.try_this,
            ) from None

    def _version(self) -> int:
        """The schema that is there.

        Raises:
            Unavailable: it is newer than ours.
        """
        with self._explained():
            version = versions.read(self._connected())
        if version > len(migrations.MIGRATIONS):
            raise Unavailable(
                f"this state was written by a newer Guideway (schema {version}, "
                f"this one knows {len(migrations.MIGRATIONS)})",
                where=self.address.label,
                try_this="upgrade guideway",
            )
        return version


def _engine(address: Address, busy: float) -> Engine:
    """One connection at a time, in autocommit: transactions are begun and ended by us, in plain sight."""
    options: dict[str, Any] = {"timeout": busy, "check_same_thread": True}
    if address.file is None:
        options = {
            "connect_timeout": max(2, int(busy)),
            "application_name": "guideway",
            "client_encoding": "utf8",
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
        }
    try:
        return create_engine(
            address.url, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args=options, hide_parameters=True
        )
    except ImportError:
        raise Unavailable(
            "the driver for PostgreSQL is not installed",
            where=address.label,
            try_this="pip install 'guideway[postgres]'",
        ) from None
