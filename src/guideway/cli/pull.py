"""``guideway pull``."""

from __future__ import annotations

import time
from pathlib import Path

import click

from guideway.cli.draw import drawn
from guideway.cli.project import json_option, opened, spec_option
from guideway.cli.transfer import access, arrived, megabytes, registry_options, say
from guideway.sealing.registry import parse, pull
from guideway.signing.keys import trusted
from guideway.store import releases
from guideway.store.blobs import Blobs


@click.command("pull")
@click.argument("reference")
@registry_options
@spec_option
@json_option
def command(
    reference: str,
    *,
    username: str | None,
    password_stdin: bool,
    ca: Path | None,
    insecure: bool,
    path: Path,
    as_json: bool,
) -> None:
    """Bring a release and everything attached to it from an OCI registry, if a trusted key signed it.

    REFERENCE is host[:port]/repository[:tag] or host[:port]/repository@sha256:...; the tag is `latest` when none is
    given. Only what is not here is transferred, and a pull that broke off goes on. Trusted are the public keys in the
    keys folder. Credentials come from --username, from GUIDEWAY_REGISTRY_USER and GUIDEWAY_REGISTRY_PASSWORD, or from
    docker's config.json.
    """
    source = parse(reference)
    _, home = opened(path, "dev")
    reached = access(source, username, password_stdin, ca, insecure)
    began, blobs = time.monotonic(), Blobs(home.oci)
    with drawn(as_json=as_json) as emit:
        moved = pull(blobs, source, trusted(home.keys), reached, progress=megabytes(emit, "pull"))
        found = arrived(home, blobs, moved.digest, emit, verb="pull", source=str(source))
        label = releases.label(found)
        text = (
            f"{label} is here, whole and signed"
            if moved.moved
            else f"{label} was here already: nothing was transferred"
        )
        say(emit, "pull", moved, began, text)
