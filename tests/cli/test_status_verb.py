"""``guideway status``: what a rollout looks like while it goes on and once it is over, on a terminal of any height."""

from __future__ import annotations

import os

import msgspec
import pytest

from guideway.cli.fit import fit
from guideway.cli.status import blocks
from guideway.core.launch import Process, Replica
from guideway.core.rollout import EnvironmentState, Phase, Rollout
from guideway.core.route import Arm, Endpoint, Route
from guideway.core.spec import Gateway
from guideway.fleet.look import Looked
from guideway.kit.process import start_time
from guideway.rollout.canary import Canary
from guideway.rollout.decide import Decision
from guideway.rollout.plan import Plan
from guideway.rollout.score import Reading
from guideway.rollout.signals import NAMES
from guideway.rollout.verdict import verdicts
from guideway.store import canaries
from guideway.store.database import Database
from guideway.store.home import Home

OLD, NEW = "sha256:" + "0" * 64, "sha256:" + "1" * 64
ROLLOUT = Rollout("r1", "dev", NEW, OLD, Phase.CANARY, 1.0, 1.0, 60.0, 60.0, strategy="canary")


@pytest.fixture
def home(tmp_path, monkeypatch) -> Home:
    monkeypatch.delenv("GUIDEWAY_HOME", raising=False)
    return Home.of(tmp_path)


@pytest.fixture
def database(home):
    with Database(home.database) as database:
        yield database


def canary(database, **changes) -> None:
    """A canary in its first step in which every signal has a hundred requests of both arms."""
    readings = tuple(Reading(name, requests=(100, 100), log_peak=9.0 * (name == "feedback")) for name in NAMES)
    decision = Decision("hold", "too few units", 0.05, verdicts=verdicts(Plan(), readings))
    canaries.put_canary(database, "r1", "dev", Canary(step=0, decision=decision, **changes))


def looked(*, phase: Phase = Phase.CANARY, promoted_by: str = "", count: int = 2) -> Looked:
    """An environment with so many replicas of the stable release, the last of which is gone."""
    process = Process(os.getpid(), start_time(os.getpid()) or "")
    replicas = tuple(Replica(f"d-{number}", "dev", OLD, 1, process, "ready", "", 1.0) for number in range(count))
    arm = Arm(OLD, (Endpoint("127.0.0.1", 1),))
    return Looked(
        environment="dev",
        state=EnvironmentState("dev", "m", "local", count, Gateway()),
        route=Route("dev", "m", 1, 1, arm, msgspec.structs.replace(arm, release=NEW), weight=0.05),
        rollout=msgspec.structs.replace(ROLLOUT, phase=phase, promoted_by=promoted_by),
        replicas=replicas,
        alive=tuple(one.id for one in replicas[:-1]),
        memory={},
        gateway=None,
        controller=True,
    )


def text(home, database, found: Looked) -> str:
    return "\n".join(line for block in blocks(home, database, found) for line in block.lines)


def test_a_canary_shows_its_place_its_signals_and_what_is_waited_for(home, database):
    canary(database)
    said = text(home, database, looked())
    assert "canary       step 1 of 4 at 5%" in said and "hold: too few units" in said
    assert "errors*" in said and "latency_p50: waits for" in said


def test_what_is_against_the_candidate_stands_first_and_then_what_promotion_asks_for(home, database):
    canary(database)
    rows = text(home, database, looked()).partition("SIGNAL")[2].splitlines()[1:]
    names = [row.split()[0] for row in rows[:5]]
    assert names[0] == "feedback" and all(name.endswith("*") for name in names[1:4]) and not names[4].endswith("*")


@pytest.mark.parametrize("phase", [Phase.SWITCHING, Phase.DONE])
def test_once_it_has_all_traffic_nothing_is_said_of_a_canary_any_more(home, database, phase):
    canary(database)
    said = text(home, database, looked(phase=phase, promoted_by="ann"))
    assert f"to 111111111111: {phase}" in said
    for word in ("canary", "step 1", "hold", "SIGNAL"):
        assert word not in said
    canary(database, alerted=True, after=(50, 7))
    assert "alert        7 of 50 requests failed" in text(home, database, looked(phase=phase))


def test_a_promotion_that_waits_for_replicas_says_so_instead_of_what_the_canary_waits_for(home, database):
    canary(database)
    said = text(home, database, looked(promoted_by="ann"))
    assert "canary       promoted by ann: gets all traffic as soon as all of its replicas answer" in said
    assert "hold" not in said and "waits for" not in said


def test_why_a_canary_was_undone_stays_to_be_read(home, database):
    canary(database)
    said = text(home, database, looked(phase=Phase.FAILED))
    assert "SIGNAL" in said and "feedback: " in said and "waits for" not in said


@pytest.mark.parametrize(
    ("rows", "more"), [(10, (False, False, True)), (24, (True, True, True)), (40, (False, True, False))]
)
def test_on_a_small_terminal_what_matters_stays_and_the_rest_is_counted(home, database, rows, more):
    canary(database)
    found = looked(count=30)
    shown = fit(blocks(home, database, found), 100, rows - 1)
    assert len(shown) <= rows - 1
    said = "\n".join(shown)
    for word in ("gateway", "controller", "candidate", "canary       step 1 of 4"):
        assert word in said
    assert ("more signals" in said, "more replicas" in said, "more lines" in said) == more
    if rows >= 24:
        assert "errors*" in said and "process gone" in said  # the replica that is not well stands first


def test_where_nothing_was_ever_shipped_there_is_one_line(home, database):
    found = msgspec.structs.replace(looked(), state=None)
    assert text(home, database, found) == "nothing was ever shipped to 'dev'; `guideway up` does it"
