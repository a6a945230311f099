"""``guideway import``."""

from __future__ import annotations

import time
from pathlib import Path

import click

from guideway.cli.draw import drawn
from guideway.cli.project import json_option, opened, spec_option
from guideway.cli.transfer import arrived, megabytes, say
from guideway.sealing.archive import import_
from guideway.signing.keys import trusted
from guideway.store import releases
from guideway.store.blobs import Blobs


@click.command("import")
@click.argument("source", metavar="FILE", type=click.Path(path_type=Path))
@spec_option
@json_option
def command(source: Path, path: Path, as_json: bool) -> None:
    """Bring the release in FILE, which `guideway export` wrote, if a trusted key signed it.

    All of it comes, or nothing. Trusted are the public keys in the keys folder.
    """
    _, home = opened(path, "dev")
    began, blobs = time.monotonic(), Blobs(home.oci)
    with drawn(as_json=as_json) as emit:
        moved = import_(blobs, source, trusted(home.keys), progress=megabytes(emit, "import"))
        found = arrived(home, blobs, moved.digest, emit, verb="import", source=source.name)
        label = releases.label(found)
        text = (
            f"{label} is here, whole and signed"
            if moved.moved
            else f"{label} was here already: nothing was transferred"
        )
        say(emit, "import", moved, began, text)
