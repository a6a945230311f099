from __future__ import annotations

import sys
from pathlib import Path

import pytest
from fleet_rig import Fleet

sys.path += [str(Path(__file__).parents[1] / other) for other in ("store", "gateway")]

from postgres_rig import postgres

__all__ = ["postgres"]


@pytest.fixture
def fleet(tmp_path, monkeypatch):
    monkeypatch.delenv("GUIDEWAY_HOME", raising=False)
    one = Fleet(tmp_path / "home")
    yield one
    one.end()


@pytest.fixture
def fleet_on_a_server(tmp_path, monkeypatch, postgres):
    """The same, with its rows in PostgreSQL."""
    monkeypatch.delenv("GUIDEWAY_HOME", raising=False)
    one = Fleet(tmp_path / "home", postgres.fresh())
    yield one
    one.end()
