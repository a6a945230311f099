"""Calls that the model makes: none outside the list, whole or in pieces."""

from __future__ import annotations

import copy

import pytest
from guard_rig import chat, release

pytestmark = pytest.mark.catalogue("B46")


def call(name, at=0, arguments="{}"):
    return {"index": at, "id": f"c{at}", "type": "function", "function": {"name": name, "arguments": arguments}}


def piece(text, at=0):
    return {"index": at, "function": {"arguments": text}}


def gate(tools=("search",), **body):
    return release(tools=tools).answer(chat("hi", **body)).tools


def delta(*calls, finish=None, index=0):
    return {"index": index, "delta": {"tool_calls": list(calls)} if calls else {}, "finish_reason": finish}


def test_a_call_that_a_retrieved_text_asked_for_is_dropped():
    whole = {"index": 0, "finish_reason": "tool_calls"}
    whole["message"] = {"content": None, "tool_calls": [call("search"), call("send_mail", 1)]}
    tools = gate()
    assert tools.choice(whole) and tools.dropped == 1
    assert [one["function"]["name"] for one in whole["message"]["tool_calls"]] == ["search"]
    assert whole["finish_reason"] == "tool_calls"


def test_an_answer_of_nothing_but_such_calls_ends_as_filtered():
    whole = {"index": 0, "message": {"content": None, "tool_calls": [call("send_mail")]}, "finish_reason": "tool_calls"}
    assert gate().choice(whole)
    assert whole == {"index": 0, "message": {"content": None}, "finish_reason": "content_filter"}


def test_pieces_of_a_forbidden_call_are_dropped_with_it():
    tools = gate()
    events = [
        delta(call("search", 0, "")),
        delta(call("send_mail", 1, "")),
        delta(piece('{"q":', 0), piece('{"to":', 1)),
        delta(piece('"me"}', 1)),
        delta(piece("1}", 0)),
        delta(finish="tool_calls"),
    ]
    changed = [tools.choice(event) for event in events]
    assert changed == [False, True, True, True, False, False]
    kept = [one["index"] for event in events for one in event["delta"].get("tool_calls", [])]
    assert kept == [0, 0, 0] and events[-1]["finish_reason"] == "tool_calls"


def test_a_name_in_pieces_does_not_grow_into_another():
    tools = gate()
    first, second = delta(call("search")), delta(call("_and_send"))
    tools.choice(first)
    assert tools.choice(second) and "tool_calls" not in second["delta"]


@pytest.mark.parametrize(
    "odd", [{"index": 0}, {"index": 0, "function": None}, {"index": 0, "function": {"name": None}}, piece("{}")]
)
def test_a_call_without_a_name_is_not_allowed(odd):
    event = delta(odd)
    assert gate().choice(event) and "tool_calls" not in event["delta"]


def test_the_old_way_to_call_is_watched_too():
    tools = gate()
    event = {"index": 0, "delta": {"function_call": {"name": "send_mail", "arguments": ""}}, "finish_reason": None}
    assert tools.choice(event) and event["delta"] == {}
    more = {"index": 0, "delta": {"function_call": {"arguments": "x"}}, "finish_reason": "function_call"}
    assert tools.choice(more) and more["finish_reason"] == "content_filter" and more["delta"] == {}


def test_choices_are_told_apart():
    tools = gate()
    tools.choice(delta(call("search"), index=0))
    other = delta(piece("{}"), index=1)
    assert tools.choice(other)


def test_only_what_the_request_declares_may_be_called():
    tools = gate(tools=None, tools_of_request=None)
    event = delta(call("anything"))
    assert not tools.choice(event)
    declared = [{"type": "function", "function": {"name": "weather"}}]
    tools = release(tools=None).answer(chat("hi", tools=declared)).tools
    assert not tools.choice(delta(call("weather", 0)))
    assert tools.choice(delta(call("anything", 1)))


def test_no_functions_at_all_when_the_list_is_empty():
    event = delta(call("search"))
    kept = copy.deepcopy(event)
    assert gate(tools=()).choice(event) and event != kept


@pytest.mark.parametrize(
    "odd",
    [
        {"finish_reason": []},
        {"index": []},
        {"index": None},
        {"message": [1]},
        {"message": {"tool_calls": [None]}},
        {"message": {"tool_calls": {"a": 1}}},
        {"message": {"tool_calls": [{"index": {}}]}},
        {"message": {"tool_calls": [{"function": "search"}]}},
        {"message": {"tool_calls": [{"function": {"name": ["search"]}}]}},
        {"delta": {"function_call": "search"}},
        {"delta": {"function_call": {"name": {}}}},
    ],
)
def test_what_has_another_form_than_calls_have_is_a_value_error_and_nothing_else(odd):
    with pytest.raises(ValueError, match="known form"):
        gate().choice({"index": 0, **odd})
