"""``guideway push``."""

from __future__ import annotations

import time
from pathlib import Path

import click

from guideway.cli.draw import drawn
from guideway.cli.project import json_option, opened, release_and, spec_option
from guideway.cli.transfer import access, megabytes, registry_options, remember, say
from guideway.sealing.registry import parse, push
from guideway.sealing.registry.reference import check_repository
from guideway.store import releases
from guideway.store.blobs import Blobs
from guideway.store.database import Database


@click.command("push")
@click.argument("words", nargs=-1, metavar="[RELEASE] REFERENCE")
@registry_options
@click.option(
    "--mount", "mounts", multiple=True, metavar="REPOSITORY", help="Take blobs from this repository of the registry."
)
@spec_option
@json_option
def command(
    words: tuple[str, ...],
    *,
    username: str | None,
    password_stdin: bool,
    ca: Path | None,
    insecure: bool,
    mounts: tuple[str, ...],
    path: Path,
    as_json: bool,
) -> None:
    """Send RELEASE (default: the newest) and everything attached to it to an OCI registry.

    REFERENCE is host[:port]/repository[:tag]; the tag is `latest` when none is given. Only what the registry lacks is
    sent, and a push that broke off goes on. Credentials come from --username, from GUIDEWAY_REGISTRY_USER and
    GUIDEWAY_REGISTRY_PASSWORD, or from docker's config.json.
    """
    text, target = release_and(words, "reference")
    reference = parse(target)
    for mount in mounts:
        check_repository(mount, mount)
    file, home = opened(path, "dev")
    reached = access(reference, username, password_stdin, ca, insecure)
    began = time.monotonic()
    with Database(home.database) as database:
        found = releases.find(database, text) if text else releases.newest(database, file.spec.name)
    with drawn(as_json=as_json) as emit:
        moved = push(
            Blobs(home.oci), found.digest, reference, reached, mount_from=mounts, progress=megabytes(emit, "push")
        )
        remember(home, found.digest, verb="push", place=str(reference))
        label = releases.label(found)
        text = f"{label} is now at {reference}" if moved.moved else f"{reference} had all of {label} already"
        say(emit, "push", moved, began, text)
