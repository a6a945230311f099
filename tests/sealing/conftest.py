"""Tests that ask for ``where`` run on SQLite and on PostgreSQL."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "store"))

from postgres_rig import postgres, where

__all__ = ["postgres", "where"]
