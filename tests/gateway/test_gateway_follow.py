"""Following a file: read when it changed, the last good content kept when it is broken."""

from __future__ import annotations

import json
import os

import pytest

from guideway.gateway.follow import FollowedFile
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
