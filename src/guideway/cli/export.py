"""``guideway export``."""

from __future__ import annotations

import time
from pathlib import Path

import click

from guideway.cli.draw import drawn
from guideway.cli.project import json_option, opened, release_and, spec_option
from guideway.cli.transfer import megabytes, remember, say
from guideway.sealing.archive import export
from guideway.store import releases
from guideway.store.blobs import Blobs
from guideway.store.database import Database


@click.command("export")
@click.argument("words", nargs=-1, metavar="[RELEASE] FILE")
@spec_option
@json_option
def command(words: tuple[str, ...], path: Path, as_json: bool) -> None:
    """Write RELEASE (default: the newest) and everything attached to it to one FILE, for a closed network.

    FILE is an uncompressed tar of an OCI image layout, which other tools read too. The same release gives the same
    bytes. `guideway import FILE` brings it into another place.
    """
    text, target = release_and(words, "file")
    file, home = opened(path, "dev")
    began = time.monotonic()
    with Database(home.database) as database:
        found = releases.find(database, text) if text else releases.newest(database, file.spec.name)
    with drawn(as_json=as_json) as emit:
        moved = export(Blobs(home.oci), found.digest, Path(target), progress=megabytes(emit, "export"))
        remember(home, found.digest, verb="export", place=Path(target).name)
        say(emit, "export", moved, began, f"{releases.label(found)} is in {target}")
