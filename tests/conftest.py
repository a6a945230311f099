"""Tests that need a server, or a library of one engine alone, run where it is installed.

In CI a missing one fails; elsewhere it is told aloud. llama.cpp is in no package source that CI has, a Ray cluster
takes minutes to begin on two cores and sometimes does not, and bitsandbytes brings kernels for every GPU, so their
tests are left out there too, as loudly.
"""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from guideway.engines import llamacpp

POSTGRES = Path("/usr/lib/postgresql")
OPTIONAL = frozenset({"Ray", "bitsandbytes", "llama.cpp"})
"""Servers that CI need not have."""
MISSING = pytest.StashKey[dict[str, int]]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what asks for a server that this machine lacks; in CI only optional ones, and the others fail there."""
    lacks = _lacking()
    if not lacks:
        return
    left_out = {item: needed & lacks for item in items if (needed := _needed(item)) & lacks}
    config.hook.pytest_deselected(items=list(left_out))
    items[:] = [item for item in items if item not in left_out]
    counts = {server: sum(server in needed for needed in left_out.values()) for server in sorted(lacks)}
    config.stash[MISSING] = counts


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    """Say aloud what was left out."""
    counts = config.stash.get(MISSING, {})
    return [f"{server} is not installed: {count} tests on it were left out" for server, count in counts.items()]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The same at the end, where a quiet run is read; with several workers the servers are looked for again."""
    for server in sorted(_lacking()):
        terminalreporter.write_line(f"{server} is not installed: its tests were left out", yellow=True)


def _lacking() -> set[str]:
    """The servers whose tests are left out."""
    lacks = {server for server, here in _servers().items() if not here}
    return lacks & OPTIONAL if os.environ.get("CI") else lacks


@pytest.fixture(scope="session")
def llama() -> str:
    """The version of llama.cpp; tests that ask for it are left out where there is none."""
    return llamacpp.version()


@pytest.fixture(scope="session")
def four_bits() -> None:
    """Tests that ask for it hold a model in four bits; they are left out where bitsandbytes is not installed."""


def _servers() -> dict[str, bool]:
    registry = shutil.which("docker-registry") and shutil.which("htpasswd")
    prometheus = shutil.which("prometheus")
    return {
        "OpenVINO": find_spec("openvino") is not None,
        "PostgreSQL": any(POSTGRES.glob("*/bin/initdb")),
        "docker-registry": bool(registry),
        "Prometheus": bool(prometheus),
        "llama.cpp": bool(shutil.which("llama-server") and shutil.which("llama-quantize")),
        "Ray": find_spec("ray") is not None,
        "bitsandbytes": find_spec("bitsandbytes") is not None,
    }


def _needed(item: pytest.Item) -> set[str]:
    """The servers that one test asks for: by its fixtures, and by the kind of state that it was given."""
    fixtures = set(getattr(item, "fixturenames", ()))
    where = getattr(getattr(item, "callspec", None), "params", {}).get("where")
    found = {"PostgreSQL"} if where == "postgresql" or "postgres" in fixtures else set()
    found |= {"docker-registry"} if fixtures & {"registry", "_shared_registry", "guarded"} else set()
    found |= {"llama.cpp"} if "llama" in fixtures else set()
    found |= {"Ray"} if "ray_cluster" in fixtures else set()
    found |= {"bitsandbytes"} if "four_bits" in fixtures else set()
    found |= {"OpenVINO"} if "openvino_models" in fixtures else set()
    return found | ({"Prometheus"} if fixtures & {"prometheus", "own_prometheus"} else set())
