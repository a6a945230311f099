"""``guideway approve``."""

from __future__ import annotations

from pathlib import Path

import click

from guideway.cli.project import environment_option, opened, signer_option, spec_option
from guideway.cli.state import catch_up
from guideway.core.errors import Refused
from guideway.pipeline.assess import gather
from guideway.pipeline.workshop import open_workshop
from guideway.sealing.attest import approve
from guideway.signing.keys import person
from guideway.store import releases


@click.command("approve")
@click.argument("release", required=False)
@click.option("--why", default="", help="What you looked at.")
@click.option("--older", is_flag=True, help="Although a newer release was in this environment already.")
@signer_option
@spec_option
@environment_option
def command(*, release: str | None, why: str, older: bool, signer: str, path: Path, environment: str) -> None:
    """Sign that RELEASE (default: the newest) may go into an environment.

    Whoever sealed a release cannot approve it: sign with the key of another person.
    """
    file, home = opened(path, environment)
    shop = open_workshop(home)
    found = releases.find(shop.database, release) if release else releases.newest(shop.database, file.spec.name)
    own = person(home.keys, signer)
    if own.id in gather(shop, file, found).authors:
        raise Refused(
            f"'{signer}' sealed this release and cannot approve it",
            where=releases.label(found),
            try_this="ask somebody else, with a key of their own (`guideway signers new NAME`)",
        )
    approve(shop.blobs, shop.database, own, found, environment=environment, why=why, older=older, at=shop.clock())
    catch_up(shop.database, home)
    click.echo(f"{signer} approves {releases.label(found)} for '{environment}'")
