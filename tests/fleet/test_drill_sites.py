"""Where a drill may be held, and the question that it asks there."""

from __future__ import annotations

import json

import msgspec
import pytest
from fleet_rig import NEW, OLD

from guideway.core.errors import SpecError
from guideway.core.launch import Probe
from guideway.core.rollout import EnvironmentState, Phase, Rollout
from guideway.core.route import Arm, Endpoint, Route
from guideway.core.spec.gateway import Cache, Gateway, Tls
from guideway.core.terms import Terms
from guideway.fleet.drills import cache
from guideway.fleet.drills.site import question_for, survey
from guideway.store import fleet
from guideway.store.database import Database
from guideway.store.home import Home

CHAT = Probe("/v1/chat/completions", '{"model": "x", "temperature": 0, "messages": [{"role": "user", "content": "a"}]}')
STATE = EnvironmentState("dev", "m", "local", 2, Gateway(port=8080), port=8080)
ROUTE = Route("dev", "m", 1, 1, stable=Arm(NEW, (Endpoint("127.0.0.1", 1),), probe=CHAT))
MOVING = Rollout("r", "dev", NEW, OLD, Phase.STARTING, 1.0, 1.0, ready_within=9.0, bake=9.0)


def kept(tmp_path, state=STATE, route=ROUTE, rollout=None) -> Database:
    database = Database(Home.of(tmp_path).database)
    fleet.put_environment(database, state)
    if route:
        fleet.put_route(database, route)
    if rollout:
        fleet.put_rollout(database, rollout)
    return database


def test_an_environment_that_serves_may_be_drilled(tmp_path):
    with kept(tmp_path, rollout=msgspec.structs.replace(MOVING, phase=Phase.DONE)) as database:
        assert survey(database, "dev") == (STATE, ROUTE)


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"route": None}, "nothing serves in 'dev'"),
        ({"state": msgspec.structs.replace(STATE, up=False)}, "nothing serves in 'dev'"),
        ({"route": msgspec.structs.replace(ROUTE, stable=Arm(NEW, ()))}, "nothing serves in 'dev'"),
        ({"route": msgspec.structs.replace(ROUTE, candidate=ROUTE.stable)}, "a rollout is under way"),
        ({"rollout": MOVING}, "a rollout is under way"),
    ],
)
def test_what_does_not_serve_or_is_moving_is_left_alone(tmp_path, facts, why):
    with kept(tmp_path, **facts) as database, pytest.raises(SpecError, match=why):
        survey(database, "dev")


def test_the_question_is_the_one_that_probes_the_release_under_the_name_that_clients_use(tmp_path):
    found = question_for(Home.of(tmp_path), STATE, ROUTE, "gw-key", "")
    assert (found.host, found.port, found.path, found.tls) == ("127.0.0.1", 8080, "/v1/chat/completions", False)
    assert found.body["model"] == "m" and found.body["messages"][0]["content"] == "a"


def test_a_prompt_takes_the_place_of_the_question(tmp_path):
    home = Home.of(tmp_path)
    assert question_for(home, STATE, ROUTE, "k", "why?").body["messages"] == [{"role": "user", "content": "why?"}]
    plain = msgspec.structs.replace(ROUTE.stable, probe=Probe("/v1/completions", '{"prompt": "Hello"}'))
    route = msgspec.structs.replace(ROUTE, stable=plain)
    assert question_for(home, STATE, route, "k", "why?").body["prompt"] == "why?"


def test_a_gateway_on_all_addresses_with_a_certificate_of_ours_is_called_here_and_trusted(tmp_path):
    options = Gateway(host="0.0.0.0", port=8443, tls=Tls(development=True))
    state = msgspec.structs.replace(STATE, gateway=options, port=8443)
    found = question_for(Home.of(tmp_path), state, ROUTE, "k", "")
    assert found.tls and found.host == "127.0.0.1" and found.certificate.endswith("tls/certificate.pem")


def test_a_release_without_a_probe_cannot_be_asked(tmp_path):
    route = msgspec.structs.replace(ROUTE, stable=Arm(NEW, (Endpoint("127.0.0.1", 1),)))
    with pytest.raises(SpecError, match="says no question"):
        question_for(Home.of(tmp_path), STATE, route, "k", "")


def test_only_an_answer_from_the_model_will_do_unless_the_cache_is_drilled(tmp_path):
    asked = question_for(Home.of(tmp_path), STATE, ROUTE, "k", "")
    head, _, body = asked.bytes(streamed=True, number=3).partition(b"\r\n\r\n")
    assert b"Cache-Control: no-store" in head and json.loads(body)["stream"] and "seed" not in json.loads(body)
    head, _, body = msgspec.structs.replace(asked, cached=True).bytes(streamed=False, number=3).partition(b"\r\n\r\n")
    assert b"Cache-Control" not in head and json.loads(body)["seed"] == 3


def test_a_cache_that_is_off_or_that_the_release_forbids_cannot_be_lost():
    off = msgspec.structs.replace(STATE, gateway=Gateway(cache=Cache(store="off")))
    secret = msgspec.structs.replace(ROUTE, stable=Arm(NEW, (), Terms(cacheable=False)))
    assert cache.why_not(off, ROUTE) == "gateway.cache.store is off"
    assert cache.why_not(STATE, secret) == "the release says policy.cacheable: false"
    assert not cache.why_not(STATE, ROUTE)
