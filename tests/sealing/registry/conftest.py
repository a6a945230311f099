"""Fixtures of the tests with registries."""

from __future__ import annotations

import re

import pytest
from fake_registry import Fake
from registry_rig import Authority, Registry, Store

from guideway.sealing.registry.http import Http


@pytest.fixture
def maker(tmp_path) -> Store:
    """Where releases are sealed."""
    return Store(tmp_path / "maker")


@pytest.fixture
def user(tmp_path, maker) -> Store:
    """An empty store that trusts the maker."""
    return Store(tmp_path / "user").trust(maker)


@pytest.fixture(scope="module")
def _shared_registry(tmp_path_factory):
    registry = Registry(tmp_path_factory.mktemp("real") / "registry")
    yield registry
    registry.stop()


@pytest.fixture
def registry(_shared_registry, request):
    """The real registry; each test has a repository of its own."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:100].strip("-")
    _shared_registry.repository = name
    _shared_registry.here = lambda tag="v1": _shared_registry.reference(f"{name}/poet:{tag}")
    return _shared_registry


@pytest.fixture(scope="session")
def authority(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority") / "ca")


@pytest.fixture
def fake():
    server = Fake()
    yield server
    server.stop()


@pytest.fixture
def requests(monkeypatch) -> list[tuple[str, str]]:
    """Every request that goes on the wire: method and URL."""
    seen: list[tuple[str, str]] = []
    real = Http._put_on_wire

    def noted(self, method, url, headers, body):
        seen.append((method, url.partition("?")[0]))
        return real(self, method, url, headers, body)

    monkeypatch.setattr(Http, "_put_on_wire", noted)
    return seen
