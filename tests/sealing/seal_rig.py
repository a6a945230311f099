"""A small house for publishing: store, rows, keys and a model folder; and what must hold of it after any accident."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from guideway.core.artifact import digest_bytes
from guideway.core.gate import Judgement, Verdict
from guideway.core.release import Release
from guideway.sealing.seal import seal
from guideway.sealing.verify import verify, verify_folder
from guideway.signing.keys import signer, trusted
from guideway.store import releases
from guideway.store.blobs import Blobs
from guideway.store.database import Database
from guideway.store.garbage import collect, reachable

PASSED = Judgement("EVL-01", "it is better", Verdict.PASS, "1", "< 2")
SHARED = b"shared weights" * 50
BIG = b"0123456789abcdef" * 600


class House:
    """Everything below *root*; open several of them for several publishers."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.blobs = Blobs(root / "oci")
        self.database = Database(root / "state.db")
        self.signer, self.trusted = signer(root / "keys"), trusted(root / "keys")

    def publish(self, name: str = "m") -> Release:
        """Make a model folder, keep it by link and by copy, and seal it: all writes of a release."""
        folder = self.root / "work" / str(os.getpid())
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "model").mkdir(parents=True)
        files = {"model/shared.onnx": SHARED, f"model/{name}.onnx": BIG + name.encode(), "serve.json": b"[]"}
        for path, data in files.items():
            (folder / path).write_bytes(data)
        with self.blobs.writing():
            taken = self.blobs.put_tree(folder, take=True).files
            copied = self.blobs.put_file(folder / "serve.json", name="copy.json")
            proof = self.blobs.put_bytes(b"proof of " + name.encode())
            return seal(
                self.blobs, self.database, self.signer, name=name, files=[*taken, copied], judgements=[PASSED],
                proofs=[proof], facts={"format": "onnx"}, at=1.0,
            )  # fmt: skip

    def close(self) -> None:
        self.database.close()


def template(root: Path) -> Path:
    """A house with one release in it, to be copied."""
    house = House(root)
    house.publish("before")
    house.close()
    return root


def copy_of(made: Path, place: Path) -> House:
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(made, place, symlinks=True)
    return House(place)


def kept(blobs: Blobs) -> set[str]:
    return {digest for digest, _ in blobs.all()}


def assert_absent_or_complete(house: House, name: str = "m") -> bool:
    """Every release that a row or the layout names is whole, and so is every blob; is *name* there?"""
    found = releases.all_of(house.database)
    for one in found:
        assert verify(house.blobs, one.digest, house.trusted) > 0
    assert verify_folder(house.blobs.folder, house.trusted) >= len(found)
    for digest in kept(house.blobs):
        path = house.blobs.path(digest)
        assert digest == digest_bytes(path.read_bytes()), f"half a blob is visible: {digest}"
        assert path.stat().st_mode & 0o777 == 0o444
    return any(one.name == name for one in found)


def assert_clean_after_collection(house: House) -> None:
    """Two collections without grace leave what is needed and nothing else."""
    for at in (10.0, 20.0):
        collect(house.blobs, lambda: releases.digests(house.database), at=at, grace=0)
    assert kept(house.blobs) == reachable(house.blobs, releases.digests(house.database))
    control = house.blobs.leases.folder
    left = [path for name in ("incoming", "leases", "condemned") for path in (control / name).glob("*")]
    assert left == []
    assert {path.name for path in house.blobs.folder.iterdir()} == {".guideway", "blobs", "index.json", "oci-layout"}
    assert list((house.blobs.folder / "blobs").rglob(".*")) == []


def tree_of(folder: Path) -> dict[str, str]:
    """Digest of every file below *folder*."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
