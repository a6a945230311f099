"""``guideway feedback`` as people call it."""

from __future__ import annotations

import json

import msgspec
import pytest

from guideway.core.feedback import Judgement
from guideway.store import feedback, ledger
from guideway.store.database import Database
from guideway.store.feedback_spool import Spool
from guideway.store.home import Home


@pytest.fixture
def home(project):
    return Home.of(project.folder)


def waits(home, *judgements, environment="dev"):
    spool = Spool(home.environment(environment) / feedback.FOLDER, "worker")
    for judgement in judgements:
        spool.append(msgspec.msgpack.encode(judgement))
    spool.close()


A = Judgement("a" * 48, "k1", "acme", "dev", "5555555555", "stable", 1e9, thumb="down", correction="42")


def test_what_clients_said_is_listed_for_people_and_for_training(project, home):
    assert "nobody has said anything yet" in project("feedback", "list").stdout
    waits(home, A)
    said = project("feedback", "list").stdout
    assert "acme" in said and "down" in said and "42" in said
    (one,) = json.loads(project("feedback", "list", "--json").stdout)
    assert one == {
        "request": "a" * 48,
        "key": "k1",
        "owner": "acme",
        "environment": "dev",
        "release": "5555555555",
        "arm": "stable",
        "at": 1e9,
        "thumb": "down",
        "correction": "42",
    }
    assert json.loads(project("feedback", "list", "--json", "--days", "1").stdout) == []
    assert len(json.loads(project("feedback", "list", "--json", "--limit", "0").stdout)) == 1
    assert project("feedback", "list", "--limit", "-1").returncode == 2


@pytest.mark.catalogue("B37")
def test_what_a_client_wrote_moves_nothing_on_a_terminal(project, home):
    comment = "one\ntwo\x1b[2J\x1b]0;owned\x07\u202e[bold red]x[/]" + "y" * 200
    waits(home, msgspec.structs.replace(A, comment=comment, correction=None))
    said = project("feedback", "list").stdout
    assert not {"\x1b", "\x07", "\u202e"} & set(said)
    assert said.count("\n") == len(said.splitlines()) < 6
    assert "[bold" in said, "no markup either"
    assert json.loads(project("feedback", "list", "--json").stdout)[0]["comment"] == comment


def test_a_tenant_is_erased_with_what_still_waits(project, home):
    waits(home, A)
    waits(home, msgspec.structs.replace(A, request="b" * 48, environment="prod"), environment="prod")
    said = project("feedback", "erase", "--tenant", "acme")
    assert (said.returncode, said.stdout) == (0, "2 judgements erased\n")
    assert json.loads(project("feedback", "list", "--json").stdout) == []
    with Database(home.database) as database:
        (line,) = ledger.entries(database, what="feedback erased")
    assert line.subject == "acme"


def test_who_said_nothing_is_no_erasure_that_looks_done(project, home):
    waits(home, msgspec.structs.replace(A, owner="key:1760cdd5"))
    said = project("feedback", "erase", "--tenant", "1760cdd5")
    assert said.returncode == 2 and "key:ID" in said.stderr
    assert project("feedback", "erase", "--tenant", "key:1760cdd5").stdout == "1 judgement erased\n"


def test_a_tenant_must_be_named(project):
    said = project("feedback", "erase")
    assert (said.returncode, len(said.stderr.splitlines())) == (2, 1)
