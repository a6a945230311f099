"""Batches through the official client: they run, they fail, they are cancelled, and tenants see only their own."""

from __future__ import annotations

import json
import time

import openai
import pytest
from batches_rig import CHAT, batch_client, batch_service, begin, ended, gateway_port, line, reached, results
from gateway_rig import MODEL, wait_for

__all__ = ["batch_client", "batch_service", "gateway_port"]


def test_a_batch_runs_and_its_results_have_the_shape_of_openai(batch_client, gateway_port):
    batch = begin(batch_client, line(1) + line(2), metadata={"for": "night"})
    assert (batch.status, batch.object, batch.metadata) == ("validating", "batch", {"for": "night"})
    assert batch.expires_at - batch.created_at == 86_400
    done = ended(batch_client, batch.id)
    assert (done.status, done.error_file_id, done.errors, done.model) == ("completed", None, None, MODEL)
    assert done.request_counts.model_dump() == {"total": 2, "completed": 2, "failed": 0}
    assert done.in_progress_at <= done.finalizing_at <= done.completed_at
    first, second = results(batch_client, done.output_file_id)
    assert first.keys() == {"id", "custom_id", "response", "error"}
    assert first["id"].startswith("batch_req_")
    assert (first["custom_id"], second["custom_id"], first["error"]) == ("id-1", "id-2", None)
    assert (first["response"]["status_code"], first["response"]["request_id"]) == (200, "up-1")
    assert first["response"]["body"]["choices"][0]["message"]["content"] == "re: line 1"
    file = batch_client.files.retrieve(done.output_file_id)
    assert (file.purpose, file.filename) == ("batch_output", f"{batch.id}_output.jsonl")


def test_the_body_reaches_the_gateway_byte_by_byte_as_it_stands_in_the_file(batch_client, gateway_port):
    body = b'{ "model": "poet",  "messages":[{"role":"user","content":"\\u00e9 \xe7\x8e\xab"}], "seed": 1.00e0 }'
    text = b'{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":' + body + b"}"
    assert ended(batch_client, begin(batch_client, text).id).status == "completed"
    assert gateway_port.asked[0].body == body
    assert "authorization" not in gateway_port.asked[0].headers


def test_never_more_lines_at_once_than_allowed_not_even_of_several_batches(batch_client, gateway_port):
    gateway_port.hold.add("*")
    data = b"".join(line(number) for number in range(10))
    batches = [begin(batch_client, data) for _ in range(3)]
    wait_for(lambda: gateway_port.now == 3, what="three lines under way")
    gateway_port.hold.clear()
    assert [ended(batch_client, batch.id).status for batch in batches] == ["completed"] * 3
    assert (gateway_port.most, len(gateway_port.asked)) == (3, 30)


def test_batches_of_two_tenants_take_turns(batch_service, gateway_port):
    gateway_port.hold.add("*")
    one, other = batch_service.client("key-a"), batch_service.client("key-b")
    first = begin(one, b"".join(line(number, f"a{number}") for number in range(40)))
    wait_for(lambda: gateway_port.now == 3, what="the first one under way")
    second = begin(other, b"".join(line(number, f"b{number}") for number in range(4)))
    reached(other, second.id, "in_progress")
    wait_for(lambda: batch_service.shelf("journals") == sorted([first.id, second.id]), what="both being open")
    gateway_port.hold.clear()
    ended(other, second.id)
    ended(one, first.id)
    assert max(place for place, text in enumerate(gateway_port.texts) if text[0] == "b") < 20


def test_bad_answers_go_to_the_error_file(batch_client, gateway_port):
    gateway_port.statuses["line 2"] = [("400 Bad Request", "")]
    done = ended(batch_client, begin(batch_client, line(1) + line(2)).id)
    assert done.request_counts.model_dump() == {"total": 2, "completed": 1, "failed": 1}
    (wrong,) = results(batch_client, done.error_file_id)
    assert (wrong["custom_id"], wrong["response"]["status_code"], wrong["error"]) == ("id-2", 400, None)
    assert wrong["response"]["body"] == {"error": {"message": "no"}}
    assert [one["custom_id"] for one in results(batch_client, done.output_file_id)] == ["id-1"]


def test_lines_that_meet_a_limit_or_a_broken_connection_are_asked_again(batch_client, gateway_port):
    gateway_port.statuses["line 1"] = [("429 Too Many Requests", "Retry-After: 0\r\n")] * 3
    gateway_port.statuses["line 2"] = [("break", ""), ("502 Bad Gateway", "")]
    gateway_port.statuses["line 3"] = [("503 Service Unavailable", "Retry-After: 0\r\n")]
    done = ended(batch_client, begin(batch_client, line(1) + line(2) + line(3)).id)
    assert (done.request_counts.completed, done.error_file_id) == (3, None)


def test_retry_after_is_heeded_by_all_lines_of_the_batch(batch_client, gateway_port):
    gateway_port.statuses["line 0"] = [("429 Too Many Requests", "Retry-After: 9999\r\n")]
    batch = begin(batch_client, b"".join(line(number) for number in range(50)))
    wait_for(lambda: len(gateway_port.asked) >= 3 and gateway_port.now == 0, what="the first lines")
    other = ended(batch_client, begin(batch_client, line("x", "other")).id)
    assert other.status == "completed"
    assert len(gateway_port.asked) < 10
    batch_client.batches.cancel(batch.id)
    assert ended(batch_client, batch.id).status == "cancelled"


def test_a_server_that_always_fails_ends_as_a_failed_line(batch_client, gateway_port):
    gateway_port.statuses["line 1"] = [("500 Internal Server Error", "")] * 20
    done = ended(batch_client, begin(batch_client, line(1) + line(2)).id, 60)
    (wrong,) = results(batch_client, done.error_file_id)
    assert (wrong["response"]["status_code"], gateway_port.texts.count("line 1")) == (500, 5)


def test_a_key_that_is_revoked_in_the_middle_fails_the_rest(batch_client, gateway_port):
    gateway_port.statuses = {f"line {number}": [("401 Unauthorized", "")] for number in range(3, 8)}
    done = ended(batch_client, begin(batch_client, b"".join(line(number) for number in range(8))).id)
    assert (done.status, done.request_counts.completed, done.request_counts.failed) == ("completed", 3, 5)
    assert {one["response"]["status_code"] for one in results(batch_client, done.error_file_id)} == {401}


def test_a_batch_cancelled_in_the_middle_keeps_what_was_answered_and_tells_of_the_rest(batch_client, gateway_port):
    gateway_port.hold.add("line 2")
    batch = begin(batch_client, b"".join(line(number) for number in range(3)))
    wait_for(lambda: batch_client.batches.retrieve(batch.id).request_counts.completed == 2, what="two answers")
    assert batch_client.batches.cancel(batch.id).status == "cancelling"
    assert batch_client.batches.cancel(batch.id).status == "cancelling"
    gateway_port.statuses["line 2"] = [("break", "")]
    gateway_port.hold.clear()
    done = ended(batch_client, batch.id)
    assert (done.status, done.request_counts.completed) == ("cancelled", 2)
    assert done.cancelling_at <= done.cancelled_at
    assert [one["custom_id"] for one in results(batch_client, done.output_file_id)] == ["id-0", "id-1"]
    (rest,) = results(batch_client, done.error_file_id)
    assert (rest["custom_id"], rest["response"], rest["error"]["code"]) == ("id-2", None, "batch_cancelled")
    with pytest.raises(openai.ConflictError):
        batch_client.batches.cancel(batch.id)


def test_an_answer_that_is_no_json_is_told_as_one(batch_client, gateway_port, loop):
    async def nonsense(body, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n<>")
        await writer.drain()

    gateway_port._answer = nonsense
    (wrong,) = results(batch_client, ended(batch_client, begin(batch_client, line(1)).id).error_file_id)
    assert wrong["error"]["code"] == "invalid_response"


def test_bad_lines_are_named_with_their_numbers_and_nothing_runs(batch_client, gateway_port):
    other = {"model": "other", "messages": []}
    data = [
        line(1),
        b"{nonsense}\n",
        line(1),
        line(4, method="GET"),
        line(5, url="/v1/embeddings"),
        line(6, body=other),
        line(7, body={"model": MODEL, "stream": True}),
        b"\n",
        line(9, custom_id=""),
        b'{"custom_id": "10", "method": "POST", "url": "x", "body": ' + b"[" * 5000 + b"\n",
        line(11, custom_id="x" * 513),
        b"\xff\xfe\n",
        line(13, body={"messages": []}),
        line(14, "x" * 1_100_000),
        line(15),
    ]
    done = ended(batch_client, begin(batch_client, b"".join(data)).id)
    assert (done.status, done.output_file_id) == ("failed", None)
    assert done.failed_at
    assert [(error.line, error.code) for error in done.errors.data] == [
        (2, "invalid_json_line"),
        (3, "duplicate_custom_id"),
        (4, "invalid_method"),
        (5, "invalid_url"),
        (6, "mismatched_model"),
        (7, "stream_not_allowed"),
        (8, "empty_line"),
        (9, "invalid_custom_id"),
        (10, "invalid_json_line"),
        (11, "invalid_custom_id"),
        (12, "invalid_json_line"),
        (13, "invalid_request"),
        (14, "line_too_long"),
    ]
    assert gateway_port.asked == []


def test_a_file_with_no_lines_and_one_with_too_many_fail(batch_client):
    assert ended(batch_client, begin(batch_client, b" ").id).errors.data[0].code == "empty_line"
    many = b"".join(
        b'{"custom_id":"%d","method":"POST","url":"/v1/chat/completions","body":{"model":"m"}}\n' % n
        for n in range(50_001)
    )
    (error,) = ended(batch_client, begin(batch_client, many).id, 60).errors.data
    assert error.code == "too_many_lines"


def test_the_models_of_the_key_are_heeded(batch_service, batch_client):
    batch_service.worker.models = "prose, drama"
    (error,) = ended(batch_client, begin(batch_client, line(1)).id).errors.data
    assert (error.code, error.line) == ("model_not_found", 1)
    batch_service.worker.models = f"prose,{MODEL}"
    assert ended(batch_client, begin(batch_client, line(1)).id).status == "completed"


@pytest.mark.catalogue("B19")
def test_another_tenant_sees_nothing_of_a_batch(batch_service, batch_client):
    done = ended(batch_client, begin(batch_client, line(1)).id)
    other, colleague = batch_service.client("key-b"), batch_service.client("key-a2")
    for attempt in (
        lambda: other.batches.retrieve(done.id),
        lambda: other.batches.cancel(done.id),
        lambda: other.files.retrieve(done.input_file_id),
        lambda: other.files.content(done.output_file_id),
        lambda: other.files.delete(done.output_file_id),
        lambda: other.batches.create(input_file_id=done.input_file_id, endpoint=CHAT, completion_window="24h"),
    ):
        with pytest.raises(openai.NotFoundError):
            attempt()
    assert (other.batches.list().data, other.files.list().data) == ([], [])
    assert other.batches.list(after=done.id).data == []
    assert colleague.batches.retrieve(done.id) == done
    assert results(colleague, done.output_file_id)


def test_lists_go_page_by_page_the_newest_first(batch_client):
    made = [begin(batch_client, line(number)).id for number in range(5)]
    assert [one.id for one in batch_client.batches.list(limit=2).data] == made[:2:-1]
    assert batch_client.batches.list(limit=2).has_more
    assert [one.id for one in batch_client.batches.list(limit=2)] == made[::-1]


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"endpoint": "/v1/responses"}, "endpoint"),
        ({"completion_window": "1h"}, "completion_window"),
        ({"metadata": {str(n): "x" for n in range(17)}}, "metadata"),
        ({"metadata": {"k": "x" * 513}}, None),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 5}}, None),
    ],
)
def test_a_batch_that_cannot_be_meant_is_refused(batch_client, change, param):
    with pytest.raises(openai.BadRequestError) as caught:
        begin(batch_client, line(1), **change)
    assert caught.value.body["param"] == param


def test_the_results_of_a_batch_are_no_input(batch_client):
    done = ended(batch_client, begin(batch_client, line(1)).id)
    with pytest.raises(openai.BadRequestError):
        batch_client.batches.create(input_file_id=done.output_file_id, endpoint=CHAT, completion_window="24h")


@pytest.mark.catalogue("B26")
@pytest.mark.parametrize("body", [b"", b"[" * 10_000, b"\xff", b'{"input_file_id": 1}', b'{"x":"' + b"y" * 70_000])
def test_a_body_that_is_no_request_is_refused(batch_service, body):
    head = f"POST /v1/batches HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer key-a\r\nContent-Length: {len(body)}\r\n\r\n"
    reply = batch_service.raw(head.encode() + body)
    assert reply.status == 400
    assert json.loads(reply.body)["error"]["type"] == "invalid_request_error"


def test_a_batch_whose_window_ended_keeps_what_was_done(batch_service, batch_client, gateway_port):
    gateway_port.hold.add("line 1")
    batch = begin(batch_client, line(0) + line(1) + line(2))
    wait_for(lambda: batch_client.batches.retrieve(batch.id).request_counts.completed == 2, what="two answers")
    batch_service.kill()
    _age(batch_service, batch.id, 90_000)
    batch_service.start()
    done = ended(batch_client, batch.id)
    assert (done.status, done.request_counts.completed) == ("expired", 2)
    assert len(results(batch_client, done.output_file_id)) == 2
    (rest,) = results(batch_client, done.error_file_id)
    assert (rest["custom_id"], rest["error"]["code"]) == ("id-1", "batch_expired")


def _age(batch_service, batch_id, seconds):
    from msgspec.structs import replace

    from guideway.store import batches as rows
    from guideway.store.database import Database

    with Database(batch_service.folder / "batches" / "batches.db") as database:
        batch = rows.batch(database, "tenant-a", batch_id)
        rows.put_batch(database, replace(batch, created=batch.created - seconds, expires=batch.expires - seconds))


def test_a_window_that_ends_while_a_line_is_under_way_ends_the_line_too(batch_service, batch_client, gateway_port):
    gateway_port.hold.add("line 1")
    batch = begin(batch_client, line(0) + line(1))
    wait_for(lambda: batch_client.batches.retrieve(batch.id).request_counts.completed == 1, what="one answer")
    batch_service.kill()
    _age(batch_service, batch.id, batch.expires_at - time.time() - 2)
    batch_service.start()
    wait_for(lambda: gateway_port.texts.count("line 1") == 2, what="the line being asked again")
    assert ended(batch_client, batch.id).status == "expired"
