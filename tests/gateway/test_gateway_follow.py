"""Following a file: read when it changed, the last good content kept when it is broken."""

from __future__ import annotations

import errno
import json
import os

import pytest

from guideway.gateway.follow import TRUSTED_SECONDS, FollowedFile, TrustedFile
from guideway.kit.files import write_atomic


class Followed:
    def __init__(self, path):
        self.path = path
        self.accepted = []
        self.now = 0
        self.reads = 0
        self.file = FollowedFile(path, self.accept, lambda: self.now)

    def accept(self, data):
        self.reads += 1
        self.accepted.append(json.loads(data))

    def write(self, value, at=0):
        write_atomic(self.path, value if isinstance(value, bytes) else json.dumps(value).encode(), durable=False)
        os.utime(self.path, ns=(at, at))


@pytest.fixture
def followed(tmp_path):
    return Followed(tmp_path / "file.json")


def test_a_change_is_seen_once(followed):
    followed.write([1])
    assert [followed.file.look() for _ in range(3)] == [True, False, False]
    followed.write([2])
    assert [followed.file.look() for _ in range(3)] == [True, False, False]
    assert followed.accepted == [[1], [2]]


def test_a_change_within_one_tick_of_the_clock_is_seen(followed):
    followed.write([1])
    followed.file.look()
    followed.path.write_bytes(b"[7]")
    os.utime(followed.path, ns=(0, 0))
    assert followed.file.look()
    assert followed.accepted == [[1], [7]]


def test_a_file_that_settled_is_not_read_again(followed):
    followed.write([1])
    followed.now = 10**9
    followed.file.look()
    followed.path.write_bytes(b"[7]")
    os.utime(followed.path, ns=(0, 0))
    assert not followed.file.look(), "the same inode, time and size: nothing can have changed"


@pytest.mark.parametrize("broken", [b"", b'{"half": [1, 2', b"\xff", b"[" * 100_000])
def test_a_broken_file_keeps_the_old_content_and_is_told_once(followed, broken, capsys):
    followed.write([1])
    followed.file.look()
    followed.write(broken)
    assert [followed.file.look() for _ in range(3)] == [False] * 3
    assert capsys.readouterr().err.count("file kept as it was") == 1
    followed.write([2])
    assert followed.file.look()
    assert followed.accepted == [[1], [2]]


def test_a_file_that_is_missing_or_goes_away_changes_nothing(followed, capsys):
    assert not followed.file.look()
    followed.write([1])
    assert followed.file.look()
    followed.path.unlink()
    assert [followed.file.look() for _ in range(3)] == [False] * 3
    followed.write([2])
    assert followed.file.look()
    assert capsys.readouterr().err.count("No such file") == 2


# A file without which nothing may be decided.


class Trusted(Followed):
    def __init__(self, path):
        super().__init__(path)
        self.clock, self.told = 0.0, []
        self.trusted = TrustedFile(self.file, lambda: self.clock, self.told.append)

    def later(self, seconds):
        self.clock += seconds
        self.trusted.look()
        return self.told


@pytest.fixture
def trusted(tmp_path):
    return Trusted(tmp_path / "file.json")


@pytest.mark.parametrize("broken", [b"", b"{", None])
def test_a_trusted_file_that_is_missing_or_broken_is_told_once_after_five_seconds_and_once_when_it_is_back(
    trusted, broken
):
    trusted.write([1])
    assert trusted.later(100.0) == []
    if broken is None:
        trusted.path.unlink()
    else:
        trusted.write(broken)
    assert trusted.later(TRUSTED_SECONDS) == []
    assert trusted.later(0.1) == trusted.later(9.0) == [True]
    trusted.write([1])
    assert trusted.later(0.1) == trusted.later(9.0) == [True, False]


def test_a_trusted_file_that_never_was_there_is_told(trusted):
    assert trusted.later(TRUSTED_SECONDS) == []
    assert trusted.later(0.1) == [True]


def test_a_trusted_file_that_cannot_be_opened_but_has_not_changed_is_still_known(trusted, monkeypatch):
    trusted.write([1])
    trusted.now = 10**9
    assert trusted.later(1.0) == []
    monkeypatch.setattr("pathlib.Path.open", no_descriptor)
    assert trusted.later(100.0) == []
    trusted.write([2])
    trusted.later(0.0)
    assert trusted.later(TRUSTED_SECONDS + 0.1) == [True], "it has changed, and nobody knows how"
    monkeypatch.undo()
    assert trusted.later(0.1) == [True, False]
    assert trusted.accepted == [[1], [2]]


def test_a_file_that_is_lost_twice_is_told_twice_also_when_it_comes_back_as_it_was(followed, capsys):
    for _ in range(2):
        followed.write([1])
        followed.file.look()
        followed.path.unlink()
        followed.file.look()
    assert capsys.readouterr().err.count("No such file") == 2


def no_descriptor(*_, **__):
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
