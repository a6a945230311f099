"""A publication is killed, runs out of disk, or cannot sync, at every call there is: absent or complete."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from fault_rig import CALLS, SYNCS, WRITES, Faults, ForgetfulDisk, copy_rest, fails, killed_at, nothing
from seal_rig import House, assert_absent_or_complete, assert_clean_after_collection, copy_of, template

from guideway.core.errors import Unavailable
from guideway.store import releases
from guideway.store.blobs import Blobs

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return template(tmp_path_factory.mktemp("made") / "house")


def calls(made, place, only=CALLS) -> list[str]:
    """Which calls a publication makes."""
    house = copy_of(made, place)
    with Faults(nothing, only=only).armed() as faults:
        house.publish()
    house.close()
    return faults.seen


def recovered(house: House) -> None:
    """Nothing half-made is visible, a retry succeeds, and a collection leaves a clean store."""
    assert_absent_or_complete(house)
    again = house.publish()
    assert assert_absent_or_complete(house)
    assert releases.all_of(house.database, "m") == [again]
    assert_clean_after_collection(house)
    assert assert_absent_or_complete(house)
    house.close()


@pytest.mark.catalogue("A28")
def test_killed_at_every_call_a_release_is_absent_or_complete(made, tmp_path):
    seen, at = calls(made, tmp_path / "count"), 1
    assert {"write", "fsync", "link", "replace", "unlink", "mkdir", "execute", "commit"} <= set(seen)
    copy_of(made, tmp_path / "killed").close()
    while killed_at(at, lambda: House(tmp_path / "killed").publish()):
        recovered(House(tmp_path / "killed"))
        copy_of(made, tmp_path / "killed").close()
        at += 1
    assert at > 0.9 * len(seen)
    assert assert_absent_or_complete(House(tmp_path / "killed"))


@pytest.mark.catalogue("A27")
@pytest.mark.parametrize("ever", [False, True])
def test_a_disk_that_is_full_at_every_write_leaves_nothing_half_made(made, tmp_path, ever):
    seen = calls(made, tmp_path / "count", WRITES)
    told = 0
    for at in range(1, len(seen) + 1):
        house = copy_of(made, tmp_path / "full")
        with Faults(fails(errno.ENOSPC), at=at, only=WRITES, ever=ever).armed() as faults:
            try:
                house.publish()
            except (Unavailable, OSError) as error:
                assert "full" in str(error) or error.errno == errno.ENOSPC
                told += 1
            else:  # a folder that was there already
                assert faults.seen[at - 1] == "mkdir" and assert_absent_or_complete(house)
        recovered(house)
    assert told > 0.7 * len(seen)


@pytest.mark.catalogue("A29")
def test_a_sync_that_fails_fails_the_publication_and_the_retry_writes_again(made, tmp_path):
    seen = calls(made, tmp_path / "count", SYNCS)
    assert len(seen) > 20
    for at in range(1, len(seen) + 1):
        house = copy_of(made, tmp_path / "broken")
        with Faults(fails(errno.EIO), at=at, only=SYNCS).armed(), pytest.raises(Unavailable, match="disk failed"):
            house.publish()
        assert releases.all_of(house.database, "m") == []
        recovered(house)


def puts(blobs: Blobs, source):
    """Every way in."""
    source.write_bytes(b"bytes" * 1000)
    return {
        "bytes": lambda: blobs.put_bytes(b"bytes" * 1000),
        "copy": lambda: blobs.put_file(source).digest,
        "take": lambda: blobs.put_file(source, take=True).digest,
    }


@pytest.mark.catalogue("A29")
@pytest.mark.parametrize("way", ["bytes", "copy", "take"])
def test_after_a_failed_sync_the_blob_is_not_there_and_is_written_anew(tmp_path, way):
    put = puts(Blobs(tmp_path / "first"), tmp_path / "source")[way]
    with Faults(nothing, only=SYNCS).armed() as faults:
        digest = put()
    for at in range(1, len(faults.seen) + 1):
        blobs = Blobs(tmp_path / f"oci-{at}")
        source = tmp_path / f"source-{at}"
        put = puts(blobs, source)[way]
        with Faults(fails(errno.EIO), at=at, only=SYNCS).armed(), pytest.raises(Unavailable, match="disk failed"):
            put()
        assert not blobs.has(digest)
        with Faults(nothing, only=("write",)).armed() as retried:
            assert put() == digest
        # A taken file that was synced well may be linked again; one that was not is never trusted again.
        assert retried.seen or (way == "take" and source.samefile(blobs.path(digest)) and at == len(faults.seen))
        assert blobs.verify(digest) == 5000


@pytest.mark.catalogue("A34")
def test_what_was_not_synced_is_lost_and_committed_releases_survive(made, tmp_path):
    house = copy_of(made, tmp_path / "house")
    disk = ForgetfulDisk(house.blobs.folder)
    crashes: list[Path] = []

    def crash() -> None:
        for way in ForgetfulDisk.WAYS:
            place = tmp_path / f"{way}-{len(crashes)}"
            disk.image(way, place / "oci")
            copy_rest(house.root, place)
            crashes.append(place)

    with disk.armed(crash):
        house.publish()
    crash()
    house.close()
    there = []
    for number, place in enumerate(crashes):
        house = House(place)
        there.append(assert_absent_or_complete(house))
        if number % 7 == 0:
            recovered(house)
        house.close()
    assert not any(there[:3]) and all(there[-3:])
