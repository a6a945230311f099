from __future__ import annotations

import pytest
from watch_rig import Liar, Prometheus

METRICS = r"""
errors_total{release="sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"} 7
errors_total{release="sha256:5555555555555555555555555555555555555555555555555555555555555555"} 2
strange{environment="a\"b\\c'd.e\nf"} 1
strange{environment="a\"b\\c'dXe\nf"} 3
zero 0
"""


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory):
    """A real server with some metrics; the tests of a module share it."""
    made = Prometheus(tmp_path_factory.mktemp("prometheus"), METRICS)
    yield made
    made.close()


@pytest.fixture
def own_prometheus(tmp_path):
    """A real server with the metric ``load``, for a test that harms it."""
    made = Prometheus(tmp_path, "load 3\n")
    yield made
    made.close()


@pytest.fixture
def liar():
    """Makes servers that answer as they are told."""
    some = []

    def make(*pieces, **more):
        some.append(Liar(*pieces, **more))
        return some[-1]

    yield make
    for one in some:
        one.close()
