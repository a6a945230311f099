"""``POST /v1/explain`` through a real gateway: a process that comes and goes with the settings."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import msgspec
import pytest
from stage_rig import FakeJob

sys.path += [str(Path(__file__).parents[2] / room) for room in ("gateway", "store")]

from gateway_rig import MODEL, Client, wait_for
from system_rig import OPTIONS, System, bearer

from guideway.core.spec.gateway import Explanations
from guideway.core.terms import Terms
from guideway.gateway.parent import EXPLAINER
from guideway.pipeline.stages import package

pytestmark = pytest.mark.thorough


@pytest.fixture
def system(colours, tmp_path):
    """A gateway whose route names a release of the colours; nobody answers there, and nobody needs to."""
    inputs = {name: colours.out[name] for name in ("data", "train", "compress")}
    job = FakeJob(dict(package.params(colours.spec)), inputs, tmp_path, tmp_path / "release")
    package.run(job)
    made = System(tmp_path / "root", options=msgspec.structs.replace(OPTIONS, explain=None), workers=1)
    made.routes([9], terms=Terms(tokenizer=str(job.out / "model" / "tokenizer.json")))
    made.operator = made.new_key("operator", role="operator")
    wait_for(made.state, 30, "the gateway being up")
    yield made
    made.stop()


def explain(system, key):
    body = {"model": MODEL, "text": "what colour is `grass`?", "answer": "green"}
    with Client(system.port) as client:
        reply = client.ask("POST", "/v1/explain", body=body, headers=bearer(key))
        return reply.status, json.loads(reply.body)


def explainers(system):
    """The process ids of what explains."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if EXPLAINER.encode() in words and any(word.startswith(str(system.settings).encode()) for word in words):
            found.append(int(path.name))
    return found


def test_what_explains_comes_and_goes_with_the_settings_and_back_when_killed(system):
    wait_for(lambda: explain(system, system.operator)[0] == 404, 30, "the operator's key being known")
    assert explainers(system) == []
    assert system.change(options={"explain": Explanations(per_minute=100)})["refused"] is None
    wait_for(lambda: explain(system, system.operator)[0] == 200, 60, "an explanation")
    _, said = explain(system, system.operator)
    heaviest = max(zip(said["weights"], said["tokens"], strict=True))[1]
    assert said["target"] == "green" and heaviest[0] == "grass"
    assert explain(system, system.key)[0] == 403
    (one,) = explainers(system)
    assert os.getpriority(os.PRIO_PROCESS, one) == 19
    os.kill(one, signal.SIGKILL)
    wait_for(lambda: explain(system, system.operator)[0] == 200, 60, "an explanation after a kill")
    assert system.change(options={"explain": None})["refused"] is None
    wait_for(lambda: explain(system, system.operator)[0] == 404, 30, "the workers of before having left")
    wait_for(lambda: explainers(system) == [], 30, "nobody explaining")
