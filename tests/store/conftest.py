"""Every test that asks for ``database`` or ``where`` runs on SQLite and on PostgreSQL."""

from __future__ import annotations

import pytest
from postgres_rig import postgres, where

from guideway.store.database import Database

__all__ = ["postgres", "where"]


@pytest.fixture
def database(where):
    with Database(where) as opened:
        yield opened
