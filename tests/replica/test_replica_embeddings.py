"""Embeddings over OpenAI's API and the Open Inference Protocol: what is asked, what is answered, what is refused."""

from __future__ import annotations

import asyncio
import base64
import json

import numpy as np
import pytest
from embedder_fakes import DIRECTIONS, MOST, WIDTH, by_first_token, write_embedder

from guideway.core.proof import no_embedding
from guideway.kit.http1 import Request
from guideway.replica.batching import Batcher
from guideway.replica.embeddings import PATH, WINDOW, Embedding

INFER = "/v2/models/weather/infer"


class House:
    """A service over *compute*; ``ask`` answers a few requests at once, one after the other sent."""

    def __init__(self, folder, compute=by_first_token, limit=8, most=4):
        self.reader, self.settings = write_embedder(folder)
        self.compute, self.limit, self.most = compute, limit, most

    def ask(self, *requests, draining=False):
        async def main():
            batcher = Batcher(self.compute, asyncio.get_running_loop(), self.most)
            service = Embedding("weather", self.settings, self.reader, batcher, limit=self.limit)
            service.draining = draining
            sent = [asyncio.ensure_future(service.handle(one)) for one in requests]
            await asyncio.sleep(0)  # so that all are in line before the first batch
            batcher.start()
            answers = await asyncio.gather(*sent)
            batcher.stop()
            return answers

        found = asyncio.run(main())
        return found[0] if len(found) == 1 else found


@pytest.fixture
def house(tmp_path):
    return House(tmp_path)


def embed(given, **more):
    return Request("POST", PATH, {}, json.dumps({"model": "weather", "input": given, **more}).encode())


def infer(*texts, **more):
    tensor = {"name": "text", "shape": [len(texts)], "datatype": "BYTES", "data": list(texts)}
    return Request("POST", INFER, {}, json.dumps({"inputs": [tensor], **more}).encode())


def said(response):
    assert response.status == 200, response.body
    return json.loads(response.body)


def test_a_text_has_an_embedding_and_its_tokens_are_counted(house):
    found = said(house.ask(embed("storm tonight")))
    assert found["object"] == "list" and found["model"] == "weather"
    assert found["data"] == [{"object": "embedding", "index": 0, "embedding": [0.0, 1.0, 0.0]}]
    assert found["usage"] == {"prompt_tokens": 2, "total_tokens": 2}


def test_several_texts_have_embeddings_in_their_order(house):
    found = said(house.ask(embed(["rain", "calm", "storm calm"])))
    assert [one["index"] for one in found["data"]] == [0, 1, 2]
    assert [one["embedding"] for one in found["data"]] == DIRECTIONS[[3, 1, 2]].tolist()
    assert found["usage"]["prompt_tokens"] == 4


def test_base64_holds_the_same_numbers_in_float32(house):
    (one,) = said(house.ask(embed("zebra", encoding_format="base64", user="me")))["data"]
    assert np.frombuffer(base64.b64decode(one["embedding"]), "<f4").tolist() == DIRECTIONS[0].tolist()


def test_the_width_may_be_named_and_no_other(house):
    assert house.ask(embed("rain", dimensions=WIDTH)).status == 200
    refused = house.ask(embed("rain", dimensions=2))
    assert refused.status == 400 and json.loads(refused.body)["error"]["param"] == "dimensions"


def test_what_is_longer_than_the_model_reads_is_refused_or_cut_where_that_is_asked_for(house):
    long = "rain " * (MOST + 1)
    error = json.loads(house.ask(embed(["calm", long])).body)["error"]
    assert (error["code"], error["param"]) == ("context_length_exceeded", "input")
    assert "text 1 is longer than the 8 tokens" in error["message"]
    assert said(house.ask(embed(long, truncate_prompt_tokens=-1)))["usage"]["prompt_tokens"] == MOST
    assert house.ask(infer(long)).status == 400
    assert house.ask(infer(long, parameters={"truncate_prompt_tokens": -1})).status == 200


def test_a_text_of_exactly_as_many_tokens_is_read(house):
    assert said(house.ask(embed("rain " * MOST)))["usage"]["prompt_tokens"] == MOST


@pytest.mark.parametrize(
    ("request_", "status", "says"),
    [
        (Request("POST", PATH, {}, b"{"), 400, "cannot be read"),
        (Request("POST", PATH, {}, b'{"input": "a"}'), 400, "cannot be read"),
        (embed(""), 400, "text 0 is empty"),
        (embed(["rain", "  "]), 400, "text 1 is empty"),
        (embed([]), 400, "one text at least and 2048 at most"),
        (embed(["rain"] * 2049), 400, "one text at least and 2048 at most"),
        (embed({"text": "rain"}), 400, "a text, or a list"),
        (embed([1, 2, 3]), 400, "send text: ids of another tokenizer"),
        (embed([[1, 2], [3]]), 400, "send text: ids of another tokenizer"),
        (embed(["rain", 3]), 400, "everything in a list is a text"),
        (embed("rain", encoding_format="int8"), 400, "cannot be read"),
        (embed("rain", truncate_prompt_tokens=4), 400, "either -1"),
        (embed("rain", model="other"), 404, "there is no model 'other'"),
        (Request("GET", PATH, {}, b""), 405, "takes POST"),
        (Request("POST", "/v1/chat/completions", {}, b"{}"), 404, "there is no /v1/chat/completions"),
    ],
)
def test_what_makes_no_sense_is_told_as_openai_tells_it(house, request_, status, says):
    response = house.ask(request_)
    error = json.loads(response.body)["error"]
    assert response.status == status and says in error["message"]
    assert set(error) == {"message", "type", "param", "code"} and error["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("request_", "status", "says"),
    [
        (Request("POST", INFER, {}, b"{"), 400, "cannot be read"),
        (infer("rain", outputs=[{"name": "label"}]), 400, "there is no output 'label', only embedding"),
        (infer("rain", ""), 400, "text 1 is empty"),
        (Request("POST", "/v2/models/other/infer", {}, b"{}"), 404, "there is no /v2/models/other/infer"),
    ],
)
def test_the_other_protocol_has_errors_of_its_own_shape(house, request_, status, says):
    response = house.ask(request_)
    assert response.status == status and says in json.loads(response.body)["error"]


def test_an_inference_has_one_output_of_all_texts(house):
    found = said(house.ask(infer("rain", "calm", id="7")))
    assert (found["model_name"], found["id"]) == ("weather", "7")
    assert found["outputs"] == [
        {"name": "embedding", "datatype": "FP32", "shape": [2, 3], "data": [0.0, 0.0, -1.0, 1.0, 0.0, 0.0]}
    ]


def test_metadata_say_how_wide_an_embedding_is_and_how_much_is_read(house):
    found = said(house.ask(Request("GET", "/v2/models/weather", {}, b"")))
    assert found["outputs"] == [{"name": "embedding", "datatype": "FP32", "shape": [-1, WIDTH]}]
    assert found["parameters"] == {"width": WIDTH, "max_tokens": MOST}


def test_texts_of_two_requests_are_computed_together(tmp_path):
    sizes = []

    def compute(batch):
        sizes.append(len(batch))
        return by_first_token(batch)

    House(tmp_path, compute).ask(embed(["rain", "calm"]), embed("storm"), infer("calm"))
    assert sizes == [4]


def test_a_request_of_many_texts_lets_others_come_in_between(tmp_path):
    order = []

    def compute(batch):
        order.extend(ids[0] for ids in batch)
        return by_first_token(batch)

    House(tmp_path, compute).ask(embed(["rain"] * 3 * WINDOW), embed("storm"))
    assert order.index(2) <= WINDOW + 4 and len(order) == 3 * WINDOW + 1


def test_one_more_than_the_house_holds_is_told_to_come_again(tmp_path):
    answers = House(tmp_path, limit=2).ask(*[embed("rain")] * 3)
    assert [one.status for one in answers] == [200, 200, 429]
    assert ("Retry-After", "1") in answers[2].headers


def test_a_server_that_drains_takes_nothing(house):
    assert house.ask(embed("rain"), infer("rain"), draining=True)[0].status == 503
    assert house.ask(Request("GET", "/v2/health/ready", {}, b""), draining=True).status == 503


@pytest.mark.parametrize("broken", [lambda batch: 1 / 0, lambda batch: np.full((len(batch), 3), np.nan)])
def test_a_model_that_fails_is_an_error_and_the_next_batch_is_computed(tmp_path, broken):
    turns = iter([broken, by_first_token])

    def compute(batch):
        return next(turns)(batch)

    answers = House(tmp_path, compute, most=1).ask(embed("rain"), embed("calm"))
    assert [one.status for one in answers] == [500, 200]
    assert json.loads(answers[0].body)["error"]["type"] == "server_error"


def answer(*rows):
    return json.dumps({"data": [{"embedding": row} for row in rows]}).encode()


@pytest.mark.parametrize(
    ("body", "width", "says"),
    [
        (answer([0.6, 0.8]), 2, ""),
        (answer([0.6, 0.8]), 0, ""),
        (answer([0.6, 0.8]), 3, "has 2 numbers, and its release says 3"),
        (answer([0.6, 0.7]), 2, "its length is not 1"),
        (answer([0.0, 0.0]), 2, "its length is not 1"),
        (answer([1e200, 1e200]), 2, "its length is not 1"),
        (answer(), 2, "embedded nothing"),
        (answer([]), 0, "embedded nothing"),
        (answer([1.0], [1.0]), 1, "embedded nothing"),
        (answer([None, 1.0]), 2, "not that of a model server"),
        (b'{"choices": []}', 2, "not that of a model server"),
        (b"<html>", 2, "not that of a model server"),
    ],
)
def test_only_an_embedding_proves_that_an_encoder_computes(body, width, says):
    found = no_embedding(body, width)
    assert says in found and bool(found) is bool(says)
