"""Files that are whole or absent."""

from __future__ import annotations

import pytest

from guideway.kit import files
from guideway.kit.files import locked, replacing, write_atomic


def test_a_write_is_whole_and_has_its_mode(tmp_path):
    write_atomic(tmp_path / "deep" / "a", b"text", mode=0o600)
    assert (tmp_path / "deep" / "a").read_bytes() == b"text"
    assert (tmp_path / "deep" / "a").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("fails", ["fsync", "fchmod"])
@pytest.mark.catalogue("A29")
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, fails):
    write_atomic(tmp_path / "a", b"old")

    def broken(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(files.os, fails, broken)
    with pytest.raises(OSError, match="Input/output"):
        write_atomic(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_lock_is_held_by_one(tmp_path):
    with locked(tmp_path / "lock") as first, locked(tmp_path / "lock", wait=False) as second:
        assert first and not second
    with locked(tmp_path / "lock", wait=False) as third:
        assert third


def test_a_file_that_is_written_bit_by_bit_appears_whole_or_not_at_all(tmp_path):
    with replacing(tmp_path / "a", mode=0o600) as file:
        file.write(b"te")
        assert not (tmp_path / "a").exists()
        file.write(b"xt")
    assert (tmp_path / "a").read_bytes() == b"text" and (tmp_path / "a").stat().st_mode & 0o777 == 0o600
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "a") as file:
        file.write(b"half" * (1 // 0))
    assert (tmp_path / "a").read_bytes() == b"text" and len(list(tmp_path.iterdir())) == 1
