"""Ways in and out: linked, cloned or copied; one pass; bounded memory; whatever the file system offers."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from guideway.core.artifact import File
from guideway.core.errors import Corrupt, Unavailable
from guideway.store import copying, intake, reading
from guideway.store.blobs import Blobs

SIZES = (0, 1, copying.PIECE - 1, copying.PIECE, copying.PIECE + 1, copying.PIECE * (copying.PIECES + 1) + 7)


@pytest.fixture
def blobs(tmp_path) -> Blobs:
    return Blobs(tmp_path / "oci")


def refuses(number: int):
    def call(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return call


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def source_of(folder: Path, size: int) -> Path:
    path = folder / f"source-{size}"
    path.write_bytes((b"%d." % size) * (size // len(b"%d." % size) + 1))
    os.truncate(path, size)
    return path


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("take", [False, True])
def test_every_size_comes_in_whole_and_read_only(blobs, tmp_path, size, take):
    source = source_of(tmp_path, size)
    data = source.read_bytes()
    file = blobs.put_file(source, name="a/b", take=take)
    assert file == File(path="a/b", size=size, digest=digest_of(data))
    assert blobs.path(file.digest).read_bytes() == data
    assert blobs.path(file.digest).stat().st_mode & 0o777 == 0o444
    assert blobs.verify(file.digest, size) == size


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EPERM, errno.EMLINK])
def test_a_taken_file_that_cannot_be_linked_is_copied(blobs, tmp_path, monkeypatch, number):
    source = source_of(tmp_path, 1000)
    monkeypatch.setattr(intake.os, "link", refuses(number))
    file = blobs.put_file(source, take=True)
    assert blobs.verify(file.digest, 1000) == 1000
    assert not blobs.path(file.digest).samefile(source)
    assert source.stat().st_mode & 0o200  # it was not taken, so it is left as it was


def test_a_taken_file_that_has_another_name_is_copied(blobs, tmp_path):
    """Whoever has the other name could still write there."""
    source = source_of(tmp_path, 1000)
    os.link(source, tmp_path / "other name")
    file = blobs.put_file(source, take=True)
    assert not blobs.path(file.digest).samefile(source)


def test_a_link_to_a_file_is_never_kept_as_a_link(blobs, tmp_path):
    (tmp_path / "link").symlink_to(source_of(tmp_path, 10))
    for take in (False, True):
        assert not blobs.path(blobs.put_file(tmp_path / "link", take=take).digest).is_symlink()


@pytest.mark.parametrize("take", [False, True])
def test_a_pipe_is_refused_at_once(blobs, tmp_path, take):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Corrupt, match="only plain files"):
        blobs.put_file(tmp_path / "pipe", take=take)


def test_where_the_file_system_clones_the_clone_is_what_is_hashed(blobs, tmp_path, monkeypatch):
    """A clone is faked by a copy made before the source changes: the digest must be that of the clone."""
    source = source_of(tmp_path, 50_000)
    before = source.read_bytes()

    def clone(target: int, request: int, origin: int) -> int:
        assert request == 0x40049409
        os.write(target, os.pread(origin, 50_000, 0))
        source.write_bytes(b"changed meanwhile")
        return 0

    monkeypatch.setattr(copying.fcntl, "ioctl", clone)
    file = blobs.put_file(source)
    assert (file.digest, file.size) == (digest_of(before), 50_000) and blobs.read(file.digest) == before


def test_a_clone_that_fails_for_want_of_space_is_no_reason_to_copy(blobs, tmp_path, monkeypatch):
    monkeypatch.setattr(copying.fcntl, "ioctl", refuses(errno.ENOSPC))
    with pytest.raises(Unavailable, match="disk is full"):
        blobs.put_file(source_of(tmp_path, 10))


@pytest.mark.parametrize("kernel", [True, False])
def test_laying_out_where_links_are_impossible_copies_whole_files(blobs, tmp_path, monkeypatch, kernel):
    data = b"x" * (reading.BUFFER * 2 + 5)
    file = File(path="a", size=len(data), digest=blobs.put_bytes(data))
    monkeypatch.setattr(intake.os, "link", refuses(errno.EXDEV))
    if not kernel:
        monkeypatch.setattr(copying.os, "copy_file_range", refuses(errno.EXDEV))
    blobs.lay_out([file], tmp_path / "out")
    assert (tmp_path / "out" / "a").read_bytes() == data
    assert (tmp_path / "out" / "a").stat().st_mode & 0o777 == 0o444
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a"]


def test_a_copy_that_breaks_off_leaves_no_half_file(blobs, tmp_path, monkeypatch):
    file = File(path="a", size=4, digest=blobs.put_bytes(b"data"))
    monkeypatch.setattr(intake.os, "link", refuses(errno.EXDEV))
    monkeypatch.setattr(copying.os, "copy_file_range", refuses(errno.ENOSPC))
    with pytest.raises(Unavailable, match="disk is full"):
        blobs.lay_out([file], tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_file_that_shrinks_under_the_copy_is_an_error(tmp_path):
    source, target = source_of(tmp_path, 10), tmp_path / "target"
    with source.open("rb") as origin, target.open("wb") as made, pytest.raises(OSError, match="became shorter"):
        copying.copy_range(origin.fileno(), made.fileno(), 4, 20)


def test_an_error_of_the_writing_thread_is_an_error_of_the_copy(blobs, tmp_path, monkeypatch):
    source = source_of(tmp_path, SIZES[-1])
    monkeypatch.setattr(copying, "write_all", refuses(errno.ENOSPC))
    with pytest.raises(Unavailable, match="disk is full"):
        blobs.put_file(source)
    assert list(blobs.all()) == []


def test_an_error_of_an_early_flush_is_an_error_of_the_copy(blobs, tmp_path, monkeypatch):
    """The kernel tells a lost write once; a later fsync would say that all is well."""
    source = source_of(tmp_path, SIZES[-1])
    monkeypatch.setattr(copying, "FLUSH", copying.PIECE)
    monkeypatch.setattr(copying.os, "fdatasync", refuses(errno.EIO))
    with pytest.raises(Unavailable, match="disk failed"):
        blobs.put_file(source)
    assert list(blobs.all()) == []


def test_what_lies_in_the_way_is_replaced_and_what_is_right_stays(blobs, tmp_path):
    file = File(path="a", size=4, digest=blobs.put_bytes(b"data"))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").write_bytes(b"half of an old one")
    for _ in range(2):
        blobs.lay_out([file], tmp_path / "out")
        assert (tmp_path / "out" / "a").samefile(blobs.path(file.digest))


@pytest.mark.parametrize("digest", ["sha256:../../etc/passwd", "sha256:" + "A" * 64, "md5:" + "0" * 64, "", "0" * 64])
def test_what_is_no_digest_never_becomes_a_path(blobs, digest):
    for look in (blobs.path, blobs.has, blobs.read, blobs.verify, blobs.discard):
        with pytest.raises(Corrupt, match="no sha256 digest"):
            look(digest)


def test_many_files_come_in_by_threads_and_keep_their_order(blobs, tmp_path):
    folder = tmp_path / "tree"
    folder.mkdir()
    for number in range(9):
        (folder / f"{number}").write_bytes(bytes([number]) * 700_000)
    artifact = blobs.put_tree(folder, take=True)
    assert [file.path for file in artifact.files] == [str(number) for number in range(9)]
    seen: list[int] = []
    assert blobs.verify_files(artifact.files, seen.append) == 9 * 700_000
    assert seen == [700_000 * number for number in range(1, 10)]
    for number in (7, 3):
        blobs.path(artifact.files[number].digest).chmod(0o644)
        blobs.path(artifact.files[number].digest).write_bytes(b"!" * 700_000)
    with pytest.raises(Corrupt, match=r"\(3\)"):
        blobs.verify_files(artifact.files)


def test_memory_does_not_grow_with_the_file(tmp_path):
    """A file larger than the limit is copied in, taken and verified by a process that keeps within 150 MB."""
    (tmp_path / "big").touch()
    os.truncate(tmp_path / "big", 300 << 20)
    code = (
        "import sys; from pathlib import Path; from guideway.store.blobs import Blobs\n"
        "blobs = Blobs(Path(sys.argv[1], 'oci')); file = blobs.put_file(Path(sys.argv[1], 'big'))\n"
        "blobs.discard(file.digest); assert blobs.put_file(Path(sys.argv[1], 'big'), take=True) == file\n"
        "blobs.verify(file.digest); print(Path('/proc/self/status').read_text())"
    )
    said = subprocess.run([sys.executable, "-c", code, tmp_path], check=True, capture_output=True, text=True)
    peak = next(line for line in said.stdout.splitlines() if line.startswith("VmHWM"))  # what a fork had is not in it
    shutil.rmtree(tmp_path / "oci")
    assert 5_000 < int(peak.split()[1]) < 150_000
