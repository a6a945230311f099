"""Files that clients upload, and batches of requests. Everything asked for by a client is asked with its owner."""

from __future__ import annotations

from typing import Literal, TypeVar

import msgspec
from sqlalchemy import Select, Table, and_, delete, or_, select

from guideway.store import tables
from guideway.store.database import Database

Purpose = Literal["batch", "batch_output"]
Status = Literal["validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"]
FINAL: tuple[Status, ...] = ("failed", "completed", "expired", "cancelled")
"""States that are never left."""

_FILES, _BATCHES = tables.files, tables.batches
_Noun = TypeVar("_Noun", bound=msgspec.Struct)


class StoredFile(msgspec.Struct, frozen=True):
    """One file of one tenant. ``bytes`` is its size; times are seconds since 1970; ``filename`` is never a path."""

    id: str
    owner: str
    purpose: Purpose
    filename: str
    bytes: int
    created: float
    expires: float


class Counts(msgspec.Struct, frozen=True):
    """How many lines there are, and how many were answered well or badly."""

    total: int = 0
    completed: int = 0
    failed: int = 0


class LineError(msgspec.Struct, frozen=True):
    """What is wrong with an input file. ``line`` counts from 1; None: with the file as a whole."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None


class Batch(msgspec.Struct, frozen=True):
    """Requests that run beside live traffic, for the key ``key`` of the tenant ``owner``.

    ``models`` are those that the key may use, empty for all. ``output_seconds`` is how long results are kept, None
    for as long as other files. ``at`` tells when each state was reached, in seconds since 1970.
    """

    id: str
    owner: str
    key: str
    endpoint: str
    input_file_id: str
    created: float
    expires: float
    status: Status = "validating"
    models: tuple[str, ...] = ()
    metadata: dict[str, str] | None = None
    output_seconds: int | None = None
    model: str | None = None
    errors: tuple[LineError, ...] = ()
    counts: Counts = Counts()
    output_file_id: str | None = None
    error_file_id: str | None = None
    at: dict[Status, float] = msgspec.field(default_factory=dict)

    @property
    def final(self) -> bool:
        """Is this the end of it?"""
        return self.status in FINAL

    def reached(self, status: Status, now: float) -> Batch:
        """The same batch in another state."""
        return msgspec.structs.replace(self, status=status, at={**self.at, status: now})


class Page(msgspec.Struct, frozen=True):
    """Which part of a list is asked for. ``after`` is the id that was the last one of the page before."""

    limit: int
    after: str | None = None
    ascending: bool = False


def put_file(database: Database, file: StoredFile) -> None:
    """Keep a file's row."""
    database.put(
        _FILES,
        id=file.id,
        owner=file.owner,
        purpose=file.purpose,
        created=file.created,
        expires=file.expires,
        body=_text(file),
    )


def file(database: Database, owner: str, id: str) -> StoredFile | None:
    """A file of *owner*, or None: that of another is not there."""
    row = database.row(select(_FILES.c.body).where(_FILES.c.id == id, _FILES.c.owner == owner))
    return msgspec.json.decode(row.body, type=StoredFile) if row else None


def files(database: Database, owner: str, page: Page, purpose: str | None = None) -> list[StoredFile]:
    """Files of *owner*, one more than the page holds if there are more."""
    query = select(_FILES.c.body).where(_FILES.c.owner == owner)
    if purpose is not None:
        query = query.where(_FILES.c.purpose == purpose)
    return _listed(database, query, _FILES, owner, page, noun=StoredFile)


def drop_file(database: Database, id: str) -> None:
    """Forget a file."""
    database.execute(delete(_FILES).where(_FILES.c.id == id))


def file_ids(database: Database) -> set[str]:
    """The ids of all files of all tenants."""
    return {row.id for row in database.rows(select(_FILES.c.id))}


def overdue_files(database: Database, now: float) -> list[str]:
    """The ids of files whose time is over at *now*, but not the inputs of batches that still run."""
    running = select(_BATCHES.c.input).where(_BATCHES.c.status.not_in(FINAL))
    return [
        row.id for row in database.rows(select(_FILES.c.id).where(_FILES.c.expires <= now, _FILES.c.id.not_in(running)))
    ]


def put_batch(database: Database, batch: Batch, results: tuple[StoredFile, ...] = ()) -> None:
    """Write the state of a batch, together with the rows of its result files."""
    with database.transaction():
        for one in results:
            put_file(database, one)
        database.put(
            _BATCHES,
            id=batch.id,
            owner=batch.owner,
            status=batch.status,
            input=batch.input_file_id,
            created=batch.created,
            body=_text(batch),
        )


def batch(database: Database, owner: str, id: str) -> Batch | None:
    """A batch of *owner*, or None: that of another is not there."""
    row = database.row(select(_BATCHES.c.body).where(_BATCHES.c.id == id, _BATCHES.c.owner == owner))
    return msgspec.json.decode(row.body, type=Batch) if row else None


def batches(database: Database, owner: str, page: Page) -> list[Batch]:
    """Batches of *owner*, one more than the page holds if there are more."""
    query = select(_BATCHES.c.body).where(_BATCHES.c.owner == owner)
    return _listed(database, query, _BATCHES, owner, page, noun=Batch)


def unfinished(database: Database) -> list[Batch]:
    """Batches of all tenants that are in no final state, the oldest first."""
    query = select(_BATCHES.c.body).where(_BATCHES.c.status.not_in(FINAL)).order_by(_BATCHES.c.created, _BATCHES.c.id)
    return [msgspec.json.decode(row.body, type=Batch) for row in database.rows(query)]


def in_use(database: Database, file_id: str) -> bool:
    """Is the file the input of a batch that is not at its end?"""
    query = select(_BATCHES.c.id).where(_BATCHES.c.input == file_id, _BATCHES.c.status.not_in(FINAL))
    return database.row(query) is not None


def drop_old_batches(database: Database, before: float) -> int:
    """Forget batches that were made before a time and are at their end; how many."""
    return database.execute(delete(_BATCHES).where(_BATCHES.c.created < before, _BATCHES.c.status.in_(FINAL)))


def _listed(
    database: Database, query: Select[tuple[str]], table: Table, owner: str, page: Page, *, noun: type[_Noun]
) -> list[_Noun]:
    """A page of rows by age. An ``after`` that is not the owner's gives an empty page, as if it were the last one."""
    created, id = table.c.created, table.c.id
    if page.after is not None:
        last = database.row(select(created).where(id == page.after, table.c.owner == owner))
        if last is None:
            return []
        if page.ascending:
            query = query.where(or_(created > last.created, and_(created == last.created, id > page.after)))
        else:
            query = query.where(or_(created < last.created, and_(created == last.created, id < page.after)))
    order = (created.asc(), id.asc()) if page.ascending else (created.desc(), id.desc())
    rows = database.rows(query.order_by(*order).limit(page.limit + 1))
    return [msgspec.json.decode(row.body, type=noun) for row in rows]


def _text(value: msgspec.Struct) -> str:
    return msgspec.json.encode(value).decode()
