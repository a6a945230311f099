"""The Open Inference Protocol of a classifier, and the batches behind it."""

from __future__ import annotations

import asyncio
import json
import threading

import numpy as np
import pytest
from classifier_fakes import LABELS, by_first_token, write_reader

from guideway.core.errors import SpecError
from guideway.core.proof import no_class
from guideway.kit.http1 import Request
from guideway.replica.batching import TOKENS, Batcher
from guideway.replica.classifier import FILE, read_settings
from guideway.replica.inference import Classification

INFER = "/v2/models/weather/infer"


class House:
    """A service over *compute*; ``ask`` answers a few requests at once, one after the other sent."""

    def __init__(self, folder, compute=by_first_token, limit=8, most=4, tells=False):
        self.reader, self.settings = write_reader(folder)
        self.compute, self.limit, self.most, self.tells = compute, limit, most, tells
        self.service: Classification | None = None

    def ask(self, *requests):
        async def main():
            batcher = Batcher(self.compute, asyncio.get_running_loop(), self.most)
            self.service = Classification(
                "weather", self.settings, self.reader, batcher, limit=self.limit, tells=self.tells
            )
            sent = [asyncio.ensure_future(self.service.handle(one)) for one in requests]
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


def infer(*texts, outputs=None, **more):
    tensor = {"name": "text", "shape": [len(texts)], "datatype": "BYTES", "data": list(texts)}
    body = {"inputs": [tensor | more], **({"outputs": [{"name": name} for name in outputs]} if outputs else {})}
    return Request("POST", INFER, {}, json.dumps(body).encode())


def outputs_of(response):
    assert response.status == 200, response.body
    return {one["name"]: one for one in json.loads(response.body)["outputs"]}


def test_a_text_has_a_label_and_a_score(house):
    found = outputs_of(house.ask(infer("storm tonight")))
    assert found.keys() == {"label", "score"}
    assert found["label"]["data"] == ["storm"]
    assert found["score"]["data"] == pytest.approx([0.9])


def test_several_texts_have_several_answers_in_their_order(house):
    found = outputs_of(house.ask(infer("rain", "calm", "storm", outputs=["probabilities", "label"])))
    assert list(found) == ["probabilities", "label"]
    assert found["label"]["data"] == ["rain", "calm", "storm"]
    assert found["probabilities"]["shape"] == [3, 3]
    assert found["probabilities"]["parameters"]["labels"] == list(LABELS)
    assert found["probabilities"]["data"][:3] == pytest.approx([0.05, 0.05, 0.9])


def test_what_it_is_not_sure_of_is_out_of_scope(house):
    assert outputs_of(house.ask(infer("zebra")))["label"]["data"] == ["none of them"]


def test_the_id_of_a_request_comes_back(house):
    request = infer("rain")
    asked = Request("POST", INFER, {}, json.dumps({**json.loads(request.body), "id": "7"}).encode())
    assert json.loads(house.ask(asked).body)["id"] == "7"


def test_metadata_name_the_classes_and_the_threshold(house):
    said = json.loads(house.ask(Request("GET", "/v2/models/weather", {}, b"")).body)
    assert said["inputs"] == [{"name": "text", "datatype": "BYTES", "shape": [-1]}]
    assert said["parameters"] == {"labels": list(LABELS), "threshold": 0.5, "out_of_scope": "none of them"}


def test_a_server_that_drains_is_not_ready_and_takes_nothing(house):
    assert house.ask(Request("GET", "/v2/health/ready", {}, b"")).status == 200
    house.service.draining = True

    async def asked(request):
        return await house.service.handle(request)

    assert asyncio.run(asked(Request("GET", "/v2/health/ready", {}, b""))).status == 503
    assert asyncio.run(asked(infer("rain"))).status == 503


@pytest.mark.parametrize(
    ("request_", "status", "says"),
    [
        (Request("POST", INFER, {}, b"{"), 400, "cannot be read"),
        (Request("POST", INFER, {}, b'{"inputs": []}'), 400, "cannot be read"),
        (infer("rain", name="words"), 400, "the only input is 'text'"),
        (infer("rain", datatype="INT64"), 400, "the only input is 'text'"),
        (infer(7), 400, "a list of texts"),
        (infer(), 400, "one text at least"),
        (infer(*["rain"] * 257), 400, "256 at most"),
        (infer("rain", shape=[2]), 400, "the shape [2] does not hold 1 texts"),
        (infer("rain", "  "), 400, "text 1 is empty"),
        (infer("rain", outputs=["mood"]), 400, "there is no output 'mood'"),
        (Request("GET", INFER, {}, b""), 405, "takes POST"),
        (Request("POST", "/v2/models/other/infer", {}, b"{}"), 404, "there is no /v2/models/other/infer"),
    ],
)
def test_a_request_that_makes_no_sense_is_told_why(house, request_, status, says):
    response = house.ask(request_)
    assert response.status == status
    assert says in json.loads(response.body)["error"]


def test_what_waits_is_computed_together_up_to_the_largest_batch(tmp_path):
    sizes = []

    def compute(batch):
        sizes.append(len(batch))
        return by_first_token(batch)

    answers = House(tmp_path, compute, limit=9).ask(*(infer(word) for word in ["rain", "calm", "storm"] * 3))
    assert sizes == [4, 4, 1]
    assert [outputs_of(one)["label"]["data"][0] for one in answers] == ["rain", "calm", "storm"] * 3


def test_a_long_text_does_not_make_many_short_ones_long(tmp_path):
    sizes = []

    def compute(batch):
        sizes.append([len(ids) for ids in batch])
        return np.zeros((len(batch), 2), np.float32)

    async def main():
        batcher = Batcher(compute, asyncio.get_running_loop(), 64)
        waiting = [batcher.submit([1] * size) for size in (2, 2, TOKENS // 2, 2, 2)]
        batcher.start()
        await asyncio.gather(*waiting)
        batcher.stop()

    asyncio.run(main())
    assert sizes == [[2, 2], [TOKENS // 2, 2], [2]]


def test_one_more_than_the_house_holds_is_told_to_come_again(tmp_path):
    answers = House(tmp_path, limit=2).ask(*[infer("rain")] * 3)
    assert [one.status for one in answers] == [200, 200, 429]
    assert ("Retry-After", "1") in answers[2].headers


@pytest.mark.parametrize("broken", [lambda batch: 1 / 0, lambda batch: np.full((len(batch), 3), np.nan)])
def test_a_model_that_fails_is_an_error_and_the_next_batch_is_computed(tmp_path, broken):
    turns = iter([broken, by_first_token])

    def compute(batch):
        return next(turns)(batch)

    answers = House(tmp_path, compute, most=1).ask(infer("rain"), infer("calm"))
    assert [one.status for one in answers] == [500, 200]


def test_whoever_leaves_is_not_computed(tmp_path):
    seen = []

    async def main():
        batcher = Batcher(lambda batch: seen.extend(batch) or by_first_token(batch), asyncio.get_running_loop(), 4)
        left, stays = batcher.submit([1]), batcher.submit([2])
        left.cancel()
        batcher.start()
        await stays
        batcher.stop()

    asyncio.run(main())
    assert seen == [[2]]


def test_stopping_ends_the_thread():
    async def main():
        batcher = Batcher(by_first_token, asyncio.get_running_loop(), 4)
        batcher.start()
        batcher.stop()

    before = threading.active_count()
    asyncio.run(main())
    assert threading.active_count() == before


def answer(**outputs):
    return json.dumps({"outputs": [{"name": name, "data": data} for name, data in outputs.items()]}).encode()


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (answer(label=["a"], score=[0.75], probabilities=[0.25, 0.75]), ""),
        (answer(label=["a"], score=[0.75]), "named no class"),
        (answer(label=[], score=[0.75], probabilities=[0.25, 0.75]), "named no class"),
        (answer(label=["a"], score=[0.75], probabilities=[0.5, 0.75]), "are none"),
        (answer(label=["a"], score=[0.25], probabilities=[0.25, 0.75]), "are none"),
        (answer(label=["a"], score=[None], probabilities=[None, None]), "no numbers"),
        (b'{"choices": []}', "not that of a model server"),
        (b"<html>", "not that of a model server"),
    ],
)
def test_only_a_classification_proves_that_a_classifier_computes(body, says):
    found = no_class(body)
    assert says in found and bool(found) is bool(says)


def test_the_answer_to_a_probe_is_its_own_proof(house):
    asked = infer("Hello", outputs=["label", "score", "probabilities"])
    assert no_class(house.ask(asked).body) == ""


@pytest.mark.parametrize(
    "text", ["{", '{"labels": ["a", "a"], "max_tokens": 9}', '{"labels": ["a", "b"], "max_tokens": 1}']
)
def test_settings_that_make_no_sense_are_one_clear_line(tmp_path, text):
    (tmp_path / FILE).write_text(text)
    with pytest.raises(SpecError) as refused:
        read_settings(tmp_path)
    assert FILE in str(refused.value) and "\n" not in str(refused.value)


def test_a_model_that_tells_how_far_off_a_text_is_says_so_of_each_and_in_the_header_of_all(tmp_path):
    def compute(batch):
        shares = np.array([[0.001 if ids[0] == 3 else 0.5] for ids in batch])
        return np.concatenate([by_first_token(batch), shares], axis=1)

    house = House(tmp_path, compute, tells=True)
    response = house.ask(infer("storm", "rain"))
    found = outputs_of(response)
    assert found.keys() == {"label", "score", "outlier"}
    assert found["outlier"] == {"name": "outlier", "datatype": "FP64", "shape": [2], "data": [0.5, 0.001]}
    assert found["label"]["data"] == ["storm", "rain"] and found["score"]["data"] == pytest.approx([0.9, 0.9])
    assert dict(response.headers) == {"x-guideway-outlier": "0.002"}, "the smallest, times how many they are"
    assert outputs_of(house.ask(infer("rain", outputs=["probabilities"])))["probabilities"]["shape"] == [1, 3]
    said = json.loads(house.ask(Request("GET", "/v2/models/weather", {}, b"")).body)
    assert said["outputs"][-1] == {"name": "outlier", "datatype": "FP64", "shape": [-1]}


def test_a_model_that_does_not_tell_has_no_such_output_and_no_header(house):
    assert house.ask(infer("rain")).headers == ()
    assert house.ask(infer("rain", outputs=["outlier"])).status == 400
