"""``POST /v1/explain``: who may have what explained, how often, and what everybody else is told."""

from __future__ import annotations

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from guideway.core.errors import SpecError
from guideway.core.launch import Probe
from guideway.core.route import Arm, Endpoint, Route
from guideway.core.spec.gateway import Explanations
from guideway.core.terms import Terms
from guideway.kit.http1 import Request
from guideway.pipeline.explainer.__main__ import serving
from guideway.pipeline.explainer.desk import MOST_VARIANTS, Desk, Serving
from guideway.pipeline.stages.explain.attribution import Attribution, tokens_of


class Model:
    """Explains by the length of words."""

    def __init__(self, release):
        self.release, self.gate = release, threading.Event()
        self.gate.set()

    def variants(self, text, method):
        return len(tokens_of(text)) * (20 if method == "shap" else 1)

    def explain(self, text, *, answer, method):
        self.gate.wait(10)
        if answer == "unsayable":
            raise SpecError("there is no class 'unsayable'")
        tokens = tokens_of(text)
        weights = tuple(float(len(token.text)) for token in tokens)
        return Attribution(text, tokens, weights, answer or self.release, method, 0.0, -1.0, "nats")


class Office:
    """A desk with a clock that is set by hand, and a list of the releases that were opened."""

    def __init__(self, **options):
        self.now, self.release, self.opened = 100.0, "one", []
        self.work = ThreadPoolExecutor(1)
        self.desk = Desk(Explanations(**options), self.serving, self.work, lambda: self.now)

    def serving(self):
        return Serving("poet", self.release, self.open) if self.release else None

    def open(self):
        self.opened.append(Model(self.release))
        return self.opened[-1]

    def request(self, key="k1", models="", **body):
        body = {"model": "poet", "text": "why so blue", **body}
        headers = {"x-guideway-key": key, "x-guideway-models": models}
        return self.desk.handle(Request("POST", "/v1/explain", headers, json.dumps(body).encode()))

    def ask(self, **asked):
        answer = asyncio.run(self.request(**asked))
        return answer.status, json.loads(answer.body), dict(answer.headers)


@pytest.fixture
def office():
    made = Office()
    yield made
    made.work.shutdown()


def test_an_explanation_names_the_release_and_every_token(office):
    status, said, _ = office.ask(answer="sky")
    assert status == 200 and said["release"] == "one" and said["target"] == "sky"
    assert said["tokens"] == [["why", 0, 3], ["so", 4, 6], ["blue", 7, 11]] and said["weights"] == [3.0, 2.0, 4.0]


@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [
        ({"model": "other"}, 404, "model_not_found"),
        ({"models": "bard,sage"}, 404, "model_not_found"),
        ({"text": ""}, 400, "invalid_body"),
        ({"text": 7}, 400, "invalid_body"),
        ({"temperature": 1}, 400, "invalid_body"),
        ({"method": "gradients"}, 400, "invalid_body"),
        ({"answer": "unsayable"}, 400, "invalid_request"),
        ({"text": "a " * (MOST_VARIANTS // 20 + 1), "method": "shap"}, 400, "invalid_request"),
    ],
)
def test_what_cannot_be_explained_is_told_why(office, asked, status, code):
    found = office.ask(**asked)
    assert (found[0], found[1]["error"]["code"]) == (status, code)


def test_a_body_that_is_no_json_is_refused(office):
    answer = asyncio.run(office.desk.handle(Request("POST", "/v1/explain", {}, b"\xff{")))
    assert answer.status == 400


def test_a_key_has_so_many_a_minute_and_others_are_not_held_up():
    office = Office(per_minute=2)
    assert [office.ask()[0] for _ in range(3)] == [200, 200, 429]
    assert office.ask(key="k2")[0] == 200
    office.now += 30
    status, _, headers = office.ask()
    assert status == 429 and headers["Retry-After"] == "30"
    office.now += 31
    assert office.ask()[0] == 200


def test_only_so_many_wait(office):
    office.desk = Desk(Explanations(per_minute=99, queue=2), office.serving, office.work, lambda: office.now)
    office.ask()
    office.opened[0].gate.clear()

    async def crowd():
        asked = [asyncio.ensure_future(office.request()) for _ in range(4)]
        done, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        office.opened[0].gate.set()
        return [one.result().status for one in done], sorted([answer.status for answer in await asyncio.gather(*asked)])

    assert asyncio.run(crowd()) == ([503], [200, 200, 200, 503])
    assert office.ask()[0] == 200, "whoever waited has left room"


def test_a_model_stays_open_until_another_release_serves(office):
    assert [office.ask()[1]["target"] for _ in range(2)] == ["one", "one"] and len(office.opened) == 1
    office.release = "two"
    assert office.ask()[1]["release"] == "two" and len(office.opened) == 2
    office.release = None
    assert office.ask()[0] == 503


def test_the_route_tells_which_release_serves_and_where_it_lies(tmp_path):
    path, model = tmp_path / "route.json", tmp_path / "abc" / "model" / "tokenizer.json"
    assert serving(path) is None
    terms = Terms(tokenizer=str(model))
    arm = Arm("sha256:abc", (Endpoint("127.0.0.1", 1),), terms, Probe("/", "{}"))
    path.write_bytes(msgspec.json.encode(Route("dev", "poet", 1, 1, stable=arm)))
    found = serving(path)
    assert (found.name, found.release) == ("poet", "sha256:abc") and found.open.args == (tmp_path / "abc",)
    path.write_bytes(msgspec.json.encode(Route("dev", "poet", 1, 1)))
    assert serving(path) is None
