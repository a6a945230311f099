"""What the controller does next: a table of situations."""

from __future__ import annotations

import msgspec
import pytest

from guideway.core.launch import Process, Replica
from guideway.core.rollout import EnvironmentState, Phase, Rollout
from guideway.core.route import Arm, Endpoint, Route
from guideway.core.spec import Gateway
from guideway.fleet.decide import Move, SetRoute, Start, StartGateway, Stop, StopGateway, View, decide

OLD, NEW = "sha256:old", "sha256:new"
STATE = EnvironmentState("dev", "m", "local", replicas=2, gateway=Gateway())


def replica(id: str, release: str = NEW, state: str = "ready", port: int = 1, since: float = 0.0) -> Replica:
    return Replica(id, "dev", release, port, Process(1, "x"), state, "log", since)


def rollout(phase: Phase, **changes: object) -> Rollout:
    plain = Rollout("r", "dev", NEW, OLD, phase, created=100.0, updated=100.0, ready_within=60.0, bake=300.0)
    return msgspec.structs.replace(plain, **changes)


def route(release: str, *ports: int) -> Route:
    arm = Arm(release, tuple(Endpoint("127.0.0.1", port) for port in ports))
    return Route("dev", "m", revision=1, epoch=1, stable=arm)


def view(**changes: object) -> View:
    plain = View(
        now=110.0, state=STATE, route=None, rollout=None, last_done=None, replicas=(), launching={},
        deaths={}, last_death={}, last_words={}, gateway_up=True,
    )  # fmt: skip
    return msgspec.structs.replace(plain, **changes)


BOTH_NEW = (replica("a", port=1), replica("b", port=2))
BOTH_OLD = (replica("c", OLD, port=3), replica("d", OLD, port=4))
ENDPOINTS = (Endpoint("127.0.0.1", 1), Endpoint("127.0.0.1", 2))


@pytest.mark.parametrize(
    ("case", "situation", "actions"),
    [
        ("nothing was shipped", {}, []),
        ("the gateway is missing", {"gateway_up": False}, [StartGateway()]),
        (
            "a rollout begins: its replicas start in parallel",
            {"rollout": rollout(Phase.PENDING)},
            [Start(NEW), Start(NEW), Move(Phase.STARTING)],
        ),
        (
            "they are being started: wait",
            {"rollout": rollout(Phase.STARTING), "launching": {NEW: 2}},
            [],
        ),
        (
            "one is ready and one is not: wait",
            {"rollout": rollout(Phase.STARTING), "replicas": (replica("a"), replica("b", state="starting"))},
            [],
        ),
        (
            "both are ready: switch",
            {"rollout": rollout(Phase.STARTING), "replicas": BOTH_NEW},
            [Move(Phase.SWITCHING)],
        ),
        (
            "both are ready but nobody could reach them: wait for the gateway",
            {"rollout": rollout(Phase.STARTING), "replicas": BOTH_NEW, "gateway_up": False},
            [StartGateway()],
        ),
        (
            "switching sets the route",
            {"rollout": rollout(Phase.SWITCHING), "replicas": BOTH_NEW},
            [SetRoute(NEW, ENDPOINTS)],
        ),
        (
            "the route is set: done",
            {"rollout": rollout(Phase.SWITCHING), "replicas": BOTH_NEW, "route": route(NEW, 1, 2)},
            [Move(Phase.DONE)],
        ),
        (
            "the candidate died between ready and switch: start again, the old one keeps serving",
            {"rollout": rollout(Phase.SWITCHING), "replicas": BOTH_OLD, "route": route(OLD, 3, 4)},
            [Start(NEW), Start(NEW), Move(Phase.STARTING, "its replicas died")],
        ),
        (
            "while it bakes, the release before stays warm",
            {"last_done": rollout(Phase.DONE), "route": route(NEW, 1, 2), "replicas": (*BOTH_NEW, *BOTH_OLD)},
            [],
        ),
        (
            "after that it stops",
            {
                "now": 500.0,
                "last_done": rollout(Phase.DONE),
                "route": route(NEW, 1, 2),
                "replicas": (*BOTH_NEW, *BOTH_OLD),
            },
            [Stop("c"), Stop("d")],
        ),
        (
            "after a failed rollout its replicas stop and the route stays",
            {"route": route(OLD, 3, 4), "replicas": (*BOTH_OLD, replica("a"))},
            [Stop("a")],
        ),
        (
            "a replica of the stable release is gone: replace it, and take it out of the route",
            {"route": route(NEW, 1, 2), "replicas": (replica("a", port=1),)},
            [Start(NEW), SetRoute(NEW, ENDPOINTS[:1])],
        ),
        (
            "it died a moment ago: back off",
            {
                "route": route(NEW, 1),
                "replicas": (replica("a", port=1),),
                "deaths": {NEW: 3},
                "last_death": {NEW: 109.5},
            },
            [],
        ),
        (
            "the back-off is over",
            {
                "route": route(NEW, 1),
                "replicas": (replica("a", port=1),),
                "deaths": {NEW: 3},
                "last_death": {NEW: 108.5},
            },
            [Start(NEW)],
        ),
        (
            "fewer replicas are wanted: the youngest stops",
            {
                "state": msgspec.structs.replace(STATE, replicas=1),
                "route": route(NEW, 1, 2),
                "replicas": (replica("a", port=1, since=1.0), replica("b", port=2, since=2.0)),
            },
            [Stop("b")],
        ),
        (
            "down: everything stops, the gateway first",
            {
                "state": msgspec.structs.replace(STATE, up=False),
                "route": route(NEW, 1, 2),
                "replicas": BOTH_NEW,
            },
            [StopGateway(), Stop("a"), Stop("b")],
        ),
        (
            "down and quiet",
            {"state": msgspec.structs.replace(STATE, up=False), "gateway_up": False, "route": route(NEW, 1)},
            [],
        ),
    ],
)
def test_the_next_actions(case, situation, actions):
    assert decide(view(**situation)) == actions, case


@pytest.mark.catalogue("A5")
def test_a_candidate_that_is_never_ready_is_undone_at_the_deadline():
    late = view(now=161.0, rollout=rollout(Phase.STARTING), replicas=(replica("a", state="starting"), replica("b")))
    assert decide(late) == [Move(Phase.FAILED, "1 of 2 replicas ready after 60 s (1 ready, 1 starting)")]


def test_a_candidate_that_keeps_dying_is_undone_at_once_with_its_last_words():
    dying = view(
        rollout=rollout(Phase.STARTING), deaths={NEW: 3}, last_death={NEW: 109.9}, last_words={NEW: "no such model"}
    )
    assert decide(dying) == [Move(Phase.FAILED, "a replica died 3 times: no such model")]


def test_a_gateway_that_cannot_start_fails_the_rollout_with_its_last_words():
    words = "port 8080 is in use"
    stuck = view(
        rollout=rollout(Phase.STARTING),
        replicas=BOTH_NEW,
        gateway_up=False,
        deaths={"gateway": 3},
        last_death={"gateway": 109.9},
        last_words={"gateway": words},
    )
    assert decide(stuck) == [Move(Phase.FAILED, f"the gateway died 3 times: {words}")]


@pytest.mark.catalogue("A3")
def test_when_all_replicas_of_the_stable_release_die_the_route_is_emptied_and_they_start_again():
    dead = view(route=route(NEW, 1, 2))
    assert decide(dead) == [Start(NEW), Start(NEW), SetRoute(NEW, ())]
