"""Garbage collection: what nobody needs goes, and never what a live writer is about to use."""

from __future__ import annotations

import json
import os
import random
import signal
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from guideway.core.errors import Corrupt
from guideway.kit.files import locked, write_atomic
from guideway.store.blobs import Blobs
from guideway.store.garbage import GRACE, collect, condemn, reachable, sweep

pytestmark = pytest.mark.thorough


@pytest.fixture
def blobs(tmp_path) -> Blobs:
    return Blobs(tmp_path / "oci")


def kept(blobs: Blobs) -> set[str]:
    return {digest for digest, _ in blobs.all()}


def listed(blobs: Blobs, *layers: str, **fields: object) -> str:
    """A manifest of *layers*, made known."""
    manifest = {"schemaVersion": 2, "layers": [{"digest": one} for one in layers], **fields}
    digest = blobs.put_bytes(json.dumps(manifest).encode())
    blobs.add_to_index({"mediaType": "m", "digest": digest, "size": 1})
    return digest


def gone(blobs: Blobs, *, roots: frozenset[str] = frozenset(), grace: float = 0, at: float = 100.0) -> int:
    return collect(blobs, lambda: roots, at=at, grace=grace).removed


def test_what_nothing_refers_to_goes_and_the_rest_stays(blobs):
    config, layer, row, loose = (blobs.put_bytes(data) for data in (b"config", b"layer", b"row", b"loose"))
    manifest = listed(blobs, layer, config={"digest": config})
    assert gone(blobs, roots=frozenset({row})) == 1
    assert kept(blobs) == {config, layer, row, manifest} and not blobs.has(loose)


def test_subjects_and_nested_indexes_are_followed(blobs):
    deep, layer = blobs.put_bytes(b"deep"), blobs.put_bytes(b"layer")
    inner = blobs.put_bytes(json.dumps({"layers": [{"digest": deep}]}).encode())
    subject = blobs.put_bytes(json.dumps({"config": {"digest": layer}, "layers": []}).encode())
    outer = listed(blobs, subject={"digest": subject}, manifests=[{"digest": inner}])
    assert gone(blobs) == 0
    assert reachable(blobs, frozenset()) == {deep, layer, inner, subject, outer}


def test_a_subject_that_is_elsewhere_does_not_matter(blobs):
    manifest = listed(blobs, subject={"digest": "sha256:" + "0" * 64})
    assert gone(blobs) == 0 and kept(blobs) == {manifest}


def test_a_blob_stays_until_its_grace_is_over(blobs):
    loose = blobs.put_bytes(b"loose")
    assert gone(blobs, grace=GRACE, at=1000.0) == 0
    assert gone(blobs, grace=GRACE, at=1000.0 + GRACE - 1) == 0
    assert blobs.has(loose)
    assert gone(blobs, grace=GRACE, at=1000.0 + GRACE) == 1


def test_a_clock_that_was_ahead_does_not_keep_garbage_for_ever(blobs):
    blobs.put_bytes(b"loose")
    condemn(blobs, frozenset, at=9e9)
    assert gone(blobs, grace=10, at=1000.0) == 0
    assert gone(blobs, grace=10, at=1010.0) == 1


def test_a_blob_that_is_needed_again_is_no_longer_condemned(blobs):
    loose = blobs.put_bytes(b"loose")
    condemn(blobs, frozenset, at=0)
    listed(blobs, loose)
    assert gone(blobs) == 0 and not blobs.marks.has(loose)


@pytest.mark.parametrize("use", ["has", "put_bytes", "put_file", "take"])
def test_using_a_condemned_blob_rescues_it(blobs, tmp_path, use):
    (tmp_path / "file").write_bytes(b"loose")
    loose = blobs.put_bytes(b"loose")
    condemn(blobs, frozenset, at=0)
    with blobs.writing():
        ways = {
            "has": lambda: blobs.has(loose),
            "put_bytes": lambda: blobs.put_bytes(b"loose"),
            "put_file": lambda: blobs.put_file(tmp_path / "file"),
            "take": lambda: blobs.put_file(tmp_path / "file", take=True),
        }
        assert ways[use]()
        assert gone(blobs) == 0 and blobs.verify(loose) == 5
    assert gone(blobs) == 1


def test_looking_without_writing_rescues_nothing(blobs):
    loose = blobs.put_bytes(b"loose")
    condemn(blobs, frozenset, at=0)
    assert blobs.has(loose) and blobs.marks.has(loose)


def test_a_dry_run_says_what_would_be_done_and_does_nothing(blobs):
    blobs.put_bytes(b"loose")
    condemn(blobs, frozenset, at=0)
    blobs.put_bytes(b"looser")
    foreseen = collect(blobs, frozenset, at=100.0, grace=50, dry_run=True)
    assert (foreseen.removed, foreseen.removed_bytes, foreseen.condemned, foreseen.waiting) == (1, 5, 1, 1)
    assert len(kept(blobs)) == 2
    done = collect(blobs, frozenset, at=100.0, grace=50)
    assert (done.removed, done.removed_bytes, done.condemned, done.waiting) == (1, 5, 1, 1)
    assert (done.waiting_bytes, done.blobs, done.needed) == (6, 1, 0)


@pytest.mark.parametrize("damage", ["missing", "changed", "no manifest", "too large"])
def test_nothing_is_removed_while_a_listed_manifest_is_damaged(blobs, damage, monkeypatch):
    layer = blobs.put_bytes(b"layer")
    manifest = listed(blobs, layer)
    path = blobs.path(manifest)
    path.chmod(0o644)
    if damage == "missing":
        path.unlink()
    elif damage == "changed":
        path.write_bytes(path.read_bytes().replace(b"2", b"3"))
    elif damage == "no manifest":
        manifest = blobs.put_bytes(b'{"layers": "none"}')
        blobs.add_to_index({"digest": manifest})
    else:
        monkeypatch.setattr("guideway.store.garbage._LARGEST", 3)
    with pytest.raises(Corrupt, match="nobody knows which blobs it needs") as caught:
        gone(blobs)
    assert caught.value.where == manifest and blobs.has(layer)


def test_files_that_are_no_blobs_are_left_alone(blobs):
    stranger = blobs.folder / "blobs" / "sha256" / "README"
    stranger.write_text("not ours")
    assert gone(blobs) == 0 and stranger.exists()


def forked(work) -> int:
    child = os.fork()
    if not child:
        try:
            work()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    return child


@pytest.mark.catalogue("A33")
@pytest.mark.parametrize("way", ["found", "put"])
def test_a_stopped_writer_keeps_what_it_is_about_to_use(blobs, way):
    if way == "found":
        blobs.put_bytes(b"about to be used")

    def write() -> None:
        mine = Blobs(blobs.folder)
        with mine.writing():
            digest = mine.put_bytes(b"about to be used")
            assert mine.has(digest)
            os.kill(os.getpid(), signal.SIGSTOP)
            listed(mine, digest)
        os._exit(0)

    child = forked(write)
    assert os.WIFSTOPPED(os.waitpid(child, os.WUNTRACED)[1])
    (digest,) = kept(blobs)
    for hours in range(5):
        assert gone(blobs, at=hours * 3600.0) == 0
    os.kill(child, signal.SIGCONT)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert gone(blobs, at=9e5) == 0 and blobs.verify(digest) == 16


@pytest.mark.catalogue("A33")
def test_a_killed_writer_keeps_nothing_and_its_half_written_file_goes(blobs):
    def write() -> None:
        mine = Blobs(blobs.folder)
        with mine.writing():
            mine.put_bytes(b"never used")
            mine.leases.hidden().write_bytes(b"half")
            (mine.folder / ".index.json.abc").write_bytes(b"{")
            os.kill(os.getpid(), signal.SIGSTOP)

    child = forked(write)
    os.waitpid(child, os.WUNTRACED)
    done = collect(blobs, frozenset, at=1.0, grace=0)
    assert (done.removed, done.waiting, done.leftover_bytes) == (0, 1, 1)  # whoever writes an index holds its lock
    assert [path.read_bytes() for path in (blobs.leases.folder / "incoming").iterdir()] == [b"half"]
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    done = collect(blobs, frozenset, at=2.0, grace=0)
    assert (done.removed, done.leftover_bytes) == (1, 4)
    assert [*(blobs.leases.folder / "incoming").iterdir(), *(blobs.leases.folder / "leases").iterdir()] == []


def test_a_fork_has_a_lease_of_its_own(blobs):
    with blobs.writing():
        child = forked(lambda: os._exit(0 if not blobs.leases.held and blobs.put_bytes(b"x") else 1))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert len(list((blobs.leases.folder / "leases").iterdir())) == 1 and blobs.leases.held
    assert not blobs.leases.held


def test_a_lease_that_was_taken_for_a_dead_one_is_made_again(blobs, monkeypatch):
    """A collection may see the file between its making and its locking."""
    real, seen = __import__("fcntl").flock, []

    def flock(handle, how):
        if not seen:
            seen.append(handle)
            for lease in (blobs.leases.folder / "leases").iterdir():
                lease.unlink()
        return real(handle, how)

    monkeypatch.setattr("guideway.store.leases.fcntl.flock", flock)
    with blobs.writing():
        assert len(list((blobs.leases.folder / "leases").iterdir())) == 1


def test_a_rescue_waits_for_a_collection_and_then_puts_the_blob_again(blobs):
    digest = blobs.put_bytes(b"contested")
    condemn(blobs, frozenset, at=0)
    hear, speak = os.pipe()
    child = forked(lambda: os.read(hear, 1) and os._exit(Blobs(blobs.folder).put_bytes(b"contested") != digest))
    with locked(blobs.leases.folder / "gc.lock"):
        os.write(speak, b"!")
        deadline = time.monotonic() + 10
        while not _waits_for_a_lock(child):
            assert time.monotonic() < deadline
        blobs.discard(digest)
        blobs.marks.lift(digest)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert blobs.verify(digest) == 9


def _waits_for_a_lock(pid: int) -> bool:
    lines = Path("/proc/locks").read_text().splitlines()
    return any(line.split()[1] == "->" and line.split()[5] == str(pid) for line in lines)


class Writer:
    """One writer, a step at a time: it begins, finds or puts a few blobs, refers to them, and ends."""

    def __init__(self, folder: Path, name: int, drawn: random.Random) -> None:
        self.blobs, self.name, self.drawn = Blobs(folder), name, drawn
        self.steps = self._work()

    def _work(self) -> Iterator[None]:
        while True:
            used = []
            with self.blobs.writing():
                yield
                for _ in range(self.drawn.randint(1, 3)):
                    data = b"blob %d" % self.drawn.randrange(6)
                    digest = self.blobs.put_bytes(data)
                    used.append(digest)
                    yield
                    assert self.blobs.has(digest), "a live blob was taken"
                layers = [{"digest": one} for one in used]
                manifest = self.blobs.put_bytes(json.dumps({"layers": layers, "by": self.name}).encode())
                yield
                assert all(self.blobs.has(one) for one in used), "a live blob was taken"
                self.blobs.add_to_index({"digest": manifest})
            yield
            assert all((self.blobs.path(one)).exists() for one in (*used, manifest)), "a referred blob was taken"
            self._forget(manifest)
            yield

    def _forget(self, manifest: str) -> None:
        """Somebody removes a release: its blobs may be garbage now, if nobody else has them."""
        with self.blobs.index_locked():
            index = self.blobs.index()
            index["manifests"] = [one for one in index["manifests"] if one["digest"] != manifest]
            write_atomic(self.blobs.folder / "index.json", json.dumps(index).encode(), durable=False)


@pytest.mark.catalogue("A33")
def test_no_interleaving_of_writers_and_collections_takes_a_live_blob(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)
    removed = 0
    for seed in range(60):
        drawn = random.Random(seed)
        folder = tmp_path / f"{seed}" / "oci"
        writers = [Writer(folder, number, drawn) for number in range(3)]
        blobs, now = Blobs(folder), 0.0
        for _ in range(80):
            now += 1
            act = drawn.randrange(7)
            if act < 5:
                next(drawn.choice(writers).steps)
            elif act == 5:
                condemn(blobs, frozenset, at=now)
            else:
                removed += sweep(blobs, frozenset, before=now).removed
        for writer in writers:
            writer.steps.close()
        assert gone(blobs, at=now) >= 0
        assert kept(blobs) == reachable(blobs, frozenset())
    assert removed > 100


@pytest.mark.catalogue("A33")
def test_writers_and_collections_in_processes_of_their_own(tmp_path):
    """The same, where the kernel draws the order: four writers, and collections without grace all the while."""
    folder = tmp_path / "oci"
    blobs = Blobs(folder)

    def write(seed: int) -> None:
        writer = Writer(folder, seed, random.Random(seed))
        for _ in range(300):
            next(writer.steps)
        writer.steps.close()
        os._exit(0)

    running = {forked(lambda seed=seed: write(seed)) for seed in range(4)}
    removed, now = 0, 0.0
    while running:
        now += 1
        removed += gone(blobs, at=now)
        ended, status = os.waitpid(-1, os.WNOHANG) if running else (0, 0)
        if ended:
            running.discard(ended)
            assert os.waitstatus_to_exitcode(status) == 0
    assert removed > 10
    gone(blobs, at=now + 1)
    assert kept(blobs) == reachable(blobs, frozenset())


def test_a_writer_that_begins_during_a_collection_keeps_its_half_written_file(blobs, monkeypatch):
    """Found by the processes above under load: the leases were listed, then it began, then the files were listed."""
    from guideway.store import leases

    real, began = leases._names, []

    def names(folder):
        found = real(folder)
        if not began and folder.name in ("incoming", "leases"):
            began.append(Blobs(blobs.folder))
            began.append(began[0].writing())
            began[1].__enter__()
            began[0].leases.hidden().write_bytes(b"half")
        return found

    with blobs.leases.lock():
        monkeypatch.setattr(leases, "_names", names)
        assert blobs.leases.sweep_hidden() == 0
    began[1].__exit__(None, None, None)
