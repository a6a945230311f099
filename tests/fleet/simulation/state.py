"""The real database, with points at which whoever uses it may be killed, overtaken or refused."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from guideway.store.database import Database

Point = Callable[[str], None]


class PointedDatabase(Database):
    """Tells *point* what it is about to do: ``read``, ``begin``, ``commit``, ``committed``, ``write``, ``written``."""

    def __init__(self, where: Path, point: Point) -> None:
        self.point: Point = lambda what: None
        super().__init__(where)
        self.point = point

    def rows(self, statement: Any) -> list[Any]:
        self._outside("read")
        return super().rows(statement)

    def row(self, statement: Any) -> Any:
        self._outside("read")
        return super().row(statement)

    def execute(self, statement: Any) -> int:
        self._outside("write")
        count = super().execute(statement)
        self._outside("written")
        return count

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Database]:
        if self.in_transaction:
            yield self
            return
        self.point("begin")
        with super().transaction():
            yield self
            self.point("commit")
        self.point("committed")

    def _outside(self, what: str) -> None:
        if not self.in_transaction:
            self.point(what)
