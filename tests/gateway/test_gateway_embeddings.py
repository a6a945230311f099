"""Embeddings through the gateway: masked before they are computed, kept by the cache, counted by what was read."""

from __future__ import annotations

import base64
import json
import struct
from types import SimpleNamespace

import msgspec
import pytest
from gateway_paper import unary
from gateway_rig import MODEL, OPTIONS, Client

from guideway.core.route import ApiKey
from guideway.core.spec.gateway import Cache, Limits
from guideway.core.spec.gateway import Masking as Options
from guideway.core.terms import Terms
from guideway.gateway.limits.amounts import Estimate
from guideway.gateway.masking import Masking
from guideway.gateway.probing import sound
from guideway.gateway.request import Peek, Request
from guideway.gateway.routing import ServingArm

PATH = "/v1/embeddings"
TELEPHONE = "13812345678"


def answer(embedding, tokens=2):
    data = [{"object": "embedding", "index": 0, "embedding": embedding}]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return json.dumps({"object": "list", "model": MODEL, "data": data, "usage": usage}).encode()


def asking(given, **more):
    return {"model": MODEL, "input": given, **more}


@pytest.fixture
def gateway(made):
    """One that masks as is usual."""
    return made(msgspec.structs.replace(OPTIONS, masking=Options()))


@pytest.mark.parametrize("given", ["mail jo@example.com", ["a", "mail jo@example.com"]])
def test_a_replica_embeds_a_text_without_its_personal_data(gateway, replica, client, given):
    one = replica(unary(answer([0.6, 0.8])))
    gateway.serve(one)
    reply = client.ask(path=PATH, body=asking(given))
    assert (reply.status, reply.json()["data"][0]["embedding"]) == (200, [0.6, 0.8])
    asked = json.loads(one.asked[0].body)["input"]
    assert "jo@example.com" not in str(asked) and "[EMAIL_1]" in str(asked)


@pytest.mark.parametrize("ids", [[1, 2, 3], [[1, 2, 3]], ["a", [1]]])
def test_token_ids_are_refused_because_nobody_here_can_read_them(gateway, replica, client, ids):
    one = replica()
    gateway.serve(one)
    reply = client.ask(path=PATH, body=asking(ids))
    error = reply.json()["error"]
    assert (reply.status, error["code"], error["param"]) == (400, "personal_data", "input")
    assert one.asked == []


@pytest.mark.parametrize("given", ["a", "mail jo@example.com"])
def test_an_answer_of_numbers_passes_byte_by_byte_whatever_it_looks_like(gateway, replica, client, given):
    """Base64 may spell what looks like a telephone number: changing it would change the numbers."""
    body = answer(TELEPHONE + "+" + base64.b64encode(struct.pack("<3f", 1.0, 0.0, 0.0)).decode())
    gateway.serve(replica(unary(body)), terms=Terms())
    assert client.ask(path=PATH, body=asking(given, encoding_format="base64")).body == body
    said = Masking(Options(), {}).prepare(json.dumps(asking("a")).encode())
    assert said.stream is not None and TELEPHONE not in said.stream("content").feed(f"call {TELEPHONE} now, please")


def test_the_same_text_is_computed_once(made, replica):
    gateway = made(msgspec.structs.replace(OPTIONS, cache=Cache()))
    one = replica(unary(answer([0.6, 0.8])))
    gateway.serve(one)
    with Client(gateway.port) as client:
        first, again = (client.ask(path=PATH, body=asking("a")) for _ in range(2))
        assert first.body == again.body and len(one.asked) == 1
        client.ask(path=PATH, body=asking("a", encoding_format="base64"))
        client.ask(path=PATH, body=asking(["b"]))
        assert len(one.asked) == 3


@pytest.mark.parametrize(("path", "answer_tokens"), [(PATH.encode(), 0), (b"/v1/chat/completions", 128)])
def test_nothing_is_reserved_for_an_answer_that_has_no_tokens(gateway, monkeypatch, path, answer_tokens):
    taken: list[Estimate] = []
    plane = gateway.plane
    monkeypatch.setattr(plane, "line", SimpleNamespace(meter=SimpleNamespace(take=lambda *told: taken.append(told[1]))))
    asked = Request()
    asked.path, asked.body = path, b"x" * 400
    asked.key = ApiKey("k", "", limits=Limits(tokens_per_minute=1000))
    arm = ServingArm("stable", "r", (), terms=Terms(max_tokens=128))
    plane.reserve(asked, Peek(MODEL), arm, None)
    assert taken == [Estimate(taken[0].input_tokens, answer_tokens)] and taken[0].input_tokens >= 100


def test_only_an_embedding_of_the_right_width_is_sound():
    assert sound(200, answer([0.6, 0.8]), "embedding", 2)
    assert not sound(200, answer([0.6, 0.8]), "embedding", 3)
    assert not sound(200, answer([0.6, 0.6]), "embedding", 2)
    assert not sound(500, answer([0.6, 0.8]), "embedding", 2)
    assert not sound(200, answer([0.6, 0.8]))
