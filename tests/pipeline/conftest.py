"""A workshop with two fake stages, which run in real processes."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import msgspec
import pytest

from guideway.core.spec import Spec
from guideway.pipeline.run import run
from guideway.pipeline.workshop import open_workshop
from guideway.store.home import Home

FAKES = Path(__file__).parent / "fakes"


class Project:
    """A folder with one source file, its state, and the two fake stages."""

    def __init__(self, root: Path) -> None:
        self.root = root
        if not (root / "a.txt").exists():
            (root / "a.txt").write_text("hello")
        self.stages = {name: importlib.import_module(f"fake_{name}") for name in ("first", "second")}
        self.events: list[object] = []
        self.home = Home.of(root)
        self.shop = open_workshop(self.home, clock=lambda: 1_800_000_000.0)

    def spec(self, *, steps: int = 1, seed: int = 1, mode: str = "") -> Spec:
        plain = {
            "guideway": 1,
            "name": "fake",
            "data": {"sources": [{"path": "a.txt"}], "seed": seed},
            "train": {"steps": steps},
            "policy": {"intended_use": mode},
        }
        return msgspec.convert(plain, Spec)

    def run(self, **changes):
        self.events.clear()
        return run(self.spec(**changes), self.root, self.stages, self.shop, self.events.append)

    def ran(self) -> list[str]:
        path = self.root / "ran"
        lines = path.read_text().split() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(FAKES), prepend=os.pathsep)
    monkeypatch.delenv("GUIDEWAY_HOME", raising=False)
    monkeypatch.setattr(sys, "path", [str(FAKES), *sys.path])
    return Project(tmp_path)
