"""`guideway gc` and `guideway verify --all` as a person calls them."""

from __future__ import annotations

import json
import re

import pytest

from guideway.core.artifact import Artifact
from guideway.core.release import Release
from guideway.store import ledger, releases, steps
from guideway.store.blobs import Blobs
from guideway.store.database import Database
from guideway.store.home import Home
from guideway.store.steps import StepResult


@pytest.fixture
def kept(project):
    """A project whose store holds what a release, a step and an admission need, and two loose blobs."""
    home = Home.of(project.folder)
    blobs = Blobs(home.oci)
    names = ("file", "step", "envelope", "admission", "loose", "looser")
    named = {name: blobs.put_bytes(name.encode()) for name in names}
    (project.folder / "step").write_bytes(b"step")
    (project.folder / "file").write_bytes(b"file")
    step, file = (blobs.put_file(project.folder / name) for name in ("step", "file"))
    with Database(home.database) as database:
        artifact = Artifact.of([step])
        steps.keep(database, StepResult("k", "data", artifact, (), (), named["envelope"], 1.0, 1.0))
        release = Release(digest="sha256:" + "1" * 64, name="small", number=0, created=1.0, files=(file,))
        releases.add(database, release)
        releases.put_admission(
            database, release=release.digest, environment="dev", verdict="PASS", envelope=named["admission"], at=1.0
        )
    return blobs, named


def lines(project) -> list[str]:
    with Database(Home.of(project.folder).database) as database:
        return [f"{entry.what}: {entry.why}" for entry in ledger.entries(database)]


def test_gc_condemns_and_a_later_call_removes(project, kept):
    blobs, named = kept
    said = project("gc")
    assert said.returncode == 0 and "0 blobs removed" in said.stdout and "2 condemned and waiting" in said.stdout
    said = project("gc", "--dry-run", "--grace", "0")
    assert said.stdout.startswith("would be: 2 blobs removed")
    assert len(lines(project)) == 1  # a dry run is no deed
    done = json.loads(project("gc", "--grace", "0", "--json").stdout)
    assert (done["removed"], done["removed_bytes"], done["needed"], done["waiting"]) == (2, 11, 4, 0)
    assert {digest for digest, _ in blobs.all()} == {named[name] for name in ("file", "step", "envelope", "admission")}
    assert re.fullmatch(r"gc: 2 blobs removed \(0\.0 MB\), 4 needed", lines(project)[-1])


def test_verify_all_names_every_damaged_blob_and_discard_drops_them(project, kept):
    blobs, named = kept
    assert "6 blobs read" in project("verify", "--all").stdout
    for name in ("file", "loose"):
        blobs.path(named[name]).chmod(0o644)
        blobs.path(named[name]).write_bytes(b"broken")
    said = project("verify", "--all")
    assert said.returncode == 4 and "2 of 6 blobs are damaged" in said.stderr
    assert f"{named['file']}: this blob is not what its digest says (small:1 file)" in said.stdout
    assert f"{named['loose']}: this blob is not what its digest says (no file of a release)" in said.stdout
    assert project("verify", "--all", "--discard").returncode == 4
    assert project("verify", "--all").returncode == 0


def test_all_goes_with_neither_a_release_nor_a_layout(project):
    assert project("verify", "--all", "3").returncode == 2
    assert project("verify", "--all", "--layout", "x").returncode == 2
