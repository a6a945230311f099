"""Canaries of real releases under real requests: a good one, a bad one, and people who steer."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from journey_rig import Service, eventually

pytestmark = [pytest.mark.journey, pytest.mark.thorough]
WORDS = ("red", "green", "blue", "old", "new", "tall", "small", "river", "mountain", "city", "town", "lake", "music")
PLAN = """rollout:
  steps:
    - {weight: 0.3, units: 60, shortest: 0.5}
    - {weight: 0.5, units: 60, shortest: 0.5}
  require:
    - {signal: errors, margin: 2.0, objective: 0.2}
"""
CALM = "  alpha: 1.0e-30\n"
"""For what is not about latency: on a busy machine one replica is slower than two, and a new one than old ones."""
LONG = PLAN.replace("units: 60", "units: 100000") + CALM


class Users:
    """Some who ask all the time, each something else: what a cache knows already tells nothing of a candidate."""

    def __init__(self, service: Service) -> None:
        self.service, self.dice, self.stopping = service, random.Random(1), threading.Event()
        self.statuses: Counter[int] = Counter()
        self.releases: Counter[str] = Counter()
        self.threads = [threading.Thread(target=self._run) for _ in range(3)]

    def ask(self, client: httpx.Client) -> None:
        words = " ".join(self.dice.choices(WORDS, k=6))
        body = {"model": self.service.folder.name, "messages": [{"role": "user", "content": f"What is {words}?"}]}
        reply = client.post(
            f"{self.service.url}/chat/completions", json=body, headers={"Authorization": f"Bearer {self.service.key}"}
        )
        self.statuses[reply.status_code] += 1
        self.releases[reply.headers.get("x-guideway-release", "")] += 1

    def _run(self) -> None:
        with httpx.Client(timeout=30.0) as client:
            while not self.stopping.is_set():
                self.ask(client)


@contextmanager
def users(service: Service) -> Iterator[Users]:
    """Users who ask while the body of this runs; every one of them is answered."""
    asking = Users(service)
    for thread in asking.threads:
        thread.start()
    try:
        yield asking
    finally:
        asking.stopping.set()
        for thread in asking.threads:
            thread.join()
    assert set(asking.statuses) == {200}


def build(service: Service, old: str, new: str) -> None:
    """Another release, with one word of its spec changed."""
    service.edit(old, new)
    service("build")


def plan(service: Service, text: str = PLAN) -> None:
    path = service.folder / "guideway.yaml"
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


def weight(service: Service) -> float:
    return float(service.status()["route"]["weight"])


def reason(service: Service) -> str:
    """Why the last decision of the canary is what it is; empty before the first."""
    known = service.status()["canary"] or {}
    return str((known.get("decision") or {}).get("reason", ""))


def rollout(service: Service) -> dict[str, Any]:
    return dict(service.status()["rollout"])


def test_a_good_candidate_gets_everything_and_then_there_is_nothing_to_abort(service):
    plan(service, PLAN + CALM)
    before = service.release_that_answers()
    build(service, 'limits: ""', 'limits: "days and months only"')
    with users(service) as asking:
        service("ship", "--strategy", "canary")
        after = service.release_that_answers()
    assert after != before
    assert asking.releases[before] and asking.releases[after]
    decided = [one["kind"] for one in service.json("audit", "decisions")]
    assert [kind for kind in decided if kind in ("raise", "promote")] == ["raise", "raise", "promote"]
    assert "guideway rollback" in service("abort", code=2).stderr
    back = service("rollback")
    assert "serves in 'dev' again" in back.stdout
    assert service.release_that_answers() == before


def test_a_candidate_whose_answers_are_cut_off_is_undone_by_that(service):
    plan(service)
    before = service.release_that_answers()
    build(service, "max_tokens: 32", "max_tokens: 1")
    with users(service):
        failed = service("ship", "--strategy", "canary", code=1)
    assert "truncated failed" in failed.stderr
    assert service.release_that_answers() == before
    assert all(one["same"] for one in service.json("audit", "decisions"))
    again = service("ship", "--strategy", "canary", code=3)
    assert "its evidence stands: truncated" in again.stderr


def test_a_person_pauses_resumes_promotes_and_a_candidate_that_dies_afterwards_is_replaced(service):
    plan(service, LONG)
    before = service.release_that_answers()
    build(service, 'oversight: ""', 'oversight: "the team"')
    with users(service):
        service("ship", "--strategy", "canary", "--no-wait")
        eventually(lambda: weight(service) > 0.0)
        service("pause", "--by", "ann")
        assert rollout(service)["paused"]
        service("resume", "--by", "ann")
        service("promote", "--by", "ann")
        eventually(lambda: rollout(service)["phase"] == "done")
        assert rollout(service)["reason"] == "ann promoted it"
        after = service.release_that_answers()
        assert after != before
        one = next(one for one in service.status()["replicas"] if one["release"].startswith(f"sha256:{after}"))
        os.kill(one["process"]["pid"], signal.SIGKILL)
        eventually(lambda: ready(service, after) == 2)
    service("rollback")
    assert service.release_that_answers() == before


def ready(service: Service, release: str) -> int:
    found = service.status()
    mine = [one for one in found["replicas"] if one["release"].startswith(f"sha256:{release}")]
    return sum(one["state"] == "ready" and one["id"] in found["alive"] for one in mine)


def test_a_guard_that_nobody_answers_holds_the_weight_until_a_person_ends_it(service):
    plan(service, PLAN + "  guards:\n    - {name: heat, prometheus: http://127.0.0.1:9, query: up, at_most: 1.0}\n")
    before = service.release_that_answers()
    build(service, 'contact: ""', 'contact: "ann"')
    with users(service):
        service("ship", "--strategy", "canary", "--no-wait")
        eventually(lambda: "guard heat" in reason(service))
        assert weight(service) == 0.0
        service("abort", "--why", "no heat is known")
    assert service.release_that_answers() == before
    assert rollout(service)["phase"] == "failed"


def test_another_release_during_a_canary_takes_its_place(service):
    plan(service, LONG)
    before = service.release_that_answers()
    build(service, 'oversight: ""', 'oversight: "another team"')
    with users(service):
        service("ship", "--strategy", "canary", "--no-wait")
        eventually(lambda: weight(service) > 0.0)
        first = rollout(service)
        build(service, "another team", "yet another team")
        assert (rollout(service)["id"], rollout(service)["phase"]) == (first["id"], "canary")
        service("ship", "--strategy", "canary", "--no-wait")
        eventually(lambda: service.status()["route"]["rollout"] == rollout(service)["id"] != first["id"])
        service("abort")
    assert service.release_that_answers() == before


def test_a_candidate_that_never_becomes_ready_is_undone_and_nobody_notices(service):
    plan(service, PLAN + "  ready_within: 0.01\n")
    before = service.release_that_answers()
    build(service, 'licence: ""', 'licence: "CC0-1.0"')
    with users(service):
        failed = service("ship", "--strategy", "canary", code=1)
    assert "replicas ready after" in failed.stderr
    assert service.release_that_answers() == before
