"""``guideway verify``."""

from __future__ import annotations

import time
from pathlib import Path

import click

from guideway.cli.draw import drawn
from guideway.cli.project import environment_option, opened, spec_option
from guideway.cli.state import writing
from guideway.core.errors import Corrupt
from guideway.core.events import Progress, StepFinished
from guideway.core.release import Release
from guideway.sealing.verify import check_signature, verify, verify_folder
from guideway.signing.keys import trusted
from guideway.store import ledger, releases
from guideway.store.blobs import Blobs
from guideway.store.database import Database
from guideway.store.home import Home
from guideway.store.scrub import verify_all


@click.command("verify")
@click.argument("release", required=False)
@click.option("--all", "everything", is_flag=True, help="Read every blob that is kept, and name all damage.")
@click.option("--layout", type=click.Path(path_type=Path), help="Verify all releases in this OCI layout instead.")
@click.option("--discard", is_flag=True, help="Drop damaged blobs; the next build makes them again.")
@spec_option
@environment_option
def command(
    *, release: str | None, everything: bool, layout: Path | None, discard: bool, path: Path, environment: str
) -> None:
    """Read every byte of RELEASE (default: the newest) again and check its signature.

    RELEASE is a digest, its first digits, or a number such as 3.
    """
    if everything and (release or layout):
        raise click.UsageError("--all goes with neither RELEASE nor --layout")
    file, home = opened(path, environment)
    keys = trusted(home.keys)
    began = time.monotonic()
    if layout:
        count = verify_folder(layout, keys)
        click.echo(f"{count} releases in {layout} are whole and signed")
        return
    if everything:
        _verify_all(home, discard=discard)
        return
    with Database(home.database) as database:
        found = releases.find(database, release) if release else releases.newest(database, file.spec.name)
    blobs = Blobs(home.oci)
    if discard:
        _discard(home, blobs, found)
    with drawn(as_json=False) as emit:
        size = verify(
            blobs,
            found.digest,
            keys,
            progress=lambda done, total: emit(Progress("verify", done / 1e6, total / 1e6, "MB")),
        )
        by = ", ".join(one.name for one in check_signature(blobs, found.digest, keys))
        fact = f"{releases.label(found)} is whole and signed by {by}: {size / 1e6:.1f} MB read"
        emit(StepFinished("verify", time.monotonic() - began, False, found.digest, (fact,)))


def _discard(home: Home, blobs: Blobs, release: Release) -> None:
    """Drop the blobs of *release* that are not what their digests say; the ledger names each."""
    with writing(home) as database:
        for file in release.files:
            try:
                blobs.verify(file.digest, file.size)
            except Corrupt as error:
                what, why = "blob dropped", f"{file.path} of {releases.label(release)}: {error.what}"
                ledger.append(database, at=time.time(), who="command line", what=what, subject=file.digest, why=why)
                blobs.discard(file.digest)
                click.echo(f"dropped {file.path}: {error.what}")


def _verify_all(home: Home, *, discard: bool) -> None:
    """Read every blob; name each damaged one and the files of releases that it is.

    Raises:
        Corrupt: at least one is damaged.
    """
    with Database(home.database) as database:
        names = {
            file.digest: f"{one.name}:{one.number} {file.path}"
            for one in releases.all_of(database)
            for file in one.files
        }
    blobs, began = Blobs(home.oci), time.monotonic()
    with drawn(as_json=False) as emit:
        done = verify_all(blobs, lambda read, total: emit(Progress("verify", read / 1e6, total / 1e6, "MB")))
        fact = f"{done.blobs} blobs read, {done.bytes / 1e6:.1f} MB: {len(done.damage)} damaged or missing"
        emit(StepFinished("verify", time.monotonic() - began, False, "", (fact,)))
    for one in done.damage:
        click.echo(f"{one.digest}: {one.what} ({names.get(one.digest, 'no file of a release')})")
        if discard:
            blobs.discard(one.digest)
    if done.damage:
        raise Corrupt(
            f"{len(done.damage)} of {done.blobs} blobs are damaged or missing",
            where=str(home.oci),
            try_this="build again, now that they are dropped" if discard else "`guideway verify --all --discard`",
        )
