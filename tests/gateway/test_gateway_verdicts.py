"""What the prober tells the other workers, and what they make of it."""

from __future__ import annotations

import pytest

from guideway.core.route import Endpoint
from guideway.gateway.backend import Backend
from guideway.gateway.verdicts import hear, tell


def backends():
    some = tuple(Backend(Endpoint(host, 8000)) for host in ("127.0.0.1", "::1", "10.0.0.3"))
    for one in some:
        one.peers = some
    return some


def test_an_ejection_travels_to_another_worker_whose_clock_began_elsewhere():
    here, there = backends(), backends()
    here[1].eject(50.0, "probe", 14.0)
    hear(tell(here, now=50.0, wall=1000.0), there, now=7.0, wall=1000.5)
    assert [one.why for one in there] == ["", "probe", ""]
    assert there[1].ejected_until == pytest.approx(7.0 + 13.5)


def test_its_end_travels_too_but_takes_back_nothing_that_the_worker_met_itself():
    there = backends()
    there[0].eject(7.0, "probe", 14.0)
    there[1].eject(7.0, "connect", 1.0)
    hear(tell(backends(), now=50.0, wall=1000.0), there, now=7.5, wall=1000.0)
    assert [one.why for one in there] == ["", "connect", ""]


def test_only_what_a_probe_found_is_told():
    here = backends()
    here[0].eject(50.0, "connect", 14.0)
    here[1].eject(50.0, "probe", 1.0)
    assert tell(here, now=60.0, wall=1000.0) == b'{"until":{}}'


def test_a_file_that_is_old_ejects_nobody():
    here, there = backends(), backends()
    here[0].eject(50.0, "probe", 14.0)
    hear(tell(here, now=50.0, wall=1000.0), there, now=7.0, wall=1015.0)
    assert there[0].why == ""


def test_the_last_one_stays_whatever_the_file_says():
    here, there = backends(), backends()
    for one in here:
        one.peers = ()
        one.eject(50.0, "probe", 14.0)
    hear(tell(here, now=50.0, wall=1000.0), there, now=7.0, wall=1000.0)
    assert sum(one.why == "" for one in there) == 1


@pytest.mark.parametrize("data", [b"", b"[]", b'{"until":{"a":"x"}}', b"\xff"])
def test_what_is_no_such_file_is_refused(data):
    with pytest.raises(ValueError):
        hear(data, backends(), now=0.0, wall=0.0)
