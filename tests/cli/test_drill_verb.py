"""``guideway drill``: what it says before, whom it asks, how it ends, and what it shows."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from guideway.cli import drill
from guideway.core.evidence import Subject
from guideway.core.launch import Probe
from guideway.core.rollout import EnvironmentState
from guideway.core.route import Arm, Endpoint, Route
from guideway.core.spec.gateway import Cache, Gateway
from guideway.fleet.drills.hold import Held
from guideway.fleet.drills.result import Criterion, Drilled, facts_of
from guideway.kit.process import free_port
from guideway.store import fleet, ledger
from guideway.store.database import Database
from guideway.store.home import Home

ASKED = Probe("/v1/chat/completions", '{"messages": [{"role": "user", "content": "Hello"}]}')


@pytest.fixture
def rows(project, monkeypatch):
    """Rows that say that something serves in ``dev`` and ``prod``; nothing really runs."""
    monkeypatch.delenv("GUIDEWAY_HOME", raising=False)
    port = free_port()
    with Database(Home.of(project.folder).database) as database:
        for name in ("dev", "prod"):
            options = Gateway(port=port, cache=Cache(store="off"))
            arm = Arm("sha256:" + "1" * 64, (Endpoint("127.0.0.1", port),), probe=ASKED)
            fleet.put_environment(database, EnvironmentState(name, "small", "local", 1, options, port=port))
            fleet.put_route(database, Route(name, "small", 1, 1, stable=arm))
        yield database


def lines(database) -> list[str]:
    return [line.what for line in ledger.entries(database)]


@pytest.mark.parametrize("name", ["rollback", "cache"])
def test_where_nothing_serves_there_is_one_clear_line(project, name):
    said = project("drill", name)
    assert said.returncode == 2 and "nothing serves in 'dev'" in said.stderr and not said.stdout


def test_where_nobody_can_be_asked_prod_wants_a_yes_beforehand(project, rows):
    said = project("drill", "replica", "-e", "prod")
    assert said.returncode == 2 and "nobody can be asked" in said.stderr and "--yes" in said.stderr
    assert "will kill -9 one replica" in said.stdout
    quiet = project("drill", "replica", "-e", "prod", "--json")
    assert quiet.returncode == 2 and not quiet.stdout
    assert not lines(rows)


def test_a_person_who_says_no_is_obeyed(project, rows):
    ours, theirs = os.openpty()
    os.write(ours, b"n\n")
    argv = [sys.executable, "-P", "-m", "guideway.cli", "drill", "replica", "-e", "prod"]
    said = subprocess.run(
        argv, cwd=project.folder, env=project.environment, stdin=theirs, capture_output=True, timeout=60, check=False
    )
    os.close(ours)
    os.close(theirs)
    assert said.returncode == 130 and b"do it in 'prod' now?" in said.stdout
    assert not lines(rows)


@pytest.mark.thorough
def test_a_service_that_does_not_answer_is_not_drilled_and_no_key_is_left(project, rows):
    took = time.monotonic()
    said = project("drill", "replica", "--json")
    assert said.returncode == 5 and "does not answer as it should: ConnectionRefusedError" in said.stderr
    assert time.monotonic() - took < 60
    assert lines(rows) == ["drill begun", "key made", "key revoked", "drill broken off"]
    (key,) = json.loads(project("keys", "list", "--json").stdout)
    assert key["label"] == "drill replica" and key["revoked"] and key["expires"] and not any(key["limits"].values())


def test_without_a_cache_it_says_that_it_does_not_apply_and_that_is_no_failure(project, rows):
    said = project("drill", "cache", "-e", "prod")
    assert said.returncode == 0 and "does not apply to 'prod': gateway.cache.store is off" in said.stdout
    assert json.loads(project("drill", "cache", "--json").stdout)["applies"] is False
    assert not lines(rows)


def test_a_peak_belongs_to_overload_alone(project):
    assert "--peak" in project("drill", "overload", "--help").stdout
    assert project("drill", "replica", "--peak", "3").returncode == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_end_a_drill_as_ctrl_c_does(number):
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), drill._ended_alike():
        os.kill(os.getpid(), number)
        signal.pause()
    assert signal.getsignal(number) is before


def held(value: float) -> Held:
    criteria = (
        Criterion(what="failed requests", metric="f", value=value, unit="requests", at_most=0, n=9),
        Criterion(what="capacity", metric="c", value=12.5, unit="requests/s"),
    )
    drilled = Drilled(
        drill="replica", environment="dev", at=1e9, seconds=4.0, criteria=criteria, inputs=(), notes=("2 × status 503",)
    )
    return Held(drilled, facts_of(drilled, Subject("environment", "sha256:1"), ()), "sha256:e")


@pytest.mark.parametrize(("value", "verdict"), [(0, "PASS"), (2, "FAIL")])
def test_the_end_is_a_table_of_criteria_and_one_line(capsys, value, verdict):
    drill._show(held(value), "guideway")
    said = capsys.readouterr().out
    assert f"{value} requests" in said and "≤ 0" in said and "12.5 requests/s" in said and "2 × status 503" in said
    assert f"drill replica in 'dev': {verdict} in 4.0 s; 3 facts, signed by guideway, hold until 2001-12-" in said


def test_machines_get_the_same_with_the_evidence():
    plain = drill._plain(held(2))
    assert plain["passed"] is False and plain["envelope"] == "sha256:e"
    assert [one["verdict"] for one in plain["criteria"]] == ["FAIL", ""]
    assert [one["metric"] for one in plain["evidence"]] == ["f", "c", "fault_drills_failed"]
