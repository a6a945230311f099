"""Damage to a sealed release, wherever it is, is found before anything loads, and the blob is named."""

from __future__ import annotations

import random

import pytest
from seal_rig import House

from guideway.core.errors import Corrupt
from guideway.sealing.pack import read_manifest
from guideway.sealing.verify import verify
from guideway.store.garbage import reachable
from guideway.store.scrub import verify_all

PLACES = 1000


@pytest.fixture
def house(tmp_path):
    house = House(tmp_path)
    yield house
    house.close()


def blobs_of(house: House, release) -> dict[str, bytes]:
    """All that the release is made of: manifest, config, files, and what is attached."""
    needed = reachable(house.blobs, {release.digest})
    assert len(needed) > len(read_manifest(house.blobs, release.digest)["layers"]) + 4
    return {digest: house.blobs.read(digest) for digest in sorted(needed)}


def damaged(house: House, release, digest: str, data: bytes) -> str:
    """Which blob verification names when the bytes of *digest* are *data*."""
    path = house.blobs.path(digest)
    good = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(data)
    with pytest.raises(Corrupt) as caught:
        verify(house.blobs, release.digest, house.trusted)
    path.write_bytes(good)
    return str(caught.value.where)


@pytest.mark.catalogue("A30")
def test_one_flipped_bit_anywhere_is_found_and_the_blob_named(house):
    release, drawn = house.publish(), random.Random(30)
    whole = blobs_of(house, release)
    places = [(digest, place) for digest, data in whole.items() for place in (0, len(data) - 1)]
    sizes = [len(data) for data in whole.values()]
    blobs = drawn.choices(list(whole), weights=sizes, k=PLACES // 2) + drawn.choices(list(whole), k=PLACES // 2)
    places += [(digest, drawn.randrange(len(whole[digest]))) for digest in blobs]
    for digest, place in places:
        data = bytearray(whole[digest])
        data[place] ^= 1 << drawn.randrange(8)
        assert damaged(house, release, digest, bytes(data)) == digest, f"byte {place}"
    assert verify(house.blobs, release.digest, house.trusted) > 0


@pytest.mark.catalogue("A31")
def test_a_truncated_tail_and_a_tail_of_zeros_are_found(house):
    release = house.publish()
    for digest, data in blobs_of(house, release).items():
        for lost in {1, len(data) // 2, len(data)}:
            kept = data[: len(data) - lost]
            assert damaged(house, release, digest, kept) == digest
            assert damaged(house, release, digest, kept + b"\0" * lost) == digest
        assert damaged(house, release, digest, data + b"\0") == digest


@pytest.mark.catalogue("A30", "A31")
def test_the_scrub_names_all_damage_and_not_only_the_first(house):
    release = house.publish()
    first, second, third, *_ = (file.digest for file in release.files)
    for digest, data in ((first, b"!" + house.blobs.read(first)[1:]), (second, house.blobs.read(second)[:-1])):
        house.blobs.path(digest).chmod(0o644)
        house.blobs.path(digest).write_bytes(data)
    house.blobs.path(third).unlink()
    seen = []
    scrubbed = verify_all(house.blobs, lambda done, total: seen.append((done, total)))
    assert {one.digest: one.what for one in scrubbed.damage} == {
        first: "this blob is not what its digest says",
        second: "this blob is not what its digest says",
        third: "this blob is missing",
    }
    assert seen[-1][0] == seen[-1][1] == scrubbed.bytes
