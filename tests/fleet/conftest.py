from __future__ import annotations

import pytest
from fleet_rig import Fleet


@pytest.fixture
def fleet(tmp_path, monkeypatch):
    monkeypatch.delenv("GUIDEWAY_HOME", raising=False)
    one = Fleet(tmp_path / "home")
    yield one
    one.end()
