"""Archives from elsewhere: nothing leaves the folder, nothing large is written, and a refusal leaves nothing behind."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import shutil
import stat
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scanner_rig import with_bad_checksums, zipped

from guideway.core.errors import Refused, Unavailable
from guideway.sealing.scanner import Limits, check_archive, unpack
from guideway.sealing.scanner.archive import Member

FILES = {"oci-layout": b"{}", "blobs/sha256/aa": os.urandom(3000), "blobs/sha256/bb": b"", "ü/水.json": b"[]"}


def info(name, size=0, kind=tarfile.REGTYPE, link="", mode=0o644):
    made = tarfile.TarInfo(name)
    made.size, made.type, made.linkname, made.mode = size, kind, link, mode
    return made


def tarred(*members):
    """A tar of members: names with data, or descriptions as they are."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                archive.addfile(info(member[0], len(member[1])), io.BytesIO(member[1]))
    return out.getvalue()


def zip_of(*members):
    """A zip of members: name, data and mode."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data, mode in members:
            entry = zipfile.ZipInfo(name)
            entry.external_attr = mode << 16
            archive.writestr(entry, data)
    return out.getvalue()


PLAIN = tarred(*FILES.items())
WHOLE = {
    "tar": PLAIN,
    "gzip": gzip.compress(PLAIN),
    "bzip2": bz2.compress(PLAIN),
    "xz": lzma.compress(PLAIN),
    "zip": zipped(FILES),
    "packed zip": zipped(FILES, compression=zipfile.ZIP_DEFLATED),
    "tar with folders": tarred(
        info("blobs/", kind=tarfile.DIRTYPE), info("blobs/sha256", kind=tarfile.DIRTYPE), *FILES.items()
    ),
}


def tree(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", WHOLE)
def test_a_plain_archive_is_unpacked_whole(kind, tmp_path):
    (tmp_path / "a").write_bytes(WHOLE[kind])
    members = unpack(tmp_path / "a", tmp_path / "new" / "out")
    assert tree(tmp_path / "new" / "out") == FILES
    assert {member.path for member in members if not member.folder} == set(FILES)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out"]
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "new").rglob("*") if path.is_file()}
    assert modes <= {0o644, 0o640, 0o600}


LONG = "d/" * 600 + "x"
SLIPS = {
    "up": tarred(("../out.txt", b"x")),
    "up, later": tarred(("a/b/../../../out.txt", b"x")),
    "up, as a folder": tarred(info("../out", kind=tarfile.DIRTYPE)),
    "absolute": tarred(("/tmp/guideway-slip", b"x")),
    "home": tarred(("a/./b", b"x")),
    "backslashes": tarred(("..\\out.txt", b"x")),
    "a drive": tarred(("C:\\out.txt", b"x")),
    "a drive without backslash": tarred(("C:out.txt", b"x")),
    "no name": tarred(("a//b", b"x")),
    "a line break": tarred(("a\nb", b"x")),
    "a long name": tarred(("x" * 300, b"x")),
    "a deep name": tarred((LONG, b"x")),
    "a link up": tarred(info("link", kind=tarfile.SYMTYPE, link="../.."), ("link/out.txt", b"x")),
    "an absolute link": tarred(info("link", kind=tarfile.SYMTYPE, link="/etc/passwd")),
    "a link within": tarred(("a", b"x"), info("link", kind=tarfile.SYMTYPE, link="a")),
    "a hard link": tarred(info("link", kind=tarfile.LNKTYPE, link="/etc/passwd")),
    "a character device": tarred(info("null", kind=tarfile.CHRTYPE)),
    "a block device": tarred(info("disk", kind=tarfile.BLKTYPE)),
    "a pipe": tarred(info("pipe", kind=tarfile.FIFOTYPE)),
    "an unknown kind": tarred(info("x", kind=b"Z")),
    "setuid": tarred(info("x", mode=0o4755)),
    "setgid": tarred(info("x", mode=0o2755)),
    "the same name twice": tarred(("a", b"x"), ("a", b"y")),
    "the same name in another case": tarred(("model/A", b"x"), ("MODEL/a", b"y")),
    "the same name, composed otherwise": tarred(("\u00fc", b"x"), ("u\u0308", b"y")),
    "a file below a file": tarred(("a", b"x"), ("a/b", b"y")),
    "a file instead of a folder": tarred(("a/b", b"y"), ("a", b"x")),
    "zip, up": zip_of(("../out.txt", b"x", 0)),
    "zip, absolute": zip_of(("/tmp/guideway-slip", b"x", 0)),
    "zip, backslashes": zip_of(("..\\out.txt", b"x", 0)),
    "zip, a drive": zip_of(("C:/out.txt", b"x", 0)),
    "zip, a link": zip_of(("link", b"/etc", stat.S_IFLNK | 0o777), ("link/x", b"x", 0)),
    "zip, a device": zip_of(("null", b"", stat.S_IFCHR | 0o644)),
    "zip, setuid": zip_of(("x", b"", stat.S_IFREG | 0o4755)),
    "zip, another case": zip_of(("a", b"x", 0), ("A", b"y", 0)),
    "zip, wrong checksums": with_bad_checksums(zipped(FILES)),
    "zip, encrypted": zipped({"a": b"x"}).replace(b"PK\x01\x02\x14\x03\x14\0\0\0", b"PK\x01\x02\x14\x03\x14\0\1\0"),
    "zip, cut": zipped(FILES)[:-10],
    "tar, cut": PLAIN[: len(PLAIN) // 2 - 700],
    "tar, cut in its data": tarred(("a", bytes(2000)))[:1200],
    "gzip, cut": gzip.compress(PLAIN)[:-20],
    "gzip, spoiled": gzip.compress(PLAIN)[:-8] + bytes(8),
    "nothing": b"",
    "no archive": b"hello " * 400,
    "something behind its end": PLAIN + PLAIN,
}


@pytest.mark.catalogue("B9")
@pytest.mark.parametrize("case", SLIPS)
def test_an_archive_with_a_trick_is_refused_and_leaves_nothing(case, tmp_path):
    place = tmp_path / "inner" / "deep"
    place.mkdir(parents=True)
    (place / "archive").write_bytes(SLIPS[case])
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(Refused) as refused:
        unpack(place / "archive", place / "out")
    assert sorted(tmp_path.rglob("*")) == before and not Path("/tmp/guideway-slip").exists()
    assert "\n" not in str(refused.value) and refused.value.try_this


def huge_pax():
    """A tar whose extended header claims a gigabyte of zeros, packed small."""
    block = io.BytesIO()
    with gzip.GzipFile(fileobj=block, mode="wb", compresslevel=1) as file:
        file.write(info("x", 1 << 30, kind=tarfile.XHDTYPE).tobuf(format=tarfile.USTAR_FORMAT))
        for _ in range(64):
            file.write(bytes(1 << 20))
    return block.getvalue()


def overlapping_zip():
    """A zip whose directory names the same megabyte two thousand times."""
    out = zipped({"a": bytes(1 << 20)}, compression=zipfile.ZIP_DEFLATED)
    at = out.index(b"PK\x01\x02")
    entry, end = out[at : out.index(b"PK\x05\x06")], out[out.index(b"PK\x05\x06") :]
    entries = b"".join(entry[:28] + struct.pack("<H", 4) + entry[30:46] + b"%04d" % n for n in range(2000))
    return out[:at] + entries + end[:8] + struct.pack("<HHI", 2000, 2000, len(entries)) + end[16:]


BOMBS = {
    "gzip": gzip.compress(tarred(("zeros", bytes(20 << 20)))),
    "xz": lzma.compress(tarred(("zeros", bytes(20 << 20)))),
    "bzip2": bz2.compress(tarred(("zeros", bytes(20 << 20)))),
    "zip": zipped({"zeros": bytes(20 << 20)}, compression=zipfile.ZIP_DEFLATED),
    "a huge header": huge_pax(),
    "a member that claims more than there is": tarred(info("x", 1 << 40)),
    "a zip that overlaps": overlapping_zip(),
    "many members": gzip.compress(tarred(*[(f"f{n}", b"") for n in range(3000)])),
}


@pytest.mark.catalogue("B9")
@pytest.mark.parametrize("case", BOMBS)
def test_a_bomb_is_refused_before_anything_is_written(case, tmp_path):
    (tmp_path / "a").write_bytes(BOMBS[case])
    with pytest.raises(Refused):
        unpack(tmp_path / "a", tmp_path / "out", limits=Limits(members=2000))
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize(("more", "passes"), [(0, True), (-1, False)])
def test_the_limits_are_exact(more, passes, tmp_path):
    (tmp_path / "a").write_bytes(PLAIN)
    total = sum(len(data) for data in FILES.values())
    for limits in (Limits(bytes=total + more), Limits(members=len(FILES) + more)):
        if passes:
            assert sum(member.size for member in check_archive(tmp_path / "a", limits=limits)) == total
        else:
            with pytest.raises(Refused):
                check_archive(tmp_path / "a", limits=limits)


def test_a_disk_with_too_little_space_is_told_before_anything_is_written(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(PLAIN)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(Unavailable, match="are needed and 0 are free"):
        unpack(tmp_path / "a", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_an_existing_folder_is_never_touched(tmp_path):
    (tmp_path / "a").write_bytes(PLAIN)
    (tmp_path / "out").mkdir()
    with pytest.raises(Refused, match="exists already"):
        unpack(tmp_path / "a", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_an_archive_that_changes_between_the_looks_is_refused(tmp_path, monkeypatch):
    from guideway.sealing.scanner import archive

    (tmp_path / "a").write_bytes(tarred(("a", b"x"), ("../b", b"y")))
    monkeypatch.setattr(archive, "check_archive", lambda path, limits: (Member("a", 1, False),))
    with pytest.raises(Refused):
        unpack(tmp_path / "a", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@given(st.sampled_from(["tar", "gzip", "zip", "packed zip"]), st.data())
def test_a_changed_archive_is_unpacked_as_it_was_or_refused(tmp_path_factory, kind, draw):
    folder = tmp_path_factory.mktemp("x")
    data = bytearray(WHOLE[kind])
    for _ in range(draw.draw(st.integers(1, 4))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    (folder / "a").write_bytes(data)
    try:
        members = unpack(folder / "a", folder / "out")
    except Refused:
        assert [path.name for path in folder.iterdir()] == ["a"]
    else:
        assert set(tree(folder / "out")) == {member.path for member in members if not member.folder}
