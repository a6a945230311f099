"""The official client against the gateway, unchanged."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
import subprocess

import msgspec
import openai
import pytest
from gateway_paper import DONE, SSE_HEAD, chat_or_stream, chunk, event, held, raw, stream, unary
from gateway_rig import KEY, MODEL, OTHER_KEY, PEPPER, wait_for

from guideway.core.route import ApiKey, KeyFile
from guideway.gateway.keys import key_digest

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


# What applications build on.

TOOL = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


def paper(message=None, **fields):
    """A completion with one choice, as a model server writes it."""
    choice = {"index": 0, "message": {"role": "assistant", "content": None, **(message or {})}, "finish_reason": "stop"}
    whole = {"id": "c1", "object": "chat.completion", "created": 1, "model": MODEL, "choices": [choice], **fields}
    return json.dumps(whole).encode()


def delta(choices, **fields):
    """One event of a stream."""
    piece = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": MODEL, "choices": choices, **fields}
    return b"data: " + json.dumps(piece).encode() + b"\n\n"


def test_tool_calls_come_back_and_their_results_go_there(gateway, replica, openai_client):
    call = {"id": "t1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "K\u00f6ln"}'}}
    one = replica(unary(paper({"tool_calls": [call]})))
    gateway.serve(one)
    answer = openai_client.chat.completions.create(**ASK, tools=[TOOL], tool_choice="auto")
    (made,) = answer.choices[0].message.tool_calls
    assert (made.id, made.function.name, json.loads(made.function.arguments)) == ("t1", "weather", {"city": "Köln"})
    result = {"role": "tool", "tool_call_id": "t1", "content": "rain"}
    openai_client.chat.completions.create(
        model=MODEL, messages=[*ASK["messages"], answer.choices[0].message, result], tools=[TOOL]
    )
    first, second = (json.loads(asked.body) for asked in one.asked)
    assert (first["tools"], first["tool_choice"]) == ([TOOL], "auto")
    assert second["messages"][-1] == result
    assert second["messages"][-2]["tool_calls"][0]["id"] == "t1"


def test_the_arguments_of_a_tool_call_are_streamed_piece_by_piece(gateway, replica, openai_client):
    def call(**function):
        return delta(
            [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": function}]}, "finish_reason": None}]
        )

    pieces = ['{"ci', 'ty": "', "Kö", 'ln"}']
    end = delta([{"index": 0, "delta": {}, "finish_reason": "tool_calls"}])
    events = [call(name="weather", arguments=""), *(call(arguments=piece) for piece in pieces), end, DONE]
    gateway.serve(replica(stream(*events)))
    name, arguments, reason = "", [], ""
    for piece in openai_client.chat.completions.create(**ASK, tools=[TOOL], stream=True):
        (choice,) = piece.choices
        for made in choice.delta.tool_calls or []:
            name += made.function.name or ""
            arguments.append(made.function.arguments)
        reason = choice.finish_reason or reason
    assert (name, arguments[1:], reason) == ("weather", pieces, "tool_calls")


def test_parameters_that_the_gateway_does_not_know_reach_the_replica_untouched(gateway, replica, openai_client):
    one = replica(chat_or_stream("{}"))
    gateway.serve(one)
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}, "strict": True}}
    fields = {"response_format": schema, "n": 3, "logprobs": True, "top_logprobs": 2, "seed": 7, "stop": ["\n"]}
    fields |= {"logit_bias": {"50256": -100}, "max_completion_tokens": 5, "temperature": 0.0, "user": "u"}
    openai_client.chat.completions.create(**ASK, **fields, extra_body={"top_k": 3, "guided": {"deep": [1.0, None]}})
    body = json.loads(one.asked[0].body)
    assert {name: body[name] for name in fields} == fields
    assert (body["top_k"], body["guided"]) == (3, {"deep": [1.0, None]})


def test_several_choices_and_logprobs_come_back_untouched(gateway, replica, openai_client):
    token = {"token": "a", "bytes": [97], "logprob": -0.25, "top_logprobs": []}
    choices = [
        {
            "index": n,
            "message": {"role": "assistant", "content": "a"},
            "finish_reason": "stop",
            "logprobs": {"content": [token]},
        }
        for n in range(3)
    ]
    gateway.serve(replica(unary(paper(choices=choices, system_fingerprint="fp"))))
    answer = openai_client.chat.completions.create(**ASK, n=3, logprobs=True)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert answer.choices[2].logprobs.content[0].logprob == -0.25
    assert answer.system_fingerprint == "fp"


def test_the_usage_at_the_end_of_a_stream(gateway, replica, openai_client):
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    one = replica(stream(event("a"), event("b"), delta([], usage=usage), DONE))
    gateway.serve(one)
    pieces = list(openai_client.chat.completions.create(**ASK, stream=True, stream_options={"include_usage": True}))
    assert (pieces[-1].choices, pieces[-1].usage.total_tokens) == ([], 5)
    assert json.loads(one.asked[0].body)["stream_options"] == {"include_usage": True}


def test_the_helper_of_the_client_for_streams(gateway, replica, openai_client):
    gateway.serve(replica(chat_or_stream("a", " rose")))
    with openai_client.chat.completions.stream(**ASK) as events:
        assert events.get_final_completion().choices[0].message.content == "a rose"


def test_legacy_completions_as_a_stream(gateway, replica, openai_client):
    def piece(text):
        choice = {"index": 0, "text": text, "finish_reason": None, "logprobs": None}
        whole = {"id": "1", "object": "text_completion", "created": 1, "model": MODEL, "choices": [choice]}
        return b"data: " + json.dumps(whole).encode() + b"\n\n"

    gateway.serve(replica(stream(piece("a"), piece("b"), DONE)))
    found = openai_client.completions.create(model=MODEL, prompt="p", stream=True)
    assert [one.choices[0].text for one in found] == ["a", "b"]


def test_embeddings_in_the_form_that_the_client_asks_for_by_itself(gateway, replica, openai_client):
    vector = [0.5, -1.0, 0.25]
    packed = base64.b64encode(struct.pack("<3f", *vector)).decode()
    data = [{"object": "embedding", "index": index, "embedding": packed} for index in range(2)]
    usage = {"prompt_tokens": 2, "total_tokens": 2}
    one = replica(unary(json.dumps({"object": "list", "model": MODEL, "data": data, "usage": usage}).encode()))
    gateway.serve(one)
    found = openai_client.embeddings.create(model=MODEL, input=["a", "b"], dimensions=3)
    assert [one.embedding for one in found.data] == [vector, vector]
    assert one.asked[0].first == "POST /v1/embeddings HTTP/1.1"
    assert json.loads(one.asked[0].body)["encoding_format"] == "base64"


def test_embeddings_as_numbers(gateway, replica, openai_client):
    data = [{"object": "embedding", "index": 0, "embedding": [0.5, -1.0]}]
    usage = {"prompt_tokens": 1, "total_tokens": 1}
    gateway.serve(replica(unary(json.dumps({"object": "list", "model": MODEL, "data": data, "usage": usage}).encode())))
    assert openai_client.embeddings.create(model=MODEL, input="a", encoding_format="float").data[0].embedding == [
        0.5,
        -1,
    ]
    with pytest.raises(openai.NotFoundError):
        openai_client.embeddings.create(model="other", input="a")


def test_one_model_by_its_name(gateway, replica, openai_client):
    gateway.serve(replica())
    found = openai_client.models.retrieve(MODEL)
    assert (found.id, found.object, found.owned_by) == (MODEL, "model", "guideway")
    with pytest.raises(openai.NotFoundError) as caught:
        openai_client.models.retrieve("gpt-4o")
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    assert MODEL in caught.value.body["message"]
    assert caught.value.request_id


def test_a_key_for_other_models_sees_none(gateway, replica, openai_client):
    gateway.serve(replica())
    bound = ApiKey(id="1", digest=key_digest(PEPPER, KEY), models=("other",))
    gateway.set_keys(msgspec.json.encode(KeyFile(pepper=PEPPER.hex(), keys=(bound,))))
    assert openai_client.models.list().data == []
    with pytest.raises(openai.NotFoundError) as caught:
        openai_client.models.retrieve(MODEL)
    assert MODEL not in caught.value.body["message"].partition("known:")[2]


def test_the_headers_of_an_answer(gateway, replica, openai_client):
    gateway.serve(replica(chat_or_stream("a")))
    asked = openai_client.chat.completions.with_raw_response.create
    responses = [asked(**ASK, extra_headers={"x-request-id": "mine"}) for _ in range(2)]
    ids = {response.headers["x-request-id"] for response in responses}
    assert len(ids) == 2
    assert "mine" not in ids, "the id is always ours: a client's own could be used twice"
    assert float(responses[0].headers["x-guideway-overhead-ms"]) >= 0


# Errors and second tries.


class Naps:
    """Takes the place of the client's clock: it never sleeps, and remembers how long it was told to."""

    def __init__(self, monkeypatch):
        self.taken = []
        monkeypatch.setattr(openai.OpenAI, "_sleep_for_retry", self._sleep)

    def _sleep(self, *, retries_taken, max_retries, options, response):
        headers = response.headers if response is not None else None
        client = openai.OpenAI(api_key="x")
        self.taken.append(client._calculate_retry_timeout(max_retries - retries_taken, options, headers))


def answers(*each):
    """These answers, one after the other."""
    left = list(each)

    async def answer(replica, asked, reader, writer):
        await left.pop(0)(replica, asked, reader, writer)

    return answer


LIMITED = b'{"error":{"message":"too many","type":"requests","param":null,"code":"rate_limit_exceeded"}}'


def test_too_many_requests_is_tried_again_after_the_time_that_was_told(gateway, replica, openai_client, monkeypatch):
    naps = Naps(monkeypatch)
    limited = unary(LIMITED, "429 Too Many Requests", "Content-Type: application/json\r\nRetry-After: 3\r\n")
    gateway.serve(replica(answers(limited, limited, chat_or_stream("a"))))
    patient = openai_client.with_options(max_retries=2)
    assert patient.chat.completions.create(**ASK).choices[0].message.content == "a"
    assert naps.taken == [3.0, 3.0]


def test_too_many_requests_without_a_second_try(gateway, replica, openai_client):
    gateway.serve(replica(unary(LIMITED, "429 Too Many Requests", "Content-Type: a/json\r\nRetry-After: 3\r\n")))
    with pytest.raises(openai.RateLimitError) as caught:
        openai_client.chat.completions.create(**ASK)
    assert (caught.value.response.headers["retry-after"], caught.value.status_code) == ("3", 429)


def test_no_replica_is_tried_again_after_our_own_retry_after(gateway, replica, openai_client, monkeypatch):
    naps = Naps(monkeypatch)
    gateway.serve()
    with pytest.raises(openai.InternalServerError):
        openai_client.with_options(max_retries=2).chat.completions.create(**ASK)
    assert naps.taken == [1.0, 1.0]


def test_a_broken_replica_is_an_error_that_the_client_tries_again(gateway, replica, openai_client, monkeypatch):
    Naps(monkeypatch)
    broken = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", close=True)
    one = replica(answers(broken, chat_or_stream("a")))
    gateway.serve(one)
    assert openai_client.with_options(max_retries=1).chat.completions.create(**ASK).choices[0].message.content == "a"
    assert len(one.asked) == 2


@pytest.mark.parametrize("status", ["500 Internal Server Error", "502 Bad Gateway", "503 Service Unavailable"])
def test_errors_of_the_server_are_internal_server_errors(gateway, replica, openai_client, status):
    gateway.serve(replica(unary(LIMITED, status)))
    with pytest.raises(openai.InternalServerError) as caught:
        openai_client.chat.completions.create(**ASK)
    assert caught.value.status_code == int(status[:3])


def test_a_body_that_is_too_large_is_an_api_status_error(gateway, replica, openai_client):
    gateway.serve(replica())
    huge = {"model": MODEL, "messages": [{"role": "user", "content": "x" * gateway.plane.body_limit}]}
    with pytest.raises(openai.APIStatusError) as caught:
        openai_client.chat.completions.create(**huge)
    assert (caught.value.status_code, caught.value.code) == (413, "body_too_large")


def test_the_asynchronous_client_finds_the_same(gateway, replica):
    gateway.serve(replica(chat_or_stream("a", "b")))

    async def look():
        url = f"http://127.0.0.1:{gateway.port}/v1"
        async with openai.AsyncOpenAI(base_url=url, api_key=KEY, max_retries=0) as client:
            models = [model.id async for model in client.models.list()]
            raw_response = await client.chat.completions.with_raw_response.create(**ASK)
            async with client.chat.completions.stream(**ASK) as events:
                whole = (await events.get_final_completion()).choices[0].message.content
            with pytest.raises(openai.NotFoundError):
                await client.models.retrieve("other")
            with pytest.raises(openai.AuthenticationError):
                await client.with_options(api_key=OTHER_KEY).models.list()
            return models, raw_response.headers["x-request-id"], whole

    models, id, whole = asyncio.run(look())
    assert (models, len(id), whole) == ([MODEL], 48, "ab")


def test_curl_sees_an_answer_a_stream_and_an_error(gateway, replica):
    gateway.serve(replica(chat_or_stream("a", "b")))
    url = f"http://127.0.0.1:{gateway.port}/v1/chat/completions"

    def curl(*more, key=KEY, **fields):
        argv = ["curl", "-sS", "-N", "-w", "\n%{http_code}", url, "-H", f"Authorization: Bearer {key}", *more]
        argv += ["-H", "Content-Type: application/json", "-d", json.dumps({**ASK, **fields})]
        said = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=True).stdout
        return said.rpartition("\n")[::2]

    body, status = curl()
    assert (json.loads(body)["choices"][0]["message"]["content"], status) == ("ab", "200")
    body, status = curl(stream=True)
    assert (body.count("data: "), body.endswith("data: [DONE]\n\n"), status) == (3, True, "200")
    body, status = curl(key=OTHER_KEY)
    assert (json.loads(body)["error"]["code"], status) == ("invalid_api_key", "401")
    body, status = curl("-H", "Expect: 100-continue", model="other")
    assert (json.loads(body)["error"]["code"], status) == ("model_not_found", "404")
