"""One project, trained once for all processes that run journeys, and served once in each."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from journey_rig import Service, eventually

from guideway.kit.files import locked


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A project from the template, up in `dev` with two replicas."""
    base = tmp_path_factory.getbasetemp()
    trained = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "trained"
    folder = tmp_path_factory.mktemp("journey") / "days"
    events = _train(trained)
    shutil.copytree(trained / "days", folder, symlinks=True)
    service = Service(folder)
    service.first_events = events  # type: ignore[attr-defined]
    service.up()
    yield service
    service("down")
    eventually(lambda: not service.processes())


def _train(folder: Path) -> list[dict[str, Any]]:
    """Build the project in *folder*, if no other process did; what the build said."""
    folder.mkdir(exist_ok=True)
    told = folder / "events.jsonl"
    with locked(folder / "lock"):
        if not told.exists():
            Service(folder)("init", "days")
            told.write_text(Service(folder / "days")("build", "--json").stdout, encoding="utf-8")
    return [json.loads(line) for line in told.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def service(built: Service) -> Iterator[Service]:
    """The running project; what a test changed in its spec is put back."""
    path = built.folder / "guideway.yaml"
    before = path.read_bytes()
    yield built
    path.write_bytes(before)
