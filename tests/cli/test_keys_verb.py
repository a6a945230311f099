"""``guideway keys``: what a key grants, what it used today, and that it is shown once."""

from __future__ import annotations

import json
import time

import pytest

from guideway.store import usage
from guideway.store.database import Database


def listed(project):
    return json.loads(project("keys", "list", "--json").stdout)


def test_a_key_carries_what_it_was_made_with(project):
    words = ["--label", "ann", "--tenant", "acme", "--role", "operator", "--model", "a", "--model", "b"]
    words += ["--requests-per-minute", "60", "--money-per-day", "2.5", "--expires", "30d"]
    said = project("keys", "new", *words, "--json")
    assert said.returncode == 0, said.stderr
    (key,) = listed(project)
    assert (key["label"], key["tenant"], key["role"], key["models"]) == ("ann", "acme", "operator", ["a", "b"])
    assert key["limits"]["requests_per_minute"] == 60 and key["limits"]["money_per_day"] == 2.5
    assert key["limits"]["tokens_per_minute"] == 0
    assert 29 * 86_400 < key["expires"] - time.time() < 31 * 86_400
    told = json.loads(said.stdout)
    assert told["key"].startswith("gw-") and told["id"] == key["id"] and "digest" not in key


def test_a_plain_key_has_the_limits_of_the_environment_and_does_not_expire(project):
    said = project("keys", "new")
    (key,) = listed(project)
    assert said.returncode == 0 and said.stdout.startswith("gw-") and len(said.stdout.split()) == 1
    assert said.stderr == f"its id, to list and revoke it: {key['id']}\n"
    assert (key["role"], key["tenant"], key["models"], key["limits"], key["expires"]) == ("user", "", [], None, None)


def test_the_list_shows_what_each_key_used_today(project):
    project("keys", "new", "--label", "ann")
    (key,) = listed(project)
    day = int(time.time() // 86_400)
    with Database(project.folder / ".guideway" / "state.db") as database:
        for one in (day, day + 1):  # also when midnight comes between
            usage.add(database, key["id"], one, usage.Use(3, 100, 23, 1_500_000_000))
    today = {"requests": 3, "input_tokens": 100, "output_tokens": 23, "money": 1.5}
    assert listed(project)[0]["today"] == today
    said = project("keys", "list").stdout
    assert "ann" in said and "123" in said and "1.5000" in said


def test_a_key_that_is_revoked_says_so_and_is_not_shown_again(project):
    key = json.loads(project("keys", "new", "--json").stdout)["key"]
    project("keys", "revoke", listed(project)[0]["id"])
    said = project("keys", "list").stdout
    assert "revoked" in said and key not in said


@pytest.mark.parametrize(
    "words",
    [
        ["--expires", "soon"],
        ["--expires", "0d"],
        ["--role", "god"],
        ["--money-per-day", "-1"],
        ["--money-per-day", "nan"],
        ["--requests-per-minute", "9" * 20],
        ["--model", ""],
    ],
)
def test_what_cannot_be_meant_makes_no_key(project, words):
    said = project("keys", "new", *words)
    assert said.returncode == 2 and "Traceback" not in said.stderr
    assert listed(project) == []
