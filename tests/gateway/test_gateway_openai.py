"""The official client against the gateway, unchanged."""

from __future__ import annotations

import asyncio

import openai
import pytest
from gateway_paper import SSE_HEAD, chat_or_stream, chunk, event, held, raw, unary
from gateway_rig import KEY, MODEL, OTHER_KEY, wait_for

ASK = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
def openai_client(gateway):
    with openai.OpenAI(base_url=f"http://127.0.0.1:{gateway.port}/v1", api_key=KEY, max_retries=0) as made:
        yield made


def test_a_completion_and_its_usage(gateway, replica, openai_client):
    gateway.serve(replica(chat_or_stream("a rose", " is")))
    answer = openai_client.chat.completions.create(**ASK)
    assert (answer.choices[0].message.content, answer.usage.total_tokens) == ("a rose is", 4)


def test_a_stream(gateway, replica, openai_client):
    gateway.serve(replica(chat_or_stream("a", " rose", " è", " 玫瑰")))
    pieces = [piece.choices[0].delta.content for piece in openai_client.chat.completions.create(**ASK, stream=True)]
    assert pieces == ["a", " rose", " è", " 玫瑰"]


def test_the_response_headers_can_be_read(gateway, replica, openai_client):
    gateway.serve(replica(chat_or_stream("a")))
    response = openai_client.chat.completions.with_raw_response.create(**ASK)
    assert len(response.headers["x-guideway-release"]) == 12
    assert response.parse()._request_id == response.headers["x-request-id"]


def test_the_models(gateway, replica, openai_client):
    gateway.serve(replica())
    (model,) = openai_client.models.list()
    assert (model.id, model.owned_by) == (MODEL, "guideway")


def test_legacy_completions(gateway, replica, openai_client):
    choice = b'{"index":0,"text":"x","finish_reason":"stop","logprobs":null}'
    gateway.serve(
        replica(unary(b'{"id":"1","object":"text_completion","created":1,"model":"poet","choices":[%b]}' % choice))
    )
    assert openai_client.completions.create(model=MODEL, prompt="p").choices[0].text == "x"


def test_many_at_once_with_the_asynchronous_client(gateway, replica):
    gateway.serve(replica(chat_or_stream("a", "b")), replica(chat_or_stream("a", "b")))

    async def ask(client, number):
        if number % 2:
            answer = await client.chat.completions.create(**ASK)
            return answer.choices[0].message.content
        stream = await client.chat.completions.create(**ASK, stream=True)
        return "".join([piece.choices[0].delta.content async for piece in stream])

    async def all_of_them():
        url = f"http://127.0.0.1:{gateway.port}/v1"
        async with openai.AsyncOpenAI(base_url=url, api_key=KEY, max_retries=0) as client:
            return await asyncio.gather(*(ask(client, number) for number in range(60)))

    assert asyncio.run(all_of_them()) == ["ab"] * 60


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"model": "other"}, openai.NotFoundError),
        ({"model": None}, openai.BadRequestError),
        ({"extra_headers": {"Authorization": f"Bearer {OTHER_KEY}"}}, openai.AuthenticationError),
    ],
)
def test_errors_are_the_clients_own_kinds(gateway, replica, openai_client, change, kind):
    gateway.serve(replica())
    with pytest.raises(kind) as caught:
        openai_client.chat.completions.create(**{**ASK, **change})
    assert caught.value.body["message"]
    assert caught.value.request_id


def test_no_replica_is_an_internal_server_error_that_the_client_may_retry(gateway, openai_client):
    gateway.serve()
    with pytest.raises(openai.InternalServerError) as caught:
        openai_client.chat.completions.create(**ASK)
    assert (caught.value.status_code, caught.value.response.headers["retry-after"]) == (503, "1")


def test_an_error_of_the_replica_is_passed_on(gateway, replica, openai_client):
    body = b'{"error":{"message":"too long","type":"invalid_request_error","param":"messages","code":"context_length"}}'
    gateway.serve(replica(unary(body, "400 Bad Request")))
    with pytest.raises(openai.BadRequestError) as caught:
        openai_client.chat.completions.create(**ASK)
    assert (caught.value.code, caught.value.param) == ("context_length", "messages")


def test_a_replica_that_dies_in_a_stream_raises_in_the_client(gateway, replica, openai_client):
    gateway.serve(replica(raw(SSE_HEAD + chunk(event("a")), close=True)))
    pieces = []
    with pytest.raises(openai.APIError, match="failed before its answer was complete"):
        pieces.extend(openai_client.chat.completions.create(**ASK, stream=True))
    assert [piece.choices[0].delta.content for piece in pieces] == ["a"]


def test_a_client_that_stops_reading_a_stream_frees_the_replica(gateway, replica, openai_client):
    async def endless(replica, asked, reader, writer):
        writer.write(SSE_HEAD + chunk(event("a")))
        await held(unary())(replica, asked, reader, writer)

    one = replica(endless)
    gateway.serve(one)
    with openai_client.chat.completions.create(**ASK, stream=True) as stream:
        assert next(iter(stream)).choices[0].delta.content == "a"
    wait_for(lambda: one.closed == 1, 1.0)
