"""Routing: the arm by weight, the replica by load, and which route replaces which."""

from __future__ import annotations

import random

import msgspec
import pytest
from gateway_rig import OPTIONS, SECRET, route
from hypothesis import given
from hypothesis import strategies as st

from guideway.core.launch import Probe
from guideway.core.route import Endpoint
from guideway.gateway.backend import Backend
from guideway.gateway.plane import Plane
from guideway.gateway.routing import choose, compile_route, read_route, replaces


def table(*arguments, **options):
    return compile_route(route(*arguments, **options), Backend)


def backends(*loads):
    made = tuple(Backend(Endpoint("127.0.0.1", 1 + number)) for number in range(len(loads)))
    for one, load in zip(made, loads, strict=True):
        one.outstanding = load
    return made


def test_the_candidates_share_of_5000_draws_is_its_weight():
    dice = random.Random(20)
    compiled = table([1], [2], weight=0.3)
    share = sum(compiled.draw(dice.random()).name == "candidate" for _ in range(5000)) / 5000
    assert share == pytest.approx(0.3, abs=0.02)


@given(st.floats(0, 1, exclude_max=True), st.floats(0, 1))
def test_an_arm_is_drawn_by_weight_and_the_extremes_are_exact(uniform, weight):
    assert (table([1], [2], weight=weight).draw(uniform).name == "candidate") is (uniform < weight)
    assert table([1], [2], weight=0.0).draw(uniform).name == "stable"
    assert table([1], [2], weight=1.0).draw(uniform).name == "candidate"


def test_a_candidate_without_endpoints_gets_nothing():
    assert table([1], [], weight=1.0).draw(0.0).name == "stable"
    assert table([], [], weight=1.0).draw(0.0) is None


def test_a_repeated_request_stays_in_its_arm_while_that_arm_exists():
    both, alone = table([1], [2], weight=0.5), table([1])
    for name in ("stable", "candidate"):
        arm = getattr(both, name)
        assert both.again(arm).name == name
        assert alone.again(arm).name == "stable"
    assert table([]).again(both.candidate) is None


def test_the_least_outstanding_is_chosen():
    assert choose(backends(3, 1, 2), avoid=None, now=0.0, turn=0).endpoint.port == 2


def test_equals_take_turns():
    equal = backends(0, 0, 0)
    ports = [choose(equal, avoid=None, now=0.0, turn=turn).endpoint.port for turn in range(6)]
    assert sorted(ports) == [1, 1, 2, 2, 3, 3]


@given(
    st.lists(st.integers(0, 5), min_size=2, max_size=6),
    st.integers(0, 100),
    st.data(),
)
def test_the_choice_avoids_the_one_that_failed_and_no_other_usable_one_has_less_to_do(loads, turn, data):
    some = backends(*loads)
    avoid = data.draw(st.sampled_from((None, *some)))
    for one in data.draw(st.sets(st.sampled_from(some))):
        one.ejected_until = 5.0
    chosen = choose(some, avoid=avoid, now=1.0, turn=turn)
    assert chosen is not avoid
    usable = [one for one in some if one is not avoid and one.ejected_until <= 1.0]
    assert chosen in (usable or some)
    assert all(chosen.outstanding <= one.outstanding for one in usable)


def test_the_only_backend_is_tried_again_even_when_it_failed():
    (only,) = some = backends(0)
    only.ejected_until = 9.0
    assert choose(some, avoid=only, now=0.0, turn=0) is only


def test_three_failures_in_a_row_eject_for_a_second_and_a_success_forgets_them():
    (one,) = backends(0)
    one.failed(1.0)
    one.failed(1.0)
    one.connected()
    one.failed(1.0)
    one.failed(1.0)
    assert one.ejected_until == 0.0
    one.failed(1.0)
    assert one.ejected_until == 2.0


@given(*[st.tuples(st.integers(0, 4), st.integers(0, 4))] * 2)
def test_only_a_higher_epoch_and_revision_replaces(new, old):
    first, second = (route(epoch=epoch, revision=revision) for epoch, revision in (new, old))
    assert replaces(first, second) is (new > old)
    assert replaces(first, None)


def plane():
    return Plane(OPTIONS, clock=lambda: 0.0, wall=lambda: 0.0, uniform=lambda: 0.0, random_bytes=bytes, secret=SECRET)


def test_an_older_route_file_changes_nothing():
    one = plane()
    one.set_route(msgspec.json.encode(route([1], epoch=2, revision=1)))
    one.set_route(msgspec.json.encode(route([2], epoch=1, revision=9)))
    assert [backend.endpoint.port for backend in one.table.backends()] == [1]


def test_an_endpoint_that_stays_in_the_route_keeps_its_counters():
    one = plane()
    one.set_route(msgspec.json.encode(route([1, 2], revision=1)))
    kept = one.table.backends()[1]
    kept.outstanding = 3
    one.set_route(msgspec.json.encode(route([2, 3], [2], weight=0.1, revision=2)))
    assert one.table.backends()[0] is one.table.backends()[2] is kept


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"model":"a"}', b'{"weight": 2}'])
def test_what_is_no_route_is_refused(text):
    with pytest.raises(ValueError):
        read_route(text)


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_port_that_cannot_be_is_refused(port):
    with pytest.raises(ValueError, match="port"):
        read_route(msgspec.json.encode(route([1], [port])))


@pytest.mark.parametrize("weight", [-0.1, 1.1])
def test_a_weight_outside_0_to_1_is_refused(weight):
    with pytest.raises(ValueError, match="weight"):
        read_route(msgspec.json.encode(route(weight=weight)))


def test_callers_are_looked_at_only_where_the_route_says_that_they_are_the_unit():
    drawn = msgspec.structs.replace(route([1], [2], weight=0.5), rollout="r1")
    asked = {"request": set(), "caller": set()}
    for unit, arms in asked.items():
        compiled = compile_route(msgspec.structs.replace(drawn, unit=unit), Backend)
        for uniform in (0.1, 0.9):
            assignment, arm = compiled.assign(key="a caller", uniform=uniform)
            assert (assignment.arm, bool(assignment.key)) == (arm.name, unit == "caller")
            arms.add(arm.name)
    assert (len(asked["request"]), len(asked["caller"])) == (2, 1)


def test_replicas_of_an_arm_know_each_other_and_let_go_when_they_retire():
    compiled = table([1, 2], [3], weight=0.5)
    first, second, other = compiled.backends()
    assert (first.peers, other.peers) == ((first, second), (other,))
    first.retire()
    assert first.peers == ()


def test_each_backend_is_asked_the_question_of_its_own_release():
    both = route([1], [2], weight=0.5)
    probe = Probe("/v1/completions", "{}")
    asked = msgspec.structs.replace(both, candidate=msgspec.structs.replace(both.candidate, probe=probe))
    read = read_route(msgspec.json.encode(asked))
    assert [found for _, found in compile_route(read, Backend).probed()] == [None, probe]
