"""Rows that outlive processes: steps, releases, rollouts, routes and the fence."""

from __future__ import annotations

import msgspec
import pytest
from postgres_rig import as_owner

from guideway.core.artifact import Artifact, digest_bytes
from guideway.core.errors import SpecError, Unavailable
from guideway.core.release import Release
from guideway.core.rollout import Phase, Rollout
from guideway.core.route import Route
from guideway.store import fleet, releases, steps


def rollout(id: str = "r1", **changes: object) -> Rollout:
    plain = Rollout(
        id=id,
        environment="dev",
        release="sha256:aa",
        previous=None,
        phase=Phase.PENDING,
        created=1.0,
        updated=1.0,
        ready_within=60.0,
        bake=60.0,
    )
    return msgspec.structs.replace(plain, **changes)


def release(name: str, text: bytes) -> Release:
    return Release(digest=digest_bytes(text), name=name, number=0, created=1.0)


def result(key: str, at: float) -> steps.StepResult:
    return steps.StepResult(key, "data", Artifact.of([]), (), (), "sha256:e", 1.0, at)


def test_the_first_result_under_a_key_stays(database):
    steps.keep(database, result("k", 1.0))
    steps.keep(database, result("k", 2.0))
    kept = steps.step(database, "k")
    assert kept is not None and kept.at == 1.0


def test_the_latest_result_of_a_stage_is_the_newest(database):
    steps.keep(database, result("old", 1.0))
    steps.keep(database, result("new", 2.0))
    latest = steps.latest(database, "data")
    assert latest is not None and latest.key == "new"


def test_a_source_file_is_read_again_only_when_it_changed(database, where, tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"one")
    first = steps.file_digest(database, path)
    as_owner(where, "UPDATE file_digests SET digest = 'remembered'")
    assert steps.file_digest(database, path) == "remembered"
    path.write_bytes(b"three")
    assert steps.file_digest(database, path) == digest_bytes(b"three") != first


def test_releases_are_numbered_per_name_and_the_same_digest_keeps_its_number(database):
    assert releases.add(database, release("a", b"1")).number == 1
    assert releases.add(database, release("a", b"2")).number == 2
    assert releases.add(database, release("b", b"3")).number == 1
    assert releases.add(database, release("a", b"1")).number == 1


def test_a_release_is_found_by_number_digits_and_name(database):
    one = releases.add(database, release("a", b"1"))
    for text in ("1", "v1", "a:1", one.digest, one.digest[7:13]):
        assert releases.find(database, text) == one


def test_an_unknown_or_unclear_release_is_refused(database):
    releases.add(database, release("a", b"1"))
    releases.add(database, release("b", b"2"))
    with pytest.raises(SpecError, match="no release"):
        releases.find(database, "77")
    with pytest.raises(SpecError, match="more than one"):
        releases.find(database, "1")


def test_a_new_rollout_replaces_the_running_one(database):
    fleet.begin_rollout(database, rollout("r1"))
    fleet.begin_rollout(database, rollout("r2", created=2.0))
    assert [(one.id, one.phase) for one in fleet.rollouts(database, "dev")] == [
        ("r2", Phase.PENDING),
        ("r1", Phase.REPLACED),
    ]
    assert [one.id for one in fleet.rollouts(database, "dev", running=True)] == ["r2"]


def test_the_newest_rollout_is_the_one_that_began_last_even_if_the_clock_was_set_back(database):
    fleet.begin_rollout(database, rollout("r2", created=3600.0))
    written = fleet.begin_rollout(database, rollout("r1", created=2.0))
    assert fleet.rollouts(database, "dev")[0] == written
    assert (written.id, written.updated) == ("r1", rollout().updated)


def test_a_final_phase_is_never_left(database):
    fleet.put_rollout(database, rollout(phase=Phase.FAILED))
    with pytest.raises(Unavailable, match="failed already"):
        fleet.put_rollout(database, rollout(phase=Phase.DONE))


def test_whoever_holds_an_older_epoch_cannot_set_the_route(database):
    old = fleet.take_epoch(database)
    fleet.put_route(database, Route("dev", "m", revision=1, epoch=old))
    new = fleet.take_epoch(database)
    with pytest.raises(Unavailable, match="taken over"):
        fleet.put_route(database, Route("dev", "m", revision=2, epoch=old))
    fleet.put_route(database, Route("dev", "m", revision=2, epoch=new))
    assert fleet.route(database, "dev") == Route("dev", "m", revision=2, epoch=new)


def test_a_route_never_goes_back_a_revision(database):
    epoch = fleet.take_epoch(database)
    fleet.put_route(database, Route("dev", "m", revision=5, epoch=epoch))
    with pytest.raises(Unavailable, match="newer route"):
        fleet.put_route(database, Route("dev", "m", revision=5, epoch=epoch))
