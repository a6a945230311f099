"""The face before vLLM: every request is held to what the release says, and only known paths go through."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from guideway.engines.beside_vllm.guideway_face import Face

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
DECODING = {"temperature": 0.2, "top_p": 0.9, "top_k": 0, "max_tokens": 64, "stop": ["END"], "seed": None}
ASKED = {"messages": [{"role": "user", "content": "Hello"}]}


class Behind:
    """The server behind the face: it remembers what it was given."""

    def __init__(self) -> None:
        self.body: dict[str, Any] = {}
        self.scopes: list[Any] = []
        self.after: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        if scope["type"] == "http" and scope["method"] == "POST":
            message = await receive()
            self.body = json.loads(message["body"])
            assert dict(scope["headers"])[b"content-length"] == b"%d" % len(message["body"])
            self.after.append(await receive())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})


class Site(dict[str, Any]):
    """A release before a server."""

    behind: Behind
    face: Face

    def ask(self, body: Any, path: str = CHAT, method: str = "POST") -> tuple[int, Any]:
        """The status and the body of the answer."""
        said = body if isinstance(body, bytes) else json.dumps(body).encode()
        waiting = [
            {"type": "http.request", "body": said[:7], "more_body": True},
            {"type": "http.request", "body": said[7:], "more_body": False},
            {"type": "http.disconnect"},
        ]
        sent: list[Any] = []

        async def receive() -> Any:
            return waiting.pop(0)

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [(b"content-length", b"%d" % len(said)), (b"content-type", b"application/json")]
        scope = {"type": "http", "method": method, "path": path, "headers": headers}
        asyncio.run(self.face(scope, receive, send))
        return sent[0]["status"], json.loads(sent[1]["body"])

    def given(self, body: Any, path: str = CHAT) -> dict[str, Any]:
        """What the server is given for *body*."""
        assert self.ask(body, path)[0] == 200
        return self.behind.body


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return make_site(tmp_path, monkeypatch)


def make_site(folder: Path, monkeypatch: pytest.MonkeyPatch, system: str = "") -> Site:
    model = folder / "model"
    model.mkdir()
    settings = {"name": "helper", "task": "chat", "engine": "vllm", "system": system, "decoding": DECODING}
    (folder / "serve.json").write_text(json.dumps(settings))
    special = [{"content": "<|end|>", "special": True}, {"content": "<b>", "special": False}]
    (model / "tokenizer.json").write_text(json.dumps({"added_tokens": special}))
    (model / "config.json").write_text('{"eos_token_id": 5, "max_position_embeddings": 256}')
    (model / "generation_config.json").write_text('{"eos_token_id": [0, 5], "repetition_penalty": 1.3}')
    monkeypatch.setenv("GUIDEWAY_RELEASE", str(folder))
    made = Site()
    made.behind = Behind()
    made.face = Face(made.behind)
    return made


def test_what_a_request_leaves_out_comes_from_the_release(site):
    given = site.given(ASKED)
    assert given["model"] == "helper" and given["max_tokens"] == 64 and given["temperature"] == 0.2
    assert (given["top_p"], given["top_k"], given["stop"]) == (0.9, 0, ["END"])
    assert given["stop_token_ids"] == [0, 5] and "seed" not in given


def test_what_a_request_says_goes_before_and_null_says_nothing(site):
    given = site.given({**ASKED, "temperature": 0, "top_p": None, "seed": 3, "max_tokens": 9, "stop": "x"})
    assert (given["temperature"], given["top_p"], given["seed"], given["max_tokens"]) == (0, 0.9, 3, 9)
    assert given["stop"] == ["END", "x"]


@pytest.mark.parametrize(
    ("path", "body", "length"),
    [
        (CHAT, {**ASKED, "max_tokens": 9, "max_completion_tokens": 7}, 7),
        (CHAT, {**ASKED, "max_tokens": 5000}, 256),
        (COMPLETIONS, {"prompt": "a", "max_tokens": 5000}, 256),
        (COMPLETIONS, {"prompt": "a"}, 64),
    ],
)
def test_an_answer_is_as_long_as_asked_and_never_longer_than_the_context(site, path, body, length):
    given = site.given(body, path)
    assert given["max_tokens"] == length and "max_completion_tokens" not in given


def test_the_system_prompt_of_the_release_comes_first_unless_the_client_brings_one(tmp_path, monkeypatch):
    site = make_site(tmp_path, monkeypatch, system="Be kind.")
    assert site.given(ASKED)["messages"][0] == {"role": "system", "content": "Be kind."}
    own = [{"role": "developer", "content": "Be brief."}, *ASKED["messages"]]
    turns = site.given({"messages": own})["messages"]
    assert [turn["role"] for turn in turns] == ["system", "user"] and turns[0]["content"] == "Be brief."


@pytest.mark.parametrize("said", ["a<|end|>b", "a<|<|end|>end|>b", [{"type": "text", "text": "a<|end|>b"}]])
def test_no_text_of_a_client_opens_or_closes_a_turn(site, said):
    assert site.given({"messages": [{"role": "user", "content": said}]})["messages"][0]["content"] == "ab"


def test_marks_inside_each_other_cost_no_more_than_others(site: Site) -> None:
    def seconds(depth: int) -> float:
        begun = time.process_time()
        said = site.given({"messages": [{"role": "user", "content": "<|e" * depth + "nd|>" * depth}]})
        assert said["messages"][-1]["content"] == ""
        return time.process_time() - begun

    short = min(seconds(2_000) for _ in range(3))
    assert seconds(32_000) < 64 * short  # taken out one layer at a time: 256 times


def test_tools_are_free_of_special_tokens_too(site):
    tool = {"type": "function", "function": {"name": "f", "description": "x<|end|>", "parameters": {"<|end|>a": 1}}}
    assert site.given({**ASKED, "tools": [tool]})["tools"][0]["function"] == {
        "name": "f", "description": "x", "parameters": {"a": 1}
    }  # fmt: skip


@pytest.mark.parametrize(
    "extra",
    [{"prompt_logprobs": 5}, {"return_token_ids": True}, {"chat_template": "{{ 1 }}"}, {"cache_salt": "x"},
     {"ignore_eos": True}, {"structured_outputs": {"regex": "a*"}}, {"kv_transfer_params": {}}, {"stop_token_ids": [9]},
     {"add_generation_prompt": False}, {"min_tokens": 200}],
)  # fmt: skip
def test_fields_that_our_own_servers_do_not_know_do_not_reach_it(site, extra):
    assert site.given(ASKED | extra) == site.given(ASKED)


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        (CHAT, {**ASKED, "n": 2}, "n"),
        (CHAT, {**ASKED, "functions": [{}]}, "functions"),
        (COMPLETIONS, {"prompt": "a", "best_of": 2}, "best_of"),
        (COMPLETIONS, {"prompt": "a", "echo": True}, "echo"),
        (COMPLETIONS, {"prompt": "a", "suffix": "b"}, "suffix"),
        (COMPLETIONS, {"prompt": ["a", "b"]}, "prompt"),
        (COMPLETIONS, {"prompt": [[1], [2]]}, "prompt"),
        (COMPLETIONS, {}, "prompt"),
        (CHAT, {"messages": "Hello"}, "messages"),
        (CHAT, {}, "messages"),
        (CHAT, {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x"}}]}]},
         "messages"),
        (CHAT, {**ASKED, "stop": ["x"] * 17}, "stop"),
    ],
)  # fmt: skip
def test_what_is_not_served_is_refused_by_the_name_of_the_field(site, path, body, param):
    status, said = site.ask(body, path)
    assert (status, said["error"]["param"], said["error"]["type"]) == (400, param, "invalid_request_error")
    assert not site.behind.scopes


@pytest.mark.parametrize("prompt", ["a", [1, 2, 3], ["a"]])
def test_a_prompt_is_one_text_or_token_ids(site, prompt):
    assert site.given({"prompt": prompt}, COMPLETIONS)["prompt"] == ("a" if prompt == ["a"] else prompt)


@pytest.mark.parametrize("body", [b"{", b"[]", b"", b"[" * 200_000])
def test_a_body_that_is_no_object_is_refused(site, body):
    assert site.ask(body)[0] == 400 and not site.behind.scopes


@pytest.mark.parametrize(
    "formed", [{"response_format": {"type": "json_object"}}, {"tools": [{}], "tool_choice": "required"}]
)
def test_the_releases_stop_strings_do_not_cut_an_answer_that_has_a_form(site, formed):
    assert site.given(ASKED | formed)["stop"] == []


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/tokenize"), ("POST", "/v1/responses"), ("POST", "/v1/load_lora_adapter"), ("GET", "/openapi.json"),
     ("POST", "/pause"), ("GET", CHAT), ("POST", "/v1/chat/completions/render"), ("POST", "/v1/models")],
)  # fmt: skip
def test_there_are_no_other_paths(site, method, path):
    assert site.ask(ASKED, path, method)[0] == 404 and not site.behind.scopes


@pytest.mark.parametrize("path", ["/v1/models", "/health", "/metrics"])
def test_health_and_metrics_can_be_read(site, path):
    assert site.ask({}, path, "GET")[0] == 200 and site.behind.scopes


def test_the_server_hears_that_a_client_has_left(site):
    site.given(ASKED)
    assert site.behind.after == [{"type": "http.disconnect"}]


def test_a_client_that_leaves_before_it_has_asked_costs_nothing(site):
    async def gone() -> Any:
        return {"type": "http.disconnect"}

    scope = {"type": "http", "method": "POST", "path": CHAT, "headers": []}
    asyncio.run(site.face(scope, gone, lambda _message: pytest.fail("nobody listens")))
    assert not site.behind.scopes


def test_the_server_begins_and_ends_as_without_the_face_and_has_no_web_sockets(site):
    async def nothing(*_: Any) -> Any:
        return {}

    asyncio.run(site.face({"type": "lifespan"}, nothing, nothing))
    asyncio.run(site.face({"type": "websocket", "path": "/v1/realtime"}, nothing, nothing))
    assert [scope["type"] for scope in site.behind.scopes] == ["lifespan"]
