"""Rows that another version wrote: what only describes is read, an order is not carried out in part."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from guideway.core.errors import Unavailable
from guideway.core.rollout import EnvironmentState, Phase, Rollout, Shape
from guideway.core.route import ApiKey
from guideway.core.spec import Gateway
from guideway.core.spec.gateway import Admission, Limits
from guideway.core.spec.rollout import Rollout as Asked
from guideway.core.spec.rollout import Step
from guideway.core.spec.scale import Scale
from guideway.store import api_keys, fleet, rows
from guideway.store.database import Database

STATE = EnvironmentState("dev", "m", "local", 2, Gateway(admission=Admission(concurrent=7)))
ROLLOUT = Rollout(
    "r", "dev", "sha256:n", None, Phase.STARTING, 1.0, 1.0, 60.0, 300.0, asked=Asked(steps=(Step(0.1, 10),)),
    then=Shape("m", 1, Scale(min=1, max=3)),
)  # fmt: skip


def newer(noun: msgspec.Struct, *path: str | int, asked: bool, value: Any = 1) -> str:
    """The row of *noun* as a later version writes it, with a setting at *path* that this one does not know."""
    plain = msgspec.json.decode(rows.write(noun))
    place = plain
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    names = ".".join(str(step) for step in path if not isinstance(step, int))
    plain["written"] = {"by": "9.9.9", "set": [*plain["written"]["set"], *([names] if asked else [])]}
    return msgspec.json.encode(plain).decode()


@pytest.mark.parametrize("noun", [STATE, ROLLOUT])
def test_a_row_says_who_wrote_it_and_is_read_as_it_was(noun):
    assert rows.read(rows.write(noun), type(noun), "it", order=True) == noun


@pytest.mark.parametrize(
    ("noun", "path"),
    [
        (STATE, ("gateway", "fence")),
        (STATE, ("gateway", "tls", "pinned")),
        (ROLLOUT, ("asked", "patience")),
        (ROLLOUT, ("then", "scale", "burst")),
        (STATE, ("moons",)),
    ],
)
def test_a_setting_of_a_later_version_that_nobody_changed_is_left_out(noun, path):
    body = newer(noun, *path, asked=False)
    assert rows.read(body, type(noun), "it", order=True) == noun


@pytest.mark.parametrize(
    ("noun", "path", "said"),
    [
        (STATE, ("gateway", "fence"), "gateway.fence"),
        (STATE, ("gateway", "tls", "pinned"), "gateway.tls.pinned"),
        (ROLLOUT, ("then", "scale", "burst"), "then.scale.burst"),
        (ROLLOUT, ("asked", "steps", 0, "gently"), "asked.steps.0.gently"),  # a list is told as a whole
    ],
)
def test_an_order_with_a_setting_that_somebody_chose_and_that_is_unknown_here_is_refused(noun, path, said):
    body = newer(noun, *path, asked=True)
    with pytest.raises(Unavailable, match=rf"it was written by Guideway 9.9.9 with '{said}', which .* does not know"):
        rows.read(body, type(noun), "it", order=True)
    assert rows.read(body, type(noun), "it") == noun


def test_a_part_that_is_unknown_as_a_whole_is_refused_when_something_in_it_was_chosen():
    plain = msgspec.json.decode(newer(STATE, "gateway", "mesh", asked=False, value={"strict": True}))
    plain["written"]["set"].append("gateway.mesh.strict")
    with pytest.raises(Unavailable, match=r"'gateway.mesh'"):
        rows.read(msgspec.json.encode(plain).decode(), EnvironmentState, "it", order=True)


def test_a_row_that_does_not_say_what_was_chosen_is_no_order_that_can_be_trusted():
    plain = msgspec.json.decode(newer(STATE, "gateway", "fence", asked=False))
    del plain["written"]
    with pytest.raises(Unavailable, match="written by Guideway another version"):
        rows.read(msgspec.json.encode(plain).decode(), EnvironmentState, "it", order=True)


def test_what_cannot_be_read_at_all_is_one_line_that_names_who_wrote_it():
    body = newer(ROLLOUT, "phase", asked=True, value="levitating")
    with pytest.raises(Unavailable, match=r"it was written by Guideway 9.9.9 and cannot be read by .*levitating"):
        rows.read(body, Rollout, "it")


def test_history_is_read_and_only_what_runs_is_an_order(tmp_path):
    with Database(tmp_path / "state.db") as database:
        fleet.put_environment(database, STATE)
        fleet.begin_rollout(database, ROLLOUT)
        body = newer(ROLLOUT, "asked", "patience", asked=True)
        database.put(fleet.tables.rollouts, id="r", environment="dev", phase="starting", created=1.0, body=body)
        with pytest.raises(Unavailable, match=r"the rollout in 'dev' was written by Guideway 9.9.9"):
            fleet.check_orders(database, "dev")
        done = newer(msgspec.structs.replace(ROLLOUT, phase=Phase.DONE), "asked", "patience", asked=True)
        database.put(fleet.tables.rollouts, id="r", environment="dev", phase="done", created=1.0, body=done)
        fleet.check_orders(database, "dev")
        assert [one.asked for one in fleet.rollouts(database, "dev")] == [ROLLOUT.asked]


def test_a_key_with_a_limit_that_is_unknown_here_is_not_let_in_without_it(tmp_path):
    key = ApiKey("id", "digest", limits=Limits())
    with Database(tmp_path / "state.db") as database:
        api_keys.put(database, "dev", key)
        assert api_keys.all_of(database, "dev") == [key]
        body = newer(key, "limits", "images_per_day", asked=True)
        database.put(fleet.tables.api_keys, id="id", environment="dev", body=body)
        with pytest.raises(Unavailable, match=r"key id was written by Guideway 9.9.9 with 'limits.images_per_day'"):
            api_keys.all_of(database, "dev")
