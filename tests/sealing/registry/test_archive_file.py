"""A release as one file: the same bytes every time, and nothing but a whole signed release comes in."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from registry_rig import KIB, Store

from guideway.core.errors import Corrupt, SpecError, Unavailable
from guideway.kit import files
from guideway.sealing import archive
from guideway.sealing.archive import export, import_
from guideway.sealing.arrive import record
from guideway.sealing.pack import entries_beside
from guideway.sealing.verify import verify, verify_folder
from guideway.store import ledger, releases


@pytest.fixture
def release(maker) -> str:
    return maker.seal(200 * KIB, 50, 0)


@pytest.fixture
def file(maker, release, tmp_path) -> Path:
    export(maker.blobs, release, tmp_path / "poet.tar")
    return tmp_path / "poet.tar"


def read(path: Path) -> list[tuple[tarfile.TarInfo, bytes]]:
    with tarfile.open(path) as tar:
        return [(member, tar.extractfile(member).read()) for member in tar]


def write(path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> Path:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for member, data in members:
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def named(name: str, data: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    for key, value in fields.items():
        setattr(member, key, value)
    return member, data


def test_a_release_goes_out_and_comes_in_with_everything_attached(maker, user, release, file):
    got = import_(user.blobs, file, user.trusted)
    assert got.digest == release and got.there == 0 and got.moved == len(user.kept()) == len(read(file)) - 2
    assert verify(user.blobs, release, user.trusted) > 200 * KIB
    beside = [{one["digest"] for one in entries_beside(store.blobs, release)} for store in (maker, user)]
    assert beside[0] == beside[1]
    assert verify_folder(user.blobs.folder, user.trusted) == 1 and user.left_over() == []


def test_the_same_release_gives_the_same_bytes_in_every_store(maker, user, release, file, tmp_path):
    export(maker.blobs, release, tmp_path / "again.tar")
    import_(user.blobs, file, user.trusted)
    export(user.blobs, release, tmp_path / "theirs.tar")
    assert file.read_bytes() == (tmp_path / "again.tar").read_bytes() == (tmp_path / "theirs.tar").read_bytes()


def test_other_tools_see_an_oci_layout(release, file, tmp_path):
    members = read(file)
    assert [member.name for member, _ in members][:2] == ["oci-layout", "index.json"]
    assert all((one.mtime, one.uid, one.gid, one.mode, one.uname) == (0, 0, 0, 0o644, "") for one, _ in members)
    with tarfile.open(file) as tar:
        tar.extractall(tmp_path / "out", filter="data")
    assert json.loads((tmp_path / "out" / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads((tmp_path / "out" / "index.json").read_text())
    listed = next(one for one in index["manifests"] if one["digest"] == release)
    manifest = json.loads((tmp_path / "out" / "blobs" / release.replace(":", "/")).read_text())
    assert listed["annotations"]["org.opencontainers.image.ref.name"] == f"poet-{release[7:19]}"
    for blob in (manifest["config"], *manifest["layers"]):
        assert (tmp_path / "out" / "blobs" / blob["digest"].replace(":", "/")).stat().st_size == blob["size"]


def test_a_layout_that_another_tool_packed_comes_in(user, release, file, tmp_path):
    with tarfile.open(file) as tar:
        tar.extractall(tmp_path / "out", filter="data")
    subprocess.run(["tar", "-C", tmp_path / "out", "-cf", tmp_path / "gnu.tar", "."], check=True)
    assert import_(user.blobs, tmp_path / "gnu.tar", user.trusted).digest == release


def test_importing_again_brings_nothing(user, file):
    import_(user.blobs, file, user.trusted)
    index = user.blobs.index()
    again = import_(user.blobs, file, user.trusted)
    assert (again.moved, again.size) == (0, 0) and again.there == len(user.kept())
    assert user.blobs.index() == index


def test_only_what_is_missing_is_written(maker, user, file, tmp_path):
    import_(user.blobs, file, user.trusted)
    second = maker.seal(200 * KIB, 51)
    export(maker.blobs, second, tmp_path / "second.tar")
    assert import_(user.blobs, tmp_path / "second.tar", user.trusted).size < 10 * KIB


def test_a_release_that_came_is_numbered_once_and_remembered(user, release, file):
    import_(user.blobs, file, user.trusted)
    with user.database() as database:
        for _ in range(2):
            found = record(user.blobs, database, release, who="ann", what="import", source="poet.tar", at=5.0)
        assert (found.name, found.number, found.digest) == ("poet", 1, release)
        assert {one.path for one in found.files} >= {"serve.json", "model/0.safetensors"}
        assert releases.all_of(database) == [found]
        assert [(one.what, one.subject, one.why) for one in ledger.entries(database)] == [
            ("import", release, "poet.tar")
        ]


def test_progress_ends_at_the_end(maker, user, release, tmp_path):
    seen: list[tuple[int, int]] = []
    export(maker.blobs, release, tmp_path / "a.tar", progress=lambda *both: seen.append(both))
    assert seen[-1][0] == seen[-1][1] > 200 * KIB
    seen.clear()
    import_(user.blobs, tmp_path / "a.tar", user.trusted, progress=lambda *both: seen.append(both))
    assert 200 * KIB < seen[-1][0] <= seen[-1][1]


def refused(user: Store, path: Path, says: str | None = None) -> Corrupt:
    """The import is refused, and nothing at all stays."""
    before = user.kept()
    with pytest.raises(Corrupt, match=says) as caught:
        import_(user.blobs, path, user.trusted)
    assert user.kept() == before and user.listed() == set() and user.left_over() == []
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.catalogue("B38")
def test_one_changed_byte_in_any_member_is_refused(user, file, tmp_path):
    members = read(file)
    for number, (member, data) in enumerate(members):
        for place in {0, len(data) - 1} if data else ():
            changed = bytearray(data)
            changed[place] ^= 1
            bad = write(tmp_path / "bad.tar", [*members[:number], (member, bytes(changed)), *members[number + 1 :]])
            refused(user, bad)


@pytest.mark.catalogue("B38")
def test_a_member_that_is_missing_is_refused(user, file, tmp_path):
    members = read(file)
    for number in range(len(members)):
        refused(user, write(tmp_path / "bad.tar", members[:number] + members[number + 1 :]))


@pytest.mark.catalogue("B38")
def test_two_members_that_changed_places_are_refused(user, file, tmp_path):
    members = read(file)
    (one, first), (two, second) = members[2], members[-1]
    refused(user, write(tmp_path / "bad.tar", [*members[:2], (one, second), *members[3:-1], (two, first)]), "digest")


ADDED = {
    "a blob that belongs to nothing": named(f"blobs/sha256/{hashlib.sha256(b'x').hexdigest()}", b"x"),
    "up and out": named("../evil", b"x"),
    "up and out of blobs": named("blobs/sha256/../../../evil", b"x"),
    "absolute": named("/tmp/evil", b"x"),
    "another algorithm": named("blobs/md5/" + "0" * 64, b"x"),
    "a name that is almost a digest": named("blobs/sha256/" + "A" * 64, b"x"),
    "a name with a line end": named("blobs/sha256/" + "0" * 64 + "\n", b"x"),
    "symbolic link": named("blobs/sha256/" + "0" * 64, type=tarfile.SYMTYPE, linkname="/etc/passwd"),
    "hard link": named("blobs/sha256/" + "0" * 64, type=tarfile.LNKTYPE, linkname="oci-layout"),
    "device": named("blobs/sha256/" + "0" * 64, type=tarfile.CHRTYPE, devmajor=1, devminor=3),
    "block device": named("x", type=tarfile.BLKTYPE),
    "pipe": named("blobs/sha256/" + "0" * 64, type=tarfile.FIFOTYPE),
    "another folder": named("evil/", type=tarfile.DIRTYPE),
    "second index": named("index.json", b"{}"),
    "second index by another name": named("./index.json", b"{}"),
    "sparse file": named("blobs/sha256/" + "0" * 64, type=tarfile.GNUTYPE_SPARSE),
    "global header": named("x", b"16 path=../evil\n", type=tarfile.XGLTYPE),
    "long link": named("././@LongLink", b"x\0", type=tarfile.GNUTYPE_LONGNAME),
}  # fmt: skip


REASONS = {
    "a blob that belongs to nothing": "does not belong to the release",
    "second index": "twice",
    "second index by another name": "twice",
}


@pytest.mark.parametrize("kind", ADDED)
@pytest.mark.catalogue("B9")
@pytest.mark.catalogue("B11")
def test_a_member_that_has_no_place_is_refused_and_nothing_is_written(user, file, tmp_path, kind):
    def files() -> set[Path]:
        return {path for path in tmp_path.rglob("*") if not {"transfers", ".guideway"} & set(path.parts)}

    outside = files()
    bad = write(tmp_path / "bad.tar", [*read(file), ADDED[kind]])
    refused(user, bad, REASONS.get(kind, "has no place in a release"))
    assert files() - outside == {bad}


def test_a_blob_that_comes_twice_is_refused(user, file, tmp_path):
    members = read(file)
    refused(user, write(tmp_path / "bad.tar", [*members, members[-1]]), "twice")


@pytest.mark.catalogue("A31")
def test_a_file_that_is_cut_off_anywhere_is_refused(user, file, tmp_path):
    whole = file.read_bytes()
    bad = tmp_path / "bad.tar"
    for length in (0, 1, 511, 512, 513, 3000, len(whole) // 2, len(whole) - 10240 - 512, len(whole) - 10240):
        bad.write_bytes(whole[:length])
        refused(user, bad)


def test_what_follows_the_end_is_refused(user, file, tmp_path):
    for more in (b"evil", b"\0" * 5000 + b"x", b"\0" * (2 << 20)):
        (tmp_path / "bad.tar").write_bytes(file.read_bytes() + more)
        refused(user, tmp_path / "bad.tar", "does not end as it should")


@pytest.mark.parametrize("data", [b"PK\x03\x04" + b"x" * 2000, b"\x1f\x8b" + b"x" * 2000, b"x" * 2000])
def test_a_file_of_another_kind_is_told(user, tmp_path, data):
    (tmp_path / "bad.tar").write_bytes(data)
    refused(user, tmp_path / "bad.tar", "not a tar file with a release")


def test_an_index_that_is_too_large_is_not_read(user, file, tmp_path):
    members = read(file)
    refused(
        user, write(tmp_path / "bad.tar", [members[0], (members[1][0], b" " * (5 << 20)), *members[2:]]), "too large"
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda index: index["manifests"].clear(),
        lambda index: index["manifests"].append({**index["manifests"][-1], "digest": "sha256:" + "0" * 64}),
        lambda index: index["manifests"].__setitem__(0, {**index["manifests"][0], "digest": "../evil"}),
        lambda index: index["manifests"].append({"mediaType": "m", "digest": "sha256:" + "0" * 64, "size": 3}),
        lambda index: index.pop("manifests"),
    ],
)
@pytest.mark.catalogue("B38")
def test_an_index_that_lists_something_else_is_refused(user, file, tmp_path, change):
    members = read(file)
    index = json.loads(members[1][1])
    change(index)
    refused(user, write(tmp_path / "bad.tar", [members[0], (members[1][0], json.dumps(index).encode()), *members[2:]]))


@pytest.mark.catalogue("B38")
def test_a_release_without_its_signature_is_refused(maker, user, release, file, tmp_path):
    members = read(file)
    index = json.loads(members[1][1])
    index["manifests"] = [one for one in index["manifests"] if one["digest"] == release]
    manifest = json.loads(maker.blobs.read(release))
    inside = {release, manifest["config"]["digest"], *(layer["digest"] for layer in manifest["layers"])}
    kept = [one for one in members[2:] if "sha256:" + one[0].name[-64:] in inside]
    bad = write(tmp_path / "bad.tar", [members[0], (members[1][0], json.dumps(index).encode()), *kept])
    refused(user, bad, "no trusted key")


@pytest.mark.catalogue("B38")
def test_a_stranger_is_not_believed(tmp_path, file):
    refused(Store(tmp_path / "stranger"), file, "no trusted key")


@pytest.mark.catalogue("A30")
def test_a_damaged_blob_is_not_exported_and_an_older_file_stays(maker, release, file):
    before = file.read_bytes()
    path = max((maker.blobs.folder / "blobs" / "sha256").iterdir(), key=lambda path: path.stat().st_size)
    path.chmod(0o644)
    for bad in (b"z" * path.stat().st_size, b"z", b"z" * (1 + path.stat().st_size)):
        path.write_bytes(bad)
        with pytest.raises(Corrupt) as caught:
            export(maker.blobs, release, file)
        assert caught.value.where == "sha256:" + path.name
    assert file.read_bytes() == before and [one.name for one in file.parent.glob(".poet*")] == []


def test_where_no_file_can_be_is_told(maker, release, user, tmp_path):
    for path in (tmp_path, tmp_path / "none" / "a.tar"):
        with pytest.raises(SpecError, match="no file can be written there"):
            export(maker.blobs, release, path)
    with pytest.raises(SpecError, match="no such file"):
        import_(user.blobs, tmp_path / "none.tar", user.trusted)


def test_a_disk_that_is_too_small_is_told_before_anything_is_written(user, file, monkeypatch):
    monkeypatch.setattr(archive.shutil, "disk_usage", lambda _: SimpleNamespace(free=9))
    with pytest.raises(Unavailable, match="too small"):
        import_(user.blobs, file, user.trusted)
    assert user.kept() == {}


@pytest.mark.catalogue("A29")
def test_an_export_that_fails_leaves_the_old_file(maker, release, file, monkeypatch):
    before = file.read_bytes()

    def broken(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(files.os, "fsync", broken)
    with pytest.raises(OSError, match="Input/output"):
        export(maker.blobs, release, file)
    assert file.read_bytes() == before and list(file.parent.glob(".poet*")) == []


STOPPED = """
import os, signal, sys
from pathlib import Path
from guideway.sealing.archive import import_
from guideway.signing.keys import trusted
from guideway.store.blobs import Blobs

root, file = Path(sys.argv[1]), Path(sys.argv[2])
def progress(done, total):
    if done > total // 2:
        os.kill(os.getpid(), signal.SIGKILL)
import_(Blobs(root / "oci"), file, trusted(root / "keys"), progress=progress)
"""


@pytest.mark.catalogue("A28")
def test_a_killed_import_leaves_the_store_as_it_was_and_the_next_one_tidies_up(user, file, release):
    done = subprocess.run([sys.executable, "-c", STOPPED, str(user.root), str(file)], check=False)
    assert done.returncode == -9
    assert user.kept() == {} and user.listed() == set() and len(user.left_over()) == 1
    assert import_(user.blobs, file, user.trusted).digest == release
    assert verify(user.blobs, release, user.trusted) and user.left_over() == []


def test_a_running_import_is_not_tidied_away(user, maker, file):
    with archive.Transfers(user.blobs.folder).staging() as other:
        import_(user.blobs, file, user.trusted)
        assert other.is_dir()
    assert user.left_over() == []
