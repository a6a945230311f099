"""Tar files: written the same way every time, read without trust."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guideway.kit.tar import Member, TarError, content, end, header, members, padding


def packed(files: dict[str, bytes]) -> bytes:
    text = b"".join(header(name, len(data)) + data + padding(len(data)) for name, data in files.items())
    return text + end(len(text))


def test_what_is_written_is_what_the_standard_library_writes():
    files = {"a": b"", "b/c": b"x" * 512, "d": b"y" * 513}
    other = io.BytesIO()
    with tarfile.open(fileobj=other, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    assert packed(files) == other.getvalue()


@given(files=st.dictionaries(st.text("abc/", min_size=1, max_size=20), st.binary(max_size=1500), max_size=5))
def test_members_come_back(files):
    files = {name.strip("/") or "x": data for name, data in files.items()}
    file = io.BytesIO(packed(files))
    assert {one.name: b"".join(content(file, one)) for one in members(file)} == files


def test_a_member_may_be_passed_over():
    file = io.BytesIO(packed({"a": b"x" * 5000, "b": b"y"}))
    assert [one.name for one in members(file)] == ["a", "b"]


@pytest.mark.parametrize("size", [8 << 30, (1 << 40) + 7])
def test_a_size_beyond_the_header_is_written_and_read(size):
    class Hollow(io.BytesIO):
        """A file whose large member is not really there."""

        def seek(self, place, whence=0):
            return size + 4096 if whence == 2 else super().seek(place, whence)

    file = Hollow(header("big", size))
    assert next(members(file)) == Member("big", "file", size, 3 * 512)


def extended(records: bytes, size: int | None = None) -> bytes:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, len(records) if size is None else size
    return info.tobuf(tarfile.USTAR_FORMAT) + records + padding(len(records))


def record(key: str, value: str) -> bytes:
    length = len(f" {key}={value}\n".encode())
    length += len(str(length + len(str(length))))
    return f"{length} {key}={value}\n".encode()


def test_an_extended_header_may_name_and_date_a_member():
    text = extended(record("path", "ü" * 60) + record("mtime", "1.5")) + packed({"short": b"xyz"})
    file = io.BytesIO(text)
    assert [(one.name, one.size) for one in members(file)] == [("ü" * 60, 3)]


@pytest.mark.parametrize(
    "records",
    [b"", b"x", b"99 a=b\n", b"5 ab\n", b"6 a=b\n x", b"-6 a=b\n", b"7 a=bc", b"0 a=b\n", b"10 a=\xff\xff\xff\n",
     record("size", "-1"), record("size", "1e3"), record("size", "9" * 400), record("GNU.sparse.size", "1"),
     record("linkpath", "/etc/passwd"), record("size", "٣")],
)  # fmt: skip
def test_an_odd_extended_header_is_refused(records):
    with pytest.raises(TarError):
        list(members(io.BytesIO(extended(records) + packed({"a": b"x"}))))


def test_a_large_extended_header_is_not_read():
    big = record("comment", "x" * (1 << 20))
    with pytest.raises(TarError, match="too large"):
        list(members(io.BytesIO(extended(big) + packed({"a": b"x"}))))


def test_a_negative_size_is_refused():
    block = bytearray(header("a", 0))
    block[124:136] = b"\xff" * 12
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    with pytest.raises(TarError, match="cut off"):
        list(members(io.BytesIO(bytes(block) + end(512))))


@given(place=st.integers(0, 511), bit=st.integers(0, 7))
def test_a_changed_header_is_never_taken_for_another_member(place, bit):
    text = bytearray(packed({"blobs/x": b"data"}))
    text[place] ^= 1 << bit
    try:
        found = list(members(io.BytesIO(bytes(text))))
    except TarError:
        return
    assert [(one.name, one.kind, one.size) for one in found] == [("blobs/x", "file", 4)]


@given(st.binary(max_size=2000))
def test_noise_is_refused_and_nothing_else_happens(noise):
    with pytest.raises(TarError):
        list(members(io.BytesIO(noise + b"x" * 100)))
