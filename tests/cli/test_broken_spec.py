"""Verbs that look at what runs, or stop it, when guideway.yaml is broken."""

from __future__ import annotations

import json

import pytest

from guideway.core.rollout import EnvironmentState
from guideway.core.spec import Gateway
from guideway.store import fleet
from guideway.store.database import Database
from guideway.store.home import Home

BREAKS = {
    "no YAML": ("guideway: 1", "guideway: [1"),
    "an unknown key": ("guideway: 1", "guideway: 1\nwhatever: 1"),
    "a variable that is not set": ("guideway: 1", "guideway: 1\ndata: ${NOBODY_SET_THIS}"),
}


def spoil(project, how):
    path = project.folder / "guideway.yaml"
    old, new = BREAKS[how]
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.fixture
def shipped(project, monkeypatch):
    """A project in which something was shipped, and a key made."""
    monkeypatch.delenv("GUIDEWAY_HOME", raising=False)
    assert project("keys", "new", "--label", "ann").returncode == 0
    for environment in ("dev", "gone"):
        with Database(Home.of(project.folder).database) as database:
            fleet.put_environment(database, EnvironmentState(environment, "m", "local", 1, Gateway(), up=False))
        (project.folder / ".guideway" / "run" / "env" / environment).mkdir(exist_ok=True)
    return project


@pytest.mark.parametrize("how", BREAKS)
def test_what_runs_can_be_seen_and_stopped(shipped, how):
    spoil(shipped, how)
    status = shipped("status", "--json")
    assert (status.returncode, json.loads(status.stdout)["environment"]) == (0, "dev")
    assert "ann" in shipped("keys", "list").stdout
    assert shipped("logs").returncode == 0
    down = shipped("down")
    assert (down.returncode, down.stdout) == (0, "'dev' is down; `guideway up` starts it again\n")


def test_status_says_in_one_line_that_the_file_is_broken(shipped):
    assert shipped("status").stderr == ""
    spoil(shipped, "an unknown key")
    said = shipped("status").stderr
    assert said.startswith("warning: guideway.yaml:3: unknown key 'whatever'")
    assert said.endswith("; what runs does not depend on it, but nothing can be shipped\n")
    assert said.count("\n") == 1


def test_an_environment_that_the_file_names_no_more_can_be_stopped(shipped):
    assert shipped("down", "-e", "gone").returncode == 0
    said = shipped("down", "-e", "typo")
    assert (said.returncode, said.stdout) == (2, "")
    assert "there is no environment called 'typo'" in said.stderr


def test_without_any_state_the_broken_file_is_the_error(project):
    spoil(project, "an unknown key")
    assert project("status").returncode == 2
    assert not (project.folder / ".guideway").exists()


def test_nothing_is_shipped_from_a_broken_file(shipped):
    spoil(shipped, "an unknown key")
    for verb in ("up", "ship", "plan", "check"):
        assert shipped(verb).returncode == 2


def test_rows_that_a_broken_file_keeps_elsewhere_are_found_there(shipped):
    spec = shipped.folder / "guideway.yaml"
    spec.write_text(spec.read_text() + "state: {url: sqlite:///other.db}\n")
    shipped("keys", "new", "--label", "elsewhere")
    spoil(shipped, "an unknown key")
    assert "elsewhere" in shipped("keys", "list").stdout


def test_rows_that_nobody_can_find_are_not_made_up(shipped):
    (shipped.folder / ".guideway" / "run" / "controller.database").write_text("postgresql://server/state")
    spoil(shipped, "no YAML")
    said = shipped("down")
    assert (said.returncode, said.stdout) == (2, "")
