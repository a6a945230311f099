"""A classifier from labelled rows to answers through the gateway, and a canary of the next one."""

from __future__ import annotations

import json
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from journey_rig import Service, eventually

sys.path.append(str(Path(__file__).parents[1] / "pipeline" / "stages"))
from classify_rig import make_project

pytestmark = [pytest.mark.journey, pytest.mark.thorough]
SPEC = """guideway: 1
name: intents
task: classify
data:
  sources: [{path: rows.jsonl, licence: CC0-1.0, origin: written for this test}]
  out_of_scope: oos
  splits: {val: {by: [part], values: [val], judged: false}, test: {by: [part], values: [test]}}
train:
  {recipe: full, base: base, steps: 30, batch: 8, learning_rate: 0.003, warmup: 3, validation: {split: val}}
evaluate: {require: [{metric: accuracy, split: test, at_least: 0.8}]}
serve: {guardrails: {outlier: {flag: 0.85, by: meaning}}}
policy: {masking: {email: mask}}
gateway:
  port: ${GATEWAY_PORT:-8080}
rollout:
  steps: [{weight: 0.3, units: 60, shortest: 0.5}, {weight: 0.5, units: 60, shortest: 0.5}]
  require: [{signal: errors, margin: 2.0, objective: 0.2}]
"""


@pytest.fixture(scope="module")
def intents(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A project with a tiny encoder, up in `dev`."""
    folder = make_project(tmp_path_factory.mktemp("journey") / "intents")
    (folder / "guideway.yaml").write_text(SPEC, encoding="utf-8")
    service = Service(folder)
    service.first_events = service.up()  # type: ignore[attr-defined]
    yield service
    service("down")
    eventually(lambda: not service.processes())


def infer(service: Service, *texts: str, client: httpx.Client | None = None) -> httpx.Response:
    tensor = {"name": "text", "shape": [len(texts)], "datatype": "BYTES", "data": texts}
    url = f"{service.url.removesuffix('/v1')}/v2/models/intents/infer"
    post: Any = (client or httpx).post
    return post(url, json={"inputs": [tensor]}, headers={"Authorization": f"Bearer {service.key}"}, timeout=30.0)  # type: ignore[no-any-return]


def labels(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return next(one["data"] for one in answer.json()["outputs"] if one["name"] == "label")  # type: ignore[no-any-return]


def test_the_gate_judges_it_by_what_a_classifier_can_prove(intents):
    judged = {
        event["data"]["clause"]: event["data"]["verdict"]
        for event in intents.first_events
        if "clause" in event.get("data", {})
    }
    assert {judged[clause] for clause in ("DAT-02", "ROB-04", "SEC-01", "SPEC-1")} == {"PASS"}
    assert judged["EVL-01"] == "FAIL", "the baseline is right every time too, and equal is not better"


def test_texts_get_their_labels_through_the_gateway(intents):
    answer = infer(intents, "will it rain in rome today", "please play some jazz music", "show the limit of my account")
    assert labels(answer) == ["weather", "music", "money"]
    assert len(answer.headers["x-guideway-release"]) == 12 and answer.headers["x-request-id"]


def test_a_text_about_something_else_is_flagged_and_one_like_the_rows_is_not(intents):
    strange, ordinary = infer(intents, "why is the sea salty"), infer(intents, "will it rain in rome today")
    assert 0.0 < float(strange.headers["x-guideway-outlier"]) <= 0.15
    assert "x-guideway-outlier" not in ordinary.headers
    told = [{one["name"]: one["data"] for one in answer.json()["outputs"]} for answer in (strange, ordinary)]
    assert told[0]["outlier"][0] < 0.15 < told[1]["outlier"][0]


def test_a_stranger_gets_no_label_and_personal_data_never_arrives(intents):
    key, intents.key = intents.key, "gw-wrong"
    assert infer(intents, "rain").status_code == 401
    intents.key = key
    first, second = (infer(intents, f"mail {name}@example.com about the rain") for name in ("ann", "bob"))
    assert first.json()["outputs"] == second.json()["outputs"], "the replica saw [EMAIL_1] both times"


def test_feedback_finds_the_release_that_answered(intents):
    id = infer(intents, "please start some folk music").headers["x-request-id"]
    said = httpx.post(
        f"{intents.url}/feedback",
        json={"request_id": id, "thumb": "down", "correction": "music"},
        headers={"Authorization": f"Bearer {intents.key}"},
    )
    assert said.status_code < 300, said.text


def test_the_next_classifier_is_judged_by_a_canary(intents):
    before = infer(intents, "rain").headers["x-guideway-release"]
    intents.edit("masking: {email: mask}}", "masking: {email: mask}, limits: English only}")
    intents("build")
    stopping, seen = threading.Event(), Counter[str]()

    def user() -> None:
        with httpx.Client() as client:
            number = 0
            while not stopping.is_set():
                number += 1
                answer = infer(intents, f"please play some jazz music {threading.get_ident()} {number}", client=client)
                seen[answer.headers.get("x-guideway-release", str(answer.status_code))] += 1

    users = [threading.Thread(target=user) for _ in range(3)]
    for one in users:
        one.start()
    try:
        intents("ship", "--strategy", "canary")
    finally:
        stopping.set()
        for one in users:
            one.join()
    after = infer(intents, "rain").headers["x-guideway-release"]
    assert before != after and set(seen) == {before, after}
    decided = [one["kind"] for one in json.loads(intents("audit", "decisions", "--json").stdout)]
    assert [kind for kind in decided if kind in ("raise", "promote")] == ["raise", "raise", "promote"]
