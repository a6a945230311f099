"""What the controller does next: a table of situations."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guideway.core.launch import Process, Replica
from guideway.core.rollout import EnvironmentState, Phase, Rollout, Shape
from guideway.core.route import Arm, Endpoint, Route
from guideway.core.spec import Gateway
from guideway.core.spec.scale import Scale
from guideway.fleet.decide import (
    Move,
    ReloadGateway,
    RestoreGateway,
    SetRoute,
    Start,
    StartGateway,
    Stop,
    StopGateway,
    decide,
)
from guideway.fleet.view import Beside, Death, Standing, View, is_spare, spare

OLD, NEW = "sha256:old", "sha256:new"
STATE = EnvironmentState("dev", "m", "local", replicas=2, gateway=Gateway())
DOWN = msgspec.structs.replace(STATE, up=False)
ONE = msgspec.structs.replace(STATE, replicas=1)


def replica(id: str, release: str = NEW, state: str = "ready", port: int = 1, since: float = 0.0) -> Replica:
    return Replica(id, "dev", release, port, Process(1, "x"), state, "log", since)


def rollout(phase: Phase, **changes: object) -> Rollout:
    plain = Rollout("r", "dev", NEW, OLD, phase, created=100.0, updated=100.0, ready_within=60.0, bake=300.0)
    return msgspec.structs.replace(plain, **changes)


def route(release: str, *ports: int, model: str = "m") -> Route:
    arm = Arm(release, tuple(Endpoint("127.0.0.1", port) for port in ports))
    return Route("dev", model, revision=1, epoch=1, stable=arm)


def view(**changes: object) -> View:
    plain = View(
        steady=110.0, routed=100.0, state=STATE, route=None, rollout=None, last_done=None,
        replicas=(), launching={}, deaths={}, refused={}, waits={}, gateway=Standing.UP,
    )  # fmt: skip
    return msgspec.structs.replace(plain, **changes)


BOTH_NEW = (replica("a", port=1), replica("b", port=2))
BOTH_OLD = (replica("c", OLD, port=3), replica("d", OLD, port=4))
ENDPOINTS = (Endpoint("127.0.0.1", 1), Endpoint("127.0.0.1", 2))


CASES = {
    "nothing was shipped": ({}, []),
    "the gateway is missing": ({"gateway": Standing.NONE}, [StartGateway()]),
    "the gateway is coming: wait": ({"gateway": Standing.COMING}, []),
    "the gateway can take up nothing while it runs: it goes, and the next look starts another": (
        {"gateway": Standing.OTHER},
        [StopGateway()],
    ),
    "other settings are wanted: the gateway takes them up": ({"gateway": Standing.STALE}, [ReloadGateway()]),
    "it takes them up: wait": (
        {"gateway": Standing.CHANGING, "rollout": rollout(Phase.STARTING), "replicas": BOTH_NEW},
        [],
    ),
    "it refuses them: whoever asked is told": (
        {
            "gateway": Standing.REFUSED,
            "refusal": "port 80 is in use",
            "rollout": rollout(Phase.STARTING),
            "replicas": BOTH_NEW,
        },
        [Move("r", Phase.FAILED, "the gateway keeps its settings: port 80 is in use", restore=True)],
    ),
    "whoever asked has not begun to wait: first the rollout begins": (
        {"gateway": Standing.REFUSED, "rollout": rollout(Phase.PENDING), "replicas": BOTH_NEW},
        [Move("r", Phase.STARTING)],
    ),
    "whoever asked was told: the settings that serve are wanted again": (
        {"gateway": Standing.REFUSED},
        [RestoreGateway()],
    ),
    "a rollout begins: its replicas start in parallel": (
        {"rollout": rollout(Phase.PENDING)},
        [Start(NEW), Start(NEW), Move("r", Phase.STARTING)],
    ),
    "they are being started: wait": ({"rollout": rollout(Phase.STARTING), "launching": {NEW: 2}}, []),
    "one is ready and one is not: wait": (
        {"rollout": rollout(Phase.STARTING), "replicas": (replica("a"), replica("b", state="starting"))},
        [],
    ),
    "both are ready: switch": (
        {"rollout": rollout(Phase.STARTING), "replicas": BOTH_NEW},
        [Move("r", Phase.SWITCHING)],
    ),
    "both are ready but nobody could reach them: wait for the gateway": (
        {"rollout": rollout(Phase.STARTING), "replicas": BOTH_NEW, "gateway": Standing.NONE},
        [StartGateway()],
    ),
    "switching sets the route": (
        {"rollout": rollout(Phase.SWITCHING), "replicas": BOTH_NEW},
        [SetRoute(NEW, ENDPOINTS, "r")],
    ),
    "the route is set: done": (
        {"rollout": rollout(Phase.SWITCHING), "replicas": BOTH_NEW, "route": route(NEW, 1, 2)},
        [Move("r", Phase.DONE)],
    ),
    "the same release under another name: the route gets the name": (
        {"rollout": rollout(Phase.SWITCHING), "replicas": BOTH_NEW, "route": route(NEW, 1, 2, model="old")},
        [SetRoute(NEW, ENDPOINTS, "r")],
    ),
    "the candidate died between ready and switch: start again, the old one keeps serving": (
        {"rollout": rollout(Phase.SWITCHING), "replicas": BOTH_OLD, "route": route(OLD, 3, 4)},
        [Start(NEW), Start(NEW), Move("r", Phase.STARTING, "its replicas died")],
    ),
    "while it bakes, the release before stays warm": (
        {"last_done": rollout(Phase.DONE), "route": route(NEW, 1, 2), "replicas": (*BOTH_NEW, *BOTH_OLD)},
        [],
    ),
    "one of the release before is gone: it is not started again": (
        {"last_done": rollout(Phase.DONE), "route": route(NEW, 1, 2), "replicas": (*BOTH_NEW, BOTH_OLD[0])},
        [],
    ),
    "new settings while it bakes: the release before stays warm, whatever they call their own": (
        {
            "last_done": rollout(Phase.DONE),
            "rollout": rollout(Phase.STARTING, previous=None),
            "route": route(NEW, 1, 2),
            "replicas": (*BOTH_NEW, *BOTH_OLD),
        },
        [Move("r", Phase.SWITCHING)],
    ),
    "after that it stops": (
        {
            "baked": 390.0,
            "last_done": rollout(Phase.DONE),
            "route": route(NEW, 1, 2),
            "replicas": (*BOTH_NEW, *BOTH_OLD),
        },
        [Stop("c"), Stop("d")],
    ),
    "it does not bake, but workers may not have seen the new route yet: wait": (
        {
            "routed": 109.9,
            "last_done": rollout(Phase.DONE, bake=0.0),
            "route": route(NEW, 1, 2),
            "replicas": (*BOTH_NEW, *BOTH_OLD),
        },
        [],
    ),
    "the rollout that made another release stable says nothing about this one's warm replicas": (
        {"last_done": rollout(Phase.DONE), "route": route(OLD, 3, 4), "replicas": (*BOTH_OLD, *BOTH_NEW)},
        [Stop("a"), Stop("b")],
    ),
    "after a failed rollout its replicas stop and the route stays": (
        {"route": route(OLD, 3, 4), "replicas": (*BOTH_OLD, replica("a"), replica("e", state="starting"))},
        [Stop("a"), Stop("e")],
    ),
    "a replica of the stable release is gone: take it out of the route, and replace it": (
        {"route": route(NEW, 1, 2), "replicas": (replica("a", port=1),)},
        [SetRoute(NEW, ENDPOINTS[:1]), Start(NEW)],
    ),
    "it died a moment ago: back off": (
        {"route": route(NEW, 1), "replicas": (replica("a", port=1),), "deaths": {NEW: Death(3, 109.5)}},
        [],
    ),
    "the back-off is over": (
        {"route": route(NEW, 1), "replicas": (replica("a", port=1),), "deaths": {NEW: Death(3, 108.5)}},
        [Start(NEW)],
    ),
    "it must not run: do not try": (
        {"route": route(NEW, 1), "replicas": (replica("a", port=1),), "refused": {NEW: "a blob is missing"}},
        [],
    ),
    "its replacement hangs: try another one": (
        {
            "starting": {"b": 61.0},
            "route": route(NEW, 1),
            "replicas": (replica("a", port=1), replica("b", state="starting")),
        },
        [Stop("b")],
    ),
    "the replacement has not hung for long: give it its time": (
        {
            "starting": {"b": 59.0},
            "route": route(NEW, 1),
            "replicas": (replica("a", port=1), replica("b", state="starting")),
        },
        [],
    ),
    "fewer replicas are wanted: the youngest leaves the route first": (
        {
            "state": ONE,
            "route": route(NEW, 1, 2),
            "replicas": (replica("a", port=1, since=1.0), replica("b", port=2, since=2.0)),
        },
        [SetRoute(NEW, ENDPOINTS[:1])],
    ),
    "then it stops": (
        {
            "state": ONE,
            "route": route(NEW, 1),
            "replicas": (replica("a", port=1, since=1.0), replica("b", port=2, since=2.0)),
        },
        [Stop("b")],
    ),
    "a controller before us had begun to stop one: go on, and start another": (
        {"route": route(NEW, 1), "replicas": (replica("a", port=1), replica("b", state="stopping", port=2))},
        [Start(NEW), Stop("b")],
    ),
    "down: nobody is let in, and the gateway finishes": (
        {"state": DOWN, "route": route(NEW, 1, 2), "replicas": BOTH_NEW},
        [SetRoute(NEW, ()), StopGateway()],
    ),
    "down, and the gateway is gone: the replicas stop": (
        {"state": DOWN, "gateway": Standing.NONE, "route": route(NEW), "replicas": BOTH_NEW},
        [Stop("a"), Stop("b")],
    ),
    "down while a gateway is coming: it is not forgotten": (
        {"state": DOWN, "gateway": Standing.COMING, "route": route(NEW)},
        [StopGateway()],
    ),
    "down while a rollout runs: whoever waits for it is told": (
        {"state": DOWN, "gateway": Standing.NONE, "rollout": rollout(Phase.STARTING)},
        [Move("r", Phase.FAILED, "the environment was taken down; `guideway up` brings it back")],
    ),
    "down and quiet": ({"state": DOWN, "gateway": Standing.NONE, "route": route(NEW)}, []),
}


@pytest.mark.parametrize("case", CASES)
def test_the_next_actions(case):
    situation, actions = CASES[case]
    assert decide(view(**situation)) == actions


@pytest.mark.catalogue("A5")
def test_a_candidate_that_is_never_ready_is_undone_at_the_deadline_and_says_what_it_waited_for():
    late = view(
        waited=61.0,
        rollout=rollout(Phase.STARTING),
        replicas=(replica("a", state="starting"), replica("b")),
        waits={"a": "it does not listen yet"},
    )
    why = "1 of 2 replicas ready after 60 s (1 ready, 1 starting, it does not listen yet)"
    assert decide(late) == [Move("r", Phase.FAILED, why)]


def test_a_candidate_that_keeps_dying_is_undone_at_once_with_its_last_words():
    dying = view(rollout=rollout(Phase.STARTING), deaths={NEW: Death(3, 109.9, "no such model")})
    assert decide(dying) == [Move("r", Phase.FAILED, "a replica died 3 times: no such model")]


def test_deaths_before_a_rollout_began_do_not_fail_it():
    assert Move("r", Phase.STARTING) in decide(view(rollout=rollout(Phase.PENDING), deaths={NEW: Death(9, 109.9)}))


def test_a_candidate_that_must_not_run_is_undone_at_once():
    refused = view(rollout=rollout(Phase.STARTING), refused={NEW: "this blob is missing"})
    assert decide(refused) == [Move("r", Phase.FAILED, "this blob is missing")]


def test_a_gateway_that_cannot_start_fails_the_rollout_with_its_last_words():
    words = "port 8080 is in use"
    deaths = {"gateway": Death(3, 109.9, words)}
    stuck = view(rollout=rollout(Phase.STARTING), replicas=BOTH_NEW, gateway=Standing.NONE, deaths=deaths)
    assert decide(stuck) == [Move("r", Phase.FAILED, f"the gateway died 3 times: {words}")]


@pytest.mark.catalogue("A3")
def test_when_all_replicas_of_the_stable_release_die_the_route_is_emptied_and_they_start_again():
    assert decide(view(route=route(NEW, 1, 2))) == [SetRoute(NEW, ()), Start(NEW), Start(NEW)]


RELEASES = st.sampled_from([OLD, NEW])
REPLICAS = st.builds(
    Replica,
    id=st.uuids().map(str),
    environment=st.just("dev"),
    release=RELEASES,
    port=st.integers(1, 9),
    process=st.just(Process(1, "x")),
    state=st.sampled_from(["starting", "ready", "stopping"]),
    log=st.just("log"),
    since=st.floats(0, 200),
)
VIEWS = st.builds(
    view,
    waited=st.floats(0, 100),
    baked=st.floats(0, 400),
    state=st.sampled_from([STATE, ONE, DOWN]),
    route=st.none() | st.builds(route, RELEASES, st.integers(1, 9)),
    rollout=st.none() | st.builds(rollout, st.sampled_from([one for one in Phase if not one.final]), release=RELEASES),
    last_done=st.none() | st.builds(rollout, st.just(Phase.DONE), release=RELEASES, previous=RELEASES),
    replicas=st.lists(REPLICAS, max_size=6, unique_by=lambda one: one.port).map(tuple),
    launching=st.dictionaries(RELEASES, st.integers(0, 2)),
    gateway=st.sampled_from(Standing),
)


@given(VIEWS)
def test_a_replica_that_the_route_names_is_never_stopped_while_the_environment_is_up(situation):
    stable = situation.stable
    routed = {endpoint.port for endpoint in stable.endpoints} if stable else set()
    stopped = {action.replica for action in decide(situation) if isinstance(action, Stop)}
    assert not any(
        one.id in stopped and one.port in routed and one.state == "ready"
        for one in situation.replicas
        if situation.state.up
    )


@given(VIEWS)
def test_no_more_is_started_than_is_wanted_and_nothing_when_it_is_down(situation):
    actions = decide(situation)
    for release in (OLD, NEW):
        started = sum(action == Start(release) for action in actions)
        running = len(situation.of(release)) + situation.launching.get(release, 0)
        assert started == 0 or (situation.state.up and started + running <= situation.state.replicas)


@given(VIEWS)
def test_traffic_goes_only_to_replicas_that_are_ready(situation):
    ready = {(one.release, one.port) for one in situation.replicas if one.state == "ready"}
    for action in decide(situation):
        if isinstance(action, SetRoute):
            assert {(action.release, endpoint.port) for endpoint in action.endpoints} <= ready


def test_the_release_before_stays_warm_when_the_end_of_the_rollout_comes_long_after_the_new_route():
    switched = view(
        route=route(NEW, 1, 2),
        rollout=rollout(Phase.SWITCHING, previous=OLD),
        replicas=(replica("a", port=1), replica("b", port=2), replica("c", OLD, port=3)),
    )
    assert decide(switched) == [Move("r", Phase.DONE)]


# -- what the load asks for while a canary runs -----------------------------------------------------------------------

BESIDE = Beside(0.1, 0.5)
CANARY = {
    "route": route(OLD, 3, 4),
    "rollout": rollout(Phase.CANARY, size=2, then=Shape("m", 1, Scale(min=1, max=8))),
    "beside": BESIDE,
    "size": 4,
    "state": msgspec.structs.replace(STATE, replicas=4),
}
"""Two replicas were asked for when the weight of 10 % began, four are now; so at 50 % one is needed, and two wanted."""


def test_the_load_starts_more_replicas_of_a_candidate_too():
    found = decide(view(**CANARY, replicas=(*BOTH_OLD, replica("a", port=1))))
    assert Start(NEW) in found and not any(isinstance(one, Move) for one in found)


def test_a_replica_that_the_load_asked_for_and_that_dies_at_start_is_spare_while_the_candidate_has_what_it_needs():
    assert is_spare(view(**CANARY, replicas=(*BOTH_OLD, replica("a"))), NEW)
    assert is_spare(view(**CANARY, replicas=(*BOTH_OLD, replica("a", state="starting"))), NEW)
    assert not is_spare(view(**CANARY, replicas=BOTH_OLD), NEW)
    assert not is_spare(view(**CANARY, replicas=BOTH_OLD), OLD)


def test_without_a_scale_every_replica_of_a_candidate_is_needed():
    fixed = {**CANARY, "rollout": rollout(Phase.CANARY, then=Shape("m", 4)), "size": None}
    assert not is_spare(view(**fixed, replicas=(*BOTH_OLD, replica("a"))), NEW)


def test_deaths_of_spare_replicas_undo_nothing_and_do_not_keep_one_that_is_needed_from_starting():
    spares = {spare(NEW): Death(9, 109.9)}
    assert decide(view(**CANARY, replicas=(*BOTH_OLD, replica("a", port=1)), deaths=spares))[1:] == [Start(OLD)] * 2
    assert decide(view(**CANARY, replicas=BOTH_OLD, deaths=spares)).count(Start(NEW)) == 1


def test_a_spare_replica_that_hangs_is_exchanged_and_one_that_is_needed_has_the_deadline_of_the_rollout():
    hung = replica("b", state="starting", port=2)
    late = {"starting": {"b": 61.0}}
    assert Stop("b") in decide(view(**CANARY, **late, replicas=(*BOTH_OLD, replica("a", port=1), hung)))
    assert Stop("b") not in decide(view(**CANARY, **late, replicas=(*BOTH_OLD, hung)))


def test_a_candidate_that_starts_waits_for_what_the_load_asks_for_until_its_deadline_and_goes_on_with_what_it_needs():
    starting = rollout(Phase.STARTING, size=2, then=Shape("m", 1, Scale(min=1, max=8)))
    case = {**CANARY, "rollout": starting, "replicas": (*BOTH_OLD, replica("a", port=1))}
    assert Move("r", Phase.CANARY) not in decide(view(**case))
    assert Move("r", Phase.CANARY) in decide(view(**case, waited=61.0))
