"""A golden prompt on both arms: asked as users ask, answered as users are answered, and counted by nobody."""

from __future__ import annotations

import json

import msgspec
import pytest
from gateway_paper import held, raw, unary
from gateway_rig import AUTHORIZED, Client, Gateway, wait_for
from golden_rig import MODEL, OPTIONS, PROMPT, SETTINGS, TERMS, Service, completion, http, says

from guideway.core.guardrails import DenyRule, Guardrails
from guideway.core.launch import Probe
from guideway.core.spec.gateway import Gateway as Options
from guideway.core.spec.gateway import Masking
from guideway.core.terms import Terms
from guideway.fleet.golden import Absent, Replayed
from guideway.rollout.golden import Message, Prompt

STRICT = Terms(
    system="Answer in one word.",
    masking={"email": "mask"},
    guardrails=Guardrails(deny=(DenyRule("bomb", "bomb", "input"), DenyRule("curse", "cursed", "output"))),
)


@pytest.fixture
def service():
    one = Service()
    yield one
    wrong = one.loop.wrong
    one.close()
    assert wrong == []


def never() -> bool:
    return False


def test_both_arms_answer_the_same_question(service):
    old, new = service.replica(raw(says("yes"))), service.replica(raw(says("no")))
    service.serve(old, new)
    assert service.replay().ask(PROMPT, never) == Replayed(candidate="no", stable="yes")
    (first,), (second,) = old.asked, new.asked
    assert first.body == second.body
    assert json.loads(first.body) == {
        "model": MODEL,
        "temperature": 0,
        "messages": [{"role": "user", "content": "Is it?"}],
    }
    assert first.first == "POST /v1/chat/completions HTTP/1.1"


@pytest.mark.parametrize("text", ["Is it?", "Write to bo@example.org, please", 'He said "<|im_end|>" twice'])
def test_a_replica_gets_what_it_would_get_from_the_gateway(service, text):
    options = msgspec.structs.replace(OPTIONS, masking=Masking())
    old, new = service.replica(raw(says("yes"))), service.replica(raw(says("yes")))
    service.serve(old, new, terms=(STRICT, STRICT))
    service.replay(options=options).ask(Prompt("p", ("yes",), text), never)
    gateway = Gateway(service.loop, options=options)
    try:
        gateway.serve(old, terms=STRICT)
        body = {"model": MODEL, "temperature": 0, "messages": [{"role": "user", "content": text}]}
        with Client(gateway.port) as client:
            assert client.ask(body=body, headers=AUTHORIZED).status == 200
    finally:
        gateway.close()
    direct, through = (json.loads(one.body) for one in old.asked)
    assert direct == through
    assert direct["messages"][0] == {"role": "system", "content": "Answer in one word."}
    assert json.loads(new.asked[0].body) == direct


def test_each_arm_is_asked_by_the_terms_of_its_own_release(service):
    old, new = service.replica(raw(says("yes"))), service.replica(raw(says("yes")))
    service.serve(old, new, terms=(STRICT, msgspec.structs.replace(STRICT, system="Be brief.")))
    service.replay().ask(PROMPT, never)
    systems = [json.loads(one.asked[0].body)["messages"][0]["content"] for one in (old, new)]
    assert systems == ["Answer in one word.", "Be brief."]


def test_terms_that_change_while_it_runs_hold_from_the_next_prompt_on(service):
    one = service.replica(raw(says("yes")))
    replay = service.replay()
    for system in ("Be brief.", "Be long."):
        terms = msgspec.structs.replace(STRICT, system=system)
        service.serve(one, one, terms=(terms, terms))
        replay.ask(PROMPT, never)
    systems = [json.loads(asked.body)["messages"][0]["content"] for asked in one.asked]
    assert systems == ["Be brief."] * 2 + ["Be long."] * 2


def test_an_answer_is_what_the_user_would_read(service):
    async def echo(replica, asked, reader, writer):
        writer.write(says(json.loads(asked.body)["messages"][-1]["content"]))

    service.serve(service.replica(echo), service.replica(raw(says("all cursed words"))), terms=(STRICT, STRICT))
    options = Options(masking=Masking(entities={"email": "mask"}))
    got = service.replay(options=options).ask(Prompt("p", ("x",), "bo@example.org"), never)
    assert b"bo@example.org" not in service.made[0].asked[0].body
    assert got.stable == "bo@example.org"
    assert got.candidate is not None and "cursed" not in got.candidate


def test_a_completion_model_is_asked_for_a_completion_and_a_conversation_stays_one(service):
    answer = http(json.dumps({"choices": [{"index": 0, "text": "yes"}]}).encode())
    one, other = service.replica(raw(answer)), service.replica(raw(answer))
    service.serve(one, other, probe=Probe("/v1/completions", "{}"))
    settings = msgspec.structs.replace(SETTINGS, max_tokens=7)
    assert service.replay(settings).ask(PROMPT, never) == Replayed("yes", "yes")
    assert one.asked[0].first == "POST /v1/completions HTTP/1.1"
    assert json.loads(one.asked[0].body) == {"model": MODEL, "temperature": 0, "prompt": "Is it?", "max_tokens": 7}
    service.replay().ask(Prompt("q", ("yes",), messages=(Message("user", "a"),)), never)
    assert one.asked[1].first == "POST /v1/chat/completions HTTP/1.1"


def test_a_classifier_is_asked_for_the_label_of_a_text(service):
    outputs = [{"name": "label", "data": ["refund"]}, {"name": "score", "data": [0.9]}]
    answer = http(json.dumps({"outputs": outputs}).encode())
    one, other = service.replica(raw(answer)), service.replica(raw(answer))
    service.serve(one, other, probe=Probe(f"/v2/models/{MODEL}/infer", "{}", "class"))
    assert service.replay().ask(PROMPT, never) == Replayed("refund", "refund")
    assert one.asked[0].first == f"POST /v2/models/{MODEL}/infer HTTP/1.1"
    assert json.loads(one.asked[0].body)["inputs"][0]["data"] == ["Is it?"]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (http(b"oops", "500 Internal Server Error"), "status 500"),
        (http(b"{}"), "what came is not the answer of a model"),
        (http(b"<html>"), "what came is not the answer of a model"),
        (http(b'{"choices": []}'), "what came is not the answer of a model"),
        (b"garbage\r\n\r\n", "what answers there does not speak HTTP"),
    ],
)
def test_an_arm_that_fails_to_answer_is_told_apart_from_one_that_says_nothing(service, answer, why):
    service.serve(service.replica(raw(says(""))), service.replica(raw(answer, close=True)))
    got = service.replay().ask(PROMPT, never)
    assert (got.candidate, got.stable) == (None, "")
    assert got.why.startswith("the candidate release did not answer 'p': ") and why in got.why


def test_an_answer_of_calls_alone_has_no_text(service):
    calls = {"choices": [{"index": 0, "message": {"role": "assistant", "content": None, "tool_calls": []}}]}
    service.serve(service.replica(raw(http(json.dumps(calls).encode()))), service.replica(raw(says("yes"))))
    assert service.replay().ask(PROMPT, never).stable == ""


def test_a_prompt_that_the_guardrails_of_one_arm_refuse_fails_there_and_no_replica_sees_it(service):
    old, new = service.replica(raw(says("yes"))), service.replica(raw(says("yes")))
    service.serve(old, new, terms=(TERMS, STRICT))
    got = service.replay().ask(Prompt("p", ("yes",), "a bomb"), never)
    assert (got.candidate, got.stable) == (None, "yes")
    assert "refused before a replica saw it" in got.why and new.asked == []


def test_another_replica_is_asked_when_one_is_gone_or_busy(service):
    dead, busy = service.replica(), service.replica(unary(b"{}", "503 Service Unavailable"))
    dead.die()
    well = service.replica(raw(says("yes")))
    service.serve([dead, well], [busy, well])
    replay = service.replay()
    assert [replay.ask(PROMPT, never) for _ in range(2)] == [Replayed("yes", "yes")] * 2
    assert len(busy.asked) == 1


def test_an_arm_whose_replicas_are_all_gone_has_failed(service):
    one, other, well = service.replica(), service.replica(), service.replica(raw(says("yes")))
    one.die()
    other.die()
    service.serve([one, other], well)
    got = service.replay().ask(PROMPT, never)
    assert (got.candidate, got.stable) == ("yes", None) and "nothing listens there" in got.why


def test_which_arm_is_first_changes(service):
    order = []

    def noting(name):
        async def answer(replica, asked, reader, writer):
            order.append(name)
            writer.write(says("yes"))

        return answer

    service.serve(service.replica(noting("stable")), service.replica(noting("candidate")))
    replay = service.replay()
    for _ in range(2):
        replay.ask(PROMPT, never)
    assert order == ["stable", "candidate", "candidate", "stable"]


def test_a_route_to_other_releases_or_without_replicas_is_not_asked(service):
    well = service.replica(raw(says("yes")))
    replay = service.replay()
    with pytest.raises(Absent, match="the stable release has no replica"):
        replay.ask(PROMPT, never)
    service.serve(well, [])
    with pytest.raises(Absent, match="the candidate release has no replica"):
        replay.ask(PROMPT, never)
    service.serve(well, well)
    promoted = msgspec.structs.replace(service.route, stable=service.route.candidate, candidate=None)
    service.route = promoted
    with pytest.raises(Absent):
        replay.ask(PROMPT, never)
    assert well.asked == []


def test_rules_that_cannot_be_read_here_are_no_fault_of_the_release(service):
    well = service.replica(raw(says("yes")))
    service.serve(well, well, terms=(TERMS, Terms(classifier="/nowhere/classifier")))
    with pytest.raises(Absent, match="cannot be read"):
        service.replay().ask(PROMPT, never)


def test_a_prompt_under_way_is_given_up_with_the_rollout(service):
    slow = service.replica(held(unary(completion())))
    service.serve(slow, slow)
    with pytest.raises(Absent, match="the rollout is over"):
        service.replay().ask(PROMPT, lambda: bool(slow.asked))
    wait_for(lambda: slow.closed == slow.connections)
    assert len(slow.asked) == 1
