"""One project, trained and served once for all journeys."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from journey_rig import Service, eventually


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A project from the template, up in `dev` with two replicas."""
    folder = tmp_path_factory.mktemp("journey") / "days"
    Service(folder.parent)("init", "days")
    service = Service(folder)
    service.first_events = service.up()  # type: ignore[attr-defined]
    yield service
    service("down")
    eventually(lambda: not service.processes())


@pytest.fixture
def service(built: Service) -> Iterator[Service]:
    """The running project; what a test changed in its spec is put back."""
    path = built.folder / "guideway.yaml"
    before = path.read_bytes()
    yield built
    path.write_bytes(before)
