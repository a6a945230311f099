"""The gate for another llama.cpp: started as a replica is, it answers as the gateway and a release expect."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from guideway.core.launch import Launch, Process
from guideway.core.release import Decoding, ServeSettings
from guideway.engines import engine
from guideway.engines.llamacpp import BUSY
from guideway.kit.process import free_port
from guideway.targets.local import LocalTarget
from guideway.targets.probe import ask, until_quiet

SETTINGS = ServeSettings(name="helper", task="chat", engine="llamacpp", decoding=Decoding(max_tokens=9))
HELLO = [{"role": "user", "content": "what colour is `sky`?"}]


class Served(NamedTuple):
    """A replica that is ready, what started it, and its log."""

    launch: Launch
    target: LocalTarget
    process: Process
    log: Path

    def post(self, path: str, **body: Any) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.launch.port, timeout=30)
        connection.request("POST", path, json.dumps({"model": "helper", **body}), {"Content-Type": "application/json"})
        response = connection.getresponse()
        found = response.status, response.read()
        connection.close()
        return found

    def chat(self, **body: Any) -> dict[str, Any]:
        status, said = self.post("/v1/chat/completions", **{"messages": HELLO, **body})
        assert status == 200, said
        answer: dict[str, Any] = json.loads(said)
        return answer


@pytest.fixture(scope="module")
def release(llama: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release folder with a small random model in GGUF."""
    from gguf_rig import make_model

    from guideway.pipeline.stages.formats import gguf

    folder = tmp_path_factory.mktemp("release")
    (folder / "model").mkdir()
    gguf.export(make_model(folder / "source"), folder / "model", "fp32")
    return folder


@pytest.fixture(scope="module")
def replica(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The release on the local target, in an environment that would have it ask for a key and keep what it reads."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLAMA_API_KEY", "a key that nobody here has")
        patch.setenv("LLAMA_ARG_N_PREDICT", "3")
        served = start(release, tmp_path_factory.mktemp("run"), SETTINGS)
    yield served
    served.target.stop(served.process, 20.0)


def start(release: Path, run: Path, settings: ServeSettings) -> Served:
    target, log = LocalTarget(run, warm=False), run / "replica.log"
    launch = engine("llamacpp").launch(release, settings, port=free_port(), threads=1)
    process = target.start(launch, log)
    deadline = time.monotonic() + 60
    while not ask(launch.port, launch.probe).ready:
        assert target.alive(process) and time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    return Served(launch, target, process, log)


def test_it_is_found_ready_by_the_token_that_it_generates(replica: Served) -> None:
    found = ask(replica.launch.port, replica.launch.probe)
    assert found.ready and not found.lies


def test_what_a_request_does_not_say_comes_from_the_release(replica: Served) -> None:
    answer = replica.chat()
    assert answer["usage"]["completion_tokens"] <= 9 and answer["choices"][0]["finish_reason"] in ("stop", "length")
    assert answer["model"] == "helper"
    assert replica.chat()["choices"] == answer["choices"]
    assert replica.chat(max_tokens=2)["usage"]["completion_tokens"] == 2


def test_a_stream_ends_with_its_usage_where_it_was_asked_for(replica: Served) -> None:
    status, said = replica.post(
        "/v1/chat/completions", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    events = [line.removeprefix("data: ") for line in said.decode().splitlines() if line]
    assert status == 200 and events[-1] == "[DONE]"
    last = json.loads(events[-2])
    assert last["choices"] == [] and last["usage"]["completion_tokens"] >= 1
    assert last["usage"] | {"prompt_tokens": 0} != last["usage"]


def test_nobody_meets_what_another_has_asked(replica: Served) -> None:
    for _ in range(2):
        answer = replica.chat()
        assert answer["usage"].get("prompt_tokens_details", {}).get("cached_tokens", 0) == 0
    status, _ = replica.post("/slots")
    assert status >= 400
    assert "sky" not in replica.log.read_text()


def test_a_prompt_that_is_too_long_is_an_error_of_the_caller(replica: Served) -> None:
    status, said = replica.post("/v1/chat/completions", messages=[{"role": "user", "content": "sky " * 400}])
    assert status == 400 and "context" in json.loads(said)["error"]["message"]


def test_texts_are_completed_too_and_tokens_have_scores(replica: Served) -> None:
    status, said = replica.post("/v1/completions", prompt="the sky is", max_tokens=3, logprobs=2)
    assert status == 200 and json.loads(said)["usage"]["completion_tokens"] == 3
    scores = replica.chat(max_tokens=2, logprobs=True, top_logprobs=3)["choices"][0]["logprobs"]["content"]
    assert [len(one["top_logprobs"]) for one in scores] == [3, 3]


def test_its_gauges_say_whether_somebody_is_answered(replica: Served) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", replica.launch.port, timeout=30)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    assert all(f"\n{name} 0\n" in text for name in BUSY)
    assert until_quiet(replica.launch.port, BUSY, 60.0) > 50


def test_the_template_and_the_stop_strings_of_the_release_hold(release: Path, tmp_path: Path) -> None:
    plain = start(release, tmp_path / "one", SETTINGS)
    text = plain.chat()["choices"][0]["message"]["content"]
    plain.target.stop(plain.process, 20.0)
    stop = text[len(text) // 2]
    other = "{%- for one in messages -%}<|user|>{{ one.content }}{%- endfor -%}<|assistant|>"
    said = Decoding(max_tokens=9, stop=(stop,))
    made = start(release, tmp_path / "two", ServeSettings("helper", "chat", "llamacpp", template=other, decoding=said))
    try:
        assert made.chat()["choices"][0]["message"]["content"] == text[: text.index(stop)]
    finally:
        made.target.stop(made.process, 20.0)
