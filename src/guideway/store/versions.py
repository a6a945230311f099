"""Which schema a database has: SQLite keeps the number in its header, PostgreSQL in a table of one row."""

from __future__ import annotations

from sqlalchemy import DDL, Column, Connection, Integer, MetaData, Table, delete, func, insert, inspect, select
from sqlalchemy.schema import CreateTable

_TABLE = Table("schema_version", MetaData(), Column("version", Integer, nullable=False))


def read(connection: Connection) -> int:
    """The number of migrations that were made; 0 for an empty database."""
    if connection.dialect.name == "sqlite":
        return int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())
    if not _has_table(connection):
        return 0
    return int(connection.execute(select(func.coalesce(func.max(_TABLE.c.version), 0))).scalar_one())


def write(connection: Connection, version: int) -> None:
    """Note it, inside the caller's transaction."""
    if connection.dialect.name == "sqlite":
        connection.execute(DDL("PRAGMA user_version = %(version)d", context={"version": version}))  # type: ignore[no-untyped-call]
        return
    if not _has_table(connection):
        connection.execute(CreateTable(_TABLE))
    connection.execute(delete(_TABLE))
    connection.execute(insert(_TABLE).values(version=version))


def _has_table(connection: Connection) -> bool:
    """Is it there? Read from the catalogue as a table: ``to_regclass`` may remember, inside a transaction, that it
    was not there before somebody else, for whom we waited, made it."""
    return inspect(connection).has_table(_TABLE.name)
