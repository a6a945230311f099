"""``guideway verify``."""

from __future__ import annotations

import time
from pathlib import Path

import click

from guideway.cli.draw import drawn
from guideway.cli.project import opened, spec_option
from guideway.core.errors import Corrupt
from guideway.core.events import Progress, StepFinished
from guideway.core.release import Release
from guideway.sealing import verify, verify_folder
from guideway.sealing.verify import check_signature
from guideway.signing.keys import trusted
from guideway.store import releases
from guideway.store.blobs import Blobs
from guideway.store.database import Database


@click.command("verify")
@click.argument("release", required=False)
@click.option("--layout", type=click.Path(path_type=Path), help="Verify all releases in this OCI layout instead.")
@click.option("--discard", is_flag=True, help="Drop damaged blobs; the next build makes them again.")
@spec_option
def command(release: str | None, layout: Path | None, discard: bool, path: Path) -> None:
    """Read every byte of RELEASE (default: the newest) again and check its signature.

    RELEASE is a digest, its first digits, or a number such as 3.
    """
    file, home = opened(path, "dev")
    keys = trusted(home.keys)
    began = time.monotonic()
    if layout:
        count = verify_folder(layout, keys)
        click.echo(f"{count} releases in {layout} are whole and signed")
        return
    with Database(home.database) as database:
        found = releases.find(database, release) if release else releases.newest(database, file.spec.name)
    blobs = Blobs(home.oci)
    if discard:
        _discard(blobs, found)
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


def _discard(blobs: Blobs, release: Release) -> None:
    """Drop the blobs of *release* that are not what their digests say."""
    for file in release.files:
        try:
            blobs.verify(file.digest, file.size)
        except Corrupt as error:
            blobs.discard(file.digest)
            click.echo(f"dropped {file.path}: {error.what}")
