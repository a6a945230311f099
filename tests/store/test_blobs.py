"""Blobs: whole or absent, each kept once, every byte checked."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guideway.core.artifact import File, digest_bytes
from guideway.core.errors import Corrupt, Unavailable
from guideway.store import blobs as room
from guideway.store.blobs import Blobs


@pytest.fixture
def blobs(tmp_path) -> Blobs:
    return Blobs(tmp_path / "oci")


def kept(blobs: Blobs) -> list[Path]:
    return sorted((blobs.folder / "blobs" / "sha256").iterdir())


def test_bytes_come_back_under_their_digest(blobs):
    digest = blobs.put_bytes(b"hello")
    assert digest == "sha256:" + hashlib.sha256(b"hello").hexdigest()
    assert blobs.read(digest) == b"hello"


def test_the_same_bytes_are_kept_once(blobs, tmp_path):
    (tmp_path / "one").write_bytes(b"same")
    assert blobs.put_bytes(b"same") == blobs.put_file(tmp_path / "one").digest
    assert len(kept(blobs)) == 1


def test_a_taken_file_is_linked_and_not_copied(blobs, tmp_path):
    source = tmp_path / "weights"
    source.write_bytes(b"w" * 100)
    file = blobs.put_file(source, take=True)
    assert blobs.path(file.digest).stat().st_ino == source.stat().st_ino


def test_a_copied_file_may_be_written_again(blobs, tmp_path):
    source = tmp_path / "data"
    source.write_bytes(b"first")
    file = blobs.put_file(source)
    source.write_bytes(b"second")
    assert blobs.read(file.digest) == b"first"


def test_a_tree_has_one_digest_whatever_its_folder_is_called(blobs, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name / "sub").mkdir(parents=True)
        (tmp_path / name / "sub" / "x").write_bytes(b"1")
        (tmp_path / name / "y").write_bytes(b"2")
    assert blobs.put_tree(tmp_path / "a") == blobs.put_tree(tmp_path / "b")


def test_a_tree_with_a_link_in_it_is_refused(blobs, tmp_path):
    folder = tmp_path / "tree"
    folder.mkdir()
    (folder / "link").symlink_to("/etc/hostname")
    with pytest.raises(Corrupt, match="only plain files"):
        blobs.put_tree(folder)


def test_a_tree_laid_out_is_the_tree_put_in(blobs, tmp_path):
    (tmp_path / "in" / "sub").mkdir(parents=True)
    (tmp_path / "in" / "sub" / "x").write_bytes(b"1")
    artifact = blobs.put_tree(tmp_path / "in")
    blobs.lay_out(artifact.files, tmp_path / "out")
    assert blobs.put_tree(tmp_path / "out") == artifact


@pytest.mark.parametrize("path", ["../evil", "/tmp/evil", "a/../../evil"])
def test_a_file_that_leaves_its_folder_is_refused(blobs, tmp_path, path):
    digest = blobs.put_bytes(b"x")
    with pytest.raises(Corrupt, match="leaves its folder"):
        blobs.lay_out([File(path=path, size=1, digest=digest)], tmp_path / "out")


def test_a_changed_blob_is_named(blobs):
    digest = blobs.put_bytes(b"hello")
    blobs.path(digest).chmod(0o644)
    blobs.path(digest).write_bytes(b"hellp")
    for look in (blobs.read, blobs.verify):
        with pytest.raises(Corrupt) as caught:
            look(digest)
        assert caught.value.where == digest


def test_a_missing_and_a_truncated_blob_are_found(blobs):
    digest = blobs.put_bytes(b"hello")
    with pytest.raises(Corrupt, match="missing"):
        blobs.verify(digest_bytes(b"other"))
    blobs.path(digest).chmod(0o644)
    os.truncate(blobs.path(digest), 3)
    with pytest.raises(Corrupt, match="not what its digest says"):
        blobs.verify(digest, 5)


@pytest.mark.parametrize("take", [False, True])
def test_a_half_written_blob_is_replaced_by_the_whole_one(blobs, tmp_path, take):
    source = tmp_path / "whole"
    source.write_bytes(b"whole")
    digest = digest_bytes(b"whole")
    blobs.path(digest).write_bytes(b"wh")
    assert not blobs.has(digest, 5)
    assert blobs.put_file(source, take=take).digest == digest
    assert blobs.verify(digest, 5) == 5


def test_half_written_bytes_are_written_again(blobs):
    digest = digest_bytes(b"whole")
    blobs.path(digest).write_bytes(b"wh")
    blobs.put_bytes(b"whole")
    assert blobs.read(digest) == b"whole"


@pytest.mark.parametrize("take", [False, True])
def test_a_full_disk_leaves_nothing_half_written(blobs, tmp_path, monkeypatch, take):
    source = tmp_path / "big"
    source.write_bytes(b"b" * 5000)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(room.os, "fsync", full)
    with pytest.raises(Unavailable, match="disk is full"):
        blobs.put_file(source, take=take)
    monkeypatch.undo()
    assert kept(blobs) == []
    assert list(blobs.folder.rglob(".incoming*")) == []
    assert blobs.verify(blobs.put_file(source, take=take).digest) == 5000


def test_the_index_lists_an_entry_once(blobs):
    entry = {"mediaType": "x", "digest": blobs.put_bytes(b"m"), "size": 1}
    blobs.add_to_index(entry)
    blobs.add_to_index(entry)
    assert blobs.index()["manifests"] == [entry]


@given(data=st.binary(max_size=200), place=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_any_flipped_bit_is_found(tmp_path_factory, data, place, bit):
    blobs = Blobs(tmp_path_factory.mktemp("flip") / "oci")
    digest = blobs.put_bytes(data + b"!")
    changed = bytearray(data + b"!")
    changed[place % len(changed)] ^= 1 << bit
    blobs.path(digest).chmod(0o644)
    blobs.path(digest).write_bytes(changed)
    with pytest.raises(Corrupt):
        blobs.verify(digest)
