"""Many publishers at once: nothing is damaged, nothing is kept twice, nobody is forgotten."""

from __future__ import annotations

import os

import pytest
from seal_rig import SHARED, House, assert_absent_or_complete, assert_clean_after_collection, template

from guideway.core.artifact import digest_bytes
from guideway.sealing.pack import ARTIFACT, REF_NAME
from guideway.sealing.verify import verify
from guideway.store import ledger, releases

pytestmark = pytest.mark.thorough

PUBLISHERS, DIFFERENT = 50, 20


@pytest.mark.catalogue("A32")
def test_fifty_publishers_of_overlapping_releases(tmp_path):
    template(tmp_path).exists()
    children = []
    for number in range(PUBLISHERS):
        child = os.fork()
        if not child:
            try:
                House(tmp_path).publish(f"m{number % DIFFERENT}")
                os._exit(0)
            finally:
                os._exit(1)
        children.append(child)
    assert {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children} == {0}
    house = House(tmp_path)
    assert assert_absent_or_complete(house, "m0")
    found = releases.all_of(house.database)
    assert sorted(one.name for one in found) == sorted(["before", *(f"m{number}" for number in range(DIFFERENT))])
    assert all(verify(house.blobs, one.digest, house.trusted) for one in found)
    entries = house.blobs.index()["manifests"]
    listed = [entry["annotations"][REF_NAME] for entry in entries if entry["artifactType"] == ARTIFACT]
    assert sorted(listed) == sorted(f"{one.name}-{one.number}" for one in found)
    assert len({str(entry) for entry in entries}) == len(entries)
    assert [digest for digest, _ in house.blobs.all()].count(digest_bytes(SHARED)) == 1
    assert ledger.verify(house.database) == len(found)
    assert_clean_after_collection(house)
    house.close()
