"""Who may act in a home: one controller, for one database, on one machine; and a whole rollout on a server."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from canary_rig import begun, judged_again
from fleet_rig import NEW, OLD, alive
from postgres_rig import PASSWORD, as_owner

from guideway.core.errors import Unavailable
from guideway.core.rollout import Phase
from guideway.core.route import ApiKey
from guideway.fleet import orders, owner
from guideway.fleet.look import controller_runs
from guideway.fleet.project import project_keys
from guideway.kit.files import locked
from guideway.store import api_keys, ledger
from guideway.store import fleet as rows
from guideway.store.database import Database
from guideway.store.home import Home

ONCE = """
import os, sys
from guideway.fleet.__main__ import main
code = main(["--home", sys.argv[1]])
print(code, "GUIDEWAY_STATE" in os.environ)
"""


def test_a_rollout_and_the_way_down_go_through_on_a_server(fleet_on_a_server):
    fleet = fleet_on_a_server
    assert fleet.served(OLD).phase is Phase.DONE
    assert fleet.served(NEW).phase is Phase.DONE
    assert fleet.ports() == sorted(one.port for one in fleet.replicas(NEW))
    assert ledger.verify(fleet.database) > 0
    before = fleet.replicas()
    fleet.new_controller()
    fleet.calm()
    assert fleet.replicas() == before and all(alive(one) for one in before)
    fleet.down()
    fleet.until(lambda: not fleet.processes() and not fleet.replicas())


def test_a_canary_goes_through_on_a_server(fleet_on_a_server):
    rollout, users = begun(fleet_on_a_server)
    assert users.until_over(rollout).phase is Phase.DONE
    assert rows.route(fleet_on_a_server.database, "dev").stable.release == NEW
    assert judged_again(fleet_on_a_server) and all(judged_again(fleet_on_a_server))


def test_a_server_that_goes_away_stops_no_traffic_and_the_controller_goes_on_when_it_is_back(
    fleet_on_a_server, postgres, capsys
):
    fleet = fleet_on_a_server
    fleet.served(NEW)
    before = fleet.replicas()
    postgres.stop()
    assert fleet.controller.once() is False
    assert fleet.controller.once() is False
    assert capsys.readouterr().err.count("the database server does not answer") == 1
    assert all(alive(one) for one in before)
    postgres.start()
    fleet.calm()
    assert fleet.replicas() == before


def test_the_controller_gets_the_url_from_its_environment_and_passes_it_to_nobody(fleet_on_a_server):
    home = fleet_on_a_server.home
    environment = {**os.environ, "GUIDEWAY_STATE": home.url}
    argv = [sys.executable, "-c", ONCE, str(home.path)]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "0 False\n" and "acts with epoch" in done.stderr
    assert PASSWORD not in done.stderr and "s3cret" not in done.stderr


def test_no_command_line_shows_the_url(fleet_on_a_server):
    fleet = fleet_on_a_server
    fleet.ship(admitted=False, ready_within=30.0)  # it is refused, and the controller stays
    orders.ensure_controller(fleet.home)
    deadline = time.monotonic() + 30
    while not controller_runs(fleet.home):
        assert time.monotonic() < deadline
    lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    mine = [line for line in lines if str(fleet.home.path).encode() in line]
    assert mine and not any(b"s3cret" in line for line in mine)
    fleet.down()


def test_a_controller_of_another_database_is_not_taken_for_ours(fleet, tmp_path):
    owner.take(fleet.home, fleet.database)
    owner.check(fleet.home)
    other = msgspec.structs.replace(fleet.home, url=f"sqlite:///{tmp_path}/other.db")
    with locked(fleet.home.controller), pytest.raises(Unavailable, match="belongs to the state in"):
        orders.ensure_controller(other)


def test_another_database_may_have_a_home_in_which_nothing_runs(fleet, tmp_path):
    owner.take(fleet.home, fleet.database)
    with Database(tmp_path / "other.db") as other:
        owner.take(fleet.home, other)
        fleet.served(NEW)
        with pytest.raises(Unavailable, match=r"belongs to the state in .*other\.db"):
            owner.take(fleet.home, fleet.database)
        owner.take(fleet.home, other)


def test_a_controller_on_another_machine_keeps_ours_from_acting(fleet_on_a_server, tmp_path):
    fleet = fleet_on_a_server
    there = Home.of(tmp_path / "there", fleet.home.url)
    with Database(there.database) as other:
        owner.take(there, other)
        with pytest.raises(Unavailable, match="a controller on another machine acts for this state"):
            owner.take(fleet.home, fleet.database)
    taken_in_time(fleet)


def taken_in_time(fleet):
    """The server frees a lock a moment after its holder has closed the connection."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return owner.take(fleet.home, fleet.database)
        except Unavailable:
            assert time.monotonic() < deadline, "the lock was never freed"


def test_a_key_that_another_machine_revoked_is_projected_here(fleet_on_a_server):
    fleet = fleet_on_a_server
    fleet.served(NEW)
    key = ApiKey(id="k", digest="d", label="me")
    api_keys.put(fleet.database, "dev", key)  # as if from another machine: nobody projects it for us
    file = fleet.home.environment("dev") / "keys.json"
    fleet.until(lambda: b'"revoked":false' in file.read_bytes())
    api_keys.put(fleet.database, "dev", msgspec.structs.replace(key, revoked=True))
    fleet.until(lambda: b'"revoked":true' in file.read_bytes())


def test_keys_that_did_not_change_are_not_written_again(fleet):
    project_keys(fleet.home, fleet.database, "dev")
    file = fleet.home.environment("dev") / "keys.json"
    before = file.stat().st_ino
    project_keys(fleet.home, fleet.database, "dev")
    assert file.stat().st_ino == before


def test_a_controller_whose_blobs_were_deleted_ends_everything_though_the_server_has_its_rows(fleet_on_a_server):
    fleet = fleet_on_a_server
    fleet.served(NEW)
    assert fleet.processes()
    shutil.rmtree(fleet.home.oci)
    fleet.controller.run()
    assert fleet.processes() == set()


def test_lines_of_the_controller_get_their_checkpoint(fleet):
    text = ", ".join(f"({n}, 1.0, 'a', 'b', 'c', '', '{{}}', 'p', 'h')" for n in range(1, 100))
    as_owner(fleet.home.database, f"INSERT INTO ledger VALUES {text}")
    fleet.served(NEW)
    assert [path.name for path in fleet.home.checkpoints.glob("*.json")] != []
    assert rows.current_epoch(fleet.database) > 0
