"""What is told of each request: how its answer ended, whether it refuses, its language, and that it takes too long."""

from __future__ import annotations

import json
import time

import msgspec
import pytest
from gateway_paper import DONE, completion, event, held, stream, unary
from gateway_rig import CHAT, KEY, MODEL, OPTIONS, OTHER_KEY, PEPPER, Client, request, route, wait_for

from guideway.core.guardrails import DenyRule, Guardrails
from guideway.core.route import ApiKey, KeyFile
from guideway.core.spec.gateway import Cache, Limits
from guideway.core.terms import Terms
from guideway.gateway.keys import key_digest
from guideway.gateway.limits.amounts import Amounts, Budget
from guideway.gateway.limits.messages import Refuse
from guideway.gateway.limits.refusals import used_up
from guideway.gateway.opening import KEPT_BYTES
from guideway.gateway.outcomes import Spool
from guideway.store import outcomes

COMPLETIONS = "/v1/completions"
QUESTION = "How was the sea made, and why is it salty?"


class Rollout:
    """A gateway with a candidate at half of all requests, and what is told of them."""

    def __init__(self, gateway, replica, folder, answer, limits=(), terms=None):
        self.gateway, self.folder = gateway, folder
        self.replica = replica(answer)
        gateway.plane.reports.spool = Spool(folder, "w0", clock=time.monotonic)
        ports = [self.replica.port]
        plain = route(ports, ports, weight=0.5, **({"terms": terms} if terms else {}))
        self.route = msgspec.structs.replace(plain, rollout="r1", limits=limits)
        gateway.loop.call(gateway.plane.set_route, msgspec.json.encode(self.route))

    def ask(self, path=CHAT, question=QUESTION, **body):
        said = {"prompt": question} if path == COMPLETIONS else {"messages": [{"role": "user", "content": question}]}
        with Client(self.gateway.port) as client:
            return client.ask("POST", path, {"model": MODEL, **said, **body})

    def flush(self):
        self.gateway.loop.call(self.gateway.plane.reports.flush)

    def told(self):
        self.flush()
        names = outcomes.segments(self.folder)
        return [one for name in names for one in outcomes.read(self.folder, name).records]

    def one(self):
        (found,) = self.told()
        return found


@pytest.fixture
def rollout(gateway, replica, tmp_path):
    return lambda answer=None, **options: Rollout(gateway, replica, tmp_path, answer, **options)


def answer(finish, *, message=None, text=None, **more):
    spoken = {"text": text} if text is not None else {"message": {"role": "assistant", **(message or {})}}
    choices = [{"index": 0, **spoken, "finish_reason": finish, **more}, {"index": 1, **spoken, "finish_reason": "x"}]
    return unary(json.dumps({"id": "c", "choices": choices}).encode())


def piece(index=0, finish=None, usage=None, **delta):
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return b"data: " + json.dumps({"id": "c", "choices": [choice], "usage": usage}).encode() + b"\n\n"


def text_piece(text, finish=None):
    return (
        b"data: "
        + json.dumps({"id": "c", "choices": [{"index": 0, "text": text, "finish_reason": finish}]}).encode()
        + b"\n\n"
    )


# Why it ended.


@pytest.mark.parametrize(
    ("path", "replied"),
    [
        (CHAT, answer("length", message={"content": "hello"})),
        (CHAT, answer("length", message={"content": "hello"}, unknown=[1])),
        (COMPLETIONS, answer("length", text="hello")),
        (CHAT, stream(piece(content="hello"), piece(1, "x"), piece(0, "length"), DONE)),
        (CHAT, stream(piece(content="hel") + piece(content="lo"), piece(finish="length", usage={}) + DONE)),
        (COMPLETIONS, stream(text_piece("hel"), text_piece("lo", "length"), DONE)),
    ],
)
@pytest.mark.parametrize("guards", [False, True], ids=["passed on", "looked at"])
def test_why_the_first_choice_ended_is_told(rollout, path, replied, guards):
    one = rollout(replied, terms=Terms() if guards else None)
    one.ask(path, stream=b"event-stream" in repr(replied.__closure__).encode() or None)
    assert one.one().finish_reason == "length"


@pytest.mark.parametrize(
    "replied",
    [
        unary(b"{}"),
        unary(b"[1]"),
        unary(b"no json"),
        unary(json.dumps({"choices": [{"index": 0, "finish_reason": 7, "unknown": 1}]}).encode()),
        stream(piece(content='"finish_reason": "stop"'), DONE),
        stream(b'data: {"finish_reason": "\xff\n\n', DONE),
    ],
)
def test_of_an_answer_that_does_not_say_why_it_ended_nothing_is_told(rollout, replied):
    one = rollout(replied)
    one.ask()
    found = one.one()
    assert (found.finish_reason, found.refused) == ("", False)


def test_why_an_answer_ended_is_told_without_a_rollout_too(gateway, replica, tmp_path):
    gateway.plane.reports.spool = Spool(tmp_path, "w0", clock=time.monotonic)
    gateway.serve(replica())
    with Client(gateway.port) as client:
        client.ask()
    gateway.loop.call(gateway.plane.reports.flush)
    (found,) = [one for name in outcomes.segments(tmp_path) for one in outcomes.read(tmp_path, name).records]
    assert (found.why_not, found.finish_reason) == ("no rollout", "stop")


# What it says.


@pytest.mark.parametrize(
    ("replied", "refused"),
    [
        (unary(completion("I'm sorry, but I can't help with that.")), True),
        (unary(completion("Rivers carried salt from the hills.")), False),
        (answer("stop", message={"content": None, "refusal": "no"}), True),
        (answer("stop", message={"content": None, "refusal": "no"}, unknown=1), True),
        (answer("content_filter", message={"content": ""}), True),
        (answer("stop", text="抱歉，我无法提供这方面的帮助。"), True),
        (
            stream(
                *(piece(content=one) for one in ("I", "'m sorry, ", "but I c", "an't help")), piece(0, "stop"), DONE
            ),
            True,
        ),
        (stream(piece(refusal="no"), piece(finish="stop"), DONE), True),
        (stream(piece(content="Sure."), piece(finish="content_filter"), DONE), True),
        (stream(piece(1, content="I can't help with that."), piece(content="Sure, here it is."), DONE), False),
        (stream(text_piece("I cannot "), text_piece("assist with that.", "stop"), DONE), True),
    ],
)
@pytest.mark.parametrize("guards", [False, True], ids=["passed on", "looked at"])
def test_an_answer_that_refuses_is_told(rollout, replied, refused, guards):
    one = rollout(replied, terms=Terms() if guards else None)
    assert one.ask().status == 200
    assert one.one().refused is refused


@pytest.mark.parametrize(
    ("question", "said", "other"),
    [
        (QUESTION, "Rivers carried salt from the hills.", False),
        (QUESTION, "河流从山上带来了盐分，所以海水是咸的。", True),
        ("海水为什么是咸的？", "河流从山上带来了盐分，所以海水是咸的。", False),
        ([{"type": "text", "text": "海水为什么是咸的？"}], "Rivers carried salt from the hills.", True),
        ("?", "Rivers carried salt from the hills.", None),
        (QUESTION, "42", None),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_in_another_script_than_the_last_question_is_told(rollout, question, said, other, streamed):
    one = rollout(
        stream(*(event(said[at : at + 3]) for at in range(0, len(said), 3)), DONE)
        if streamed
        else unary(completion(said))
    )
    turns = [{"role": "system", "content": "Говорите по-русски, пожалуйста"}, {"role": "user", "content": question}]
    one.ask(messages=[*turns[:1], {"role": "user", "content": "Привет, как дела?"}, *turns[1:]], stream=streamed)
    assert one.one().other_language is other


def test_of_a_long_stream_only_the_beginning_is_kept(rollout):
    one = rollout(stream(*(event("word ") for _ in range(600)), DONE))
    one.ask(stream=True)
    (record,) = one.gateway.plane.reports._records
    assert KEPT_BYTES <= record.opening._size < 2 * KEPT_BYTES
    assert one.one().other_language is False


def test_a_prompt_that_is_too_long_to_look_at_has_no_language(rollout):
    one = rollout(unary(completion("Rivers carried salt from the hills.")))
    one.ask(question="word " * 20_000)
    assert one.one().other_language is None


def test_nothing_is_kept_of_requests_that_no_rollout_counts(gateway, replica):
    gateway.serve(replica())
    with Client(gateway.port) as client:
        client.ask()
    (record,) = gateway.plane.reports._records
    assert (record.asked, record.opening, record.limits) == (b"", None, ())


# That it takes too long.


LIMITS = (1_000.0, 2_000.0, 3_000.0)


@pytest.fixture
def hanging(rollout, gateway):
    """A rollout whose replica holds its answers, with one request under way."""
    one = rollout(held(unary()), limits=LIMITS)
    with Client(gateway.port) as client:
        client.send(request())
        wait_for(lambda: one.replica.asked)
        yield one, client
    one.replica.release()


def test_a_request_that_runs_past_limits_is_told_of_once_for_those_that_ran_out(hanging):
    one, _ = hanging
    assert one.told() == []
    one.gateway.skew += 1.5
    (first,) = one.told()
    assert (first.overdue, first.exceeded, first.status, first.latency) == ("running", LIMITS[:1], 0, None)
    assert (first.rollout, first.share, first.why_not) == ("r1", 0.5, "")
    assert len(one.told()) == 1, "the limits that were told are not told again"
    one.gateway.skew += 2.0
    assert [found.exceeded for found in one.told()] == [LIMITS[:1], LIMITS]


def test_its_end_follows_with_the_same_id_and_arm(hanging):
    one, client = hanging
    one.gateway.skew += 2.5
    early = one.told()
    one.replica.release()
    reply = client.reply()
    *_, last = found = one.told()
    assert len(found) == 2
    assert (last.request, last.arm, last.unit) == (early[0].request, early[0].arm, early[0].unit)
    assert last.request == reply.headers["x-request-id"]
    assert (last.overdue, last.exceeded, last.status, last.finish_reason) == ("over", LIMITS[:2], 200, "stop")


def test_the_end_of_one_that_nobody_was_early_for_tells_its_limits(rollout):
    one = rollout(limits=(0.0, 1e9))
    one.ask()
    found = one.one()
    assert (found.overdue, found.exceeded) == ("", (0.0,))


def test_a_client_that_leaves_ends_it(hanging):
    one, client = hanging
    one.gateway.skew += 1.5
    one.flush()
    client.socket.close()
    wait_for(lambda: len(one.told()) == 2)
    early, last = one.told()
    assert (early.overdue, last.overdue, last.failure) == ("running", "over", "client left")


def test_without_limits_or_without_a_candidate_nobody_is_looked_for(rollout, gateway):
    one = rollout(held(unary()))
    assert not gateway.plane.reports.watches
    newer = msgspec.structs.replace(one.route, candidate=None, limits=LIMITS, revision=2)
    gateway.loop.call(gateway.plane.set_route, msgspec.json.encode(newer))
    assert not gateway.plane.reports.watches


def test_one_that_is_no_unit_is_not_told_of_early(made, replica, tmp_path):
    gateway = made(msgspec.structs.replace(OPTIONS, cache=Cache()))
    one = Rollout(gateway, replica, tmp_path, held(unary()), limits=LIMITS)
    same = request(body={"model": MODEL, "temperature": 0, "messages": [{"role": "user", "content": QUESTION}]})
    with Client(gateway.port) as first, Client(gateway.port) as second:
        for client in (first, second):
            client.send(same)
        wait_for(lambda: len(gateway.server._under_way()) == 2 and one.replica.asked)
        gateway.skew += 9.0
        assert [found.overdue for found in one.told()] == ["running"]
        one.replica.release()
        assert [client.reply().status for client in (first, second)] == [200, 200]
    assert sorted((found.overdue, found.why_not) for found in one.told()) == [
        ("", "seen before"),
        ("over", ""),
        ("running", ""),
    ]


# What was refused, and why.


def counters(gateway):
    return gateway.plane.reports.metrics.snapshot(0.0).counters


def lines(gateway, capsys):
    gateway.loop.call(gateway.plane.reports.flush)
    told = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    return [one for one in told if one["event"] == "request"]


@pytest.fixture
def logged(gateway, replica):
    gateway.plane.reports._logs = True
    gateway.serve(replica())
    return gateway


def test_a_wrong_key_is_counted_and_makes_no_line(logged, client, capsys):
    assert client.ask(headers=f"Authorization: Bearer {OTHER_KEY}\r\n").status == 401
    with Client(logged.port) as another:
        assert another.ask("GET", "/v1/models", headers="").status == 401
    assert counters(logged)["errors"] == {"invalid_api_key": 2}
    assert lines(logged, capsys) == []


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        (CHAT, {"model": "other", "messages": []}, 404, "model_not_found"),
        (CHAT, b"{", 400, "invalid_request"),
        (CHAT, {"model": MODEL, "messages": [], "n": 99}, 400, "invalid_request"),
        ("/v1/none", {}, 404, "not_found"),
    ],
)
def test_the_line_of_a_refused_request_says_why(logged, client, capsys, path, body, status, code):
    reply = client.ask("POST", path, body)
    assert reply.status == status
    (line,) = lines(logged, capsys)
    assert (line["status"], line["error"], line["id"]) == (status, code, reply.headers["x-request-id"])
    assert line["key"]
    assert counters(logged)["errors"] == {code: 1}


def test_the_line_of_an_answer_has_no_error(logged, client, capsys):
    client.ask()
    (line,) = lines(logged, capsys)
    assert "error" not in line
    assert counters(logged)["errors"] == {}


def test_an_error_of_the_replica_is_counted_as_its_own(logged, replica, client):
    logged.serve(replica(unary(b'{"error":{}}', "422 Unprocessable Entity")))
    assert client.ask().status == 422
    logged.loop.call(logged.plane.reports.flush)
    assert counters(logged)["errors"] == {"replica": 1}


@pytest.mark.parametrize(
    ("rules", "question", "rule"),
    [
        ({"deny": (DenyRule(name="coins", pattern="bitcoin"),)}, "buy bitcoin", "deny:coins"),
        ({"max_input": 5}, "123456", "max_input"),
    ],
)
def test_a_guardrail_is_counted_by_the_rule_that_stopped_a_prompt(gateway, replica, client, rules, question, rule):
    gateway.serve(replica(), terms=Terms(guardrails=Guardrails(**rules)))
    assert client.ask(body={"model": MODEL, "messages": [{"role": "user", "content": question}]}).status == 400
    gateway.loop.call(gateway.plane.reports.flush)
    assert counters(gateway)["guarded"] == {rule: 1}


@pytest.mark.parametrize("streamed", [False, True])
def test_a_rule_that_ends_an_answer_is_told_and_counted(rollout, streamed):
    said = (
        stream(*(event("buy bitcoin now " * 3) for _ in range(9)), DONE)
        if streamed
        else unary(completion("buy bitcoin"))
    )
    rules = Guardrails(deny=(DenyRule(name="coins", pattern="bitcoin", on="output"),))
    one = rollout(said, terms=Terms(guardrails=rules))
    one.ask(stream=streamed)
    assert one.one().guarded
    assert counters(one.gateway)["guarded"] == {"answer": 1}


class Spent:
    """A meter of keys that have used up their requests of the day."""

    def take(self, key, estimate, debtor):
        some, none = Amounts(9, 9, 9), Amounts(0, 9, 9)
        return used_up(Budget(some, some), Refuse(key.id, "day", 0, none, 60.0, 60.0, 60.0))


def test_a_limit_is_counted_by_what_was_used_up(gateway, replica, client):
    key = ApiKey(id="k", digest=key_digest(PEPPER, KEY), limits=Limits(requests_per_day=9))
    gateway.set_keys(msgspec.json.encode(KeyFile(pepper=PEPPER.hex(), keys=(key,))))
    gateway.plane.line.meter = Spent()
    gateway.serve(replica())
    assert client.ask().status == 429
    gateway.loop.call(gateway.plane.reports.flush)
    assert counters(gateway)["limited"] == {"requests a day": 1}
    assert counters(gateway)["errors"] == {"rate_limit_exceeded": 1}


def test_who_asks_is_told_as_a_digest_that_is_the_same_each_time_and_is_no_unit_where_requests_are_drawn(rollout):
    one = rollout()
    for user in ("ann", "ben", "ann", ""):
        one.ask(**({"user": user} if user else {}))
    first, other, again, nobody = one.told()
    assert first.caller == again.caller != other.caller != ""
    assert nobody.caller == ""
    assert {found.unit for found in (first, other, again, nobody)} == {""}
    assert "ann" not in first.caller
