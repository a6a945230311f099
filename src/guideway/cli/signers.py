"""``guideway signers``."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from pathlib import Path

import click
import msgspec

from guideway.cli.draw import print_json
from guideway.cli.project import json_option, opened, spec_option
from guideway.cli.tables import table
from guideway.core.artifact import short
from guideway.signing import signers
from guideway.signing.keypair import ED25519, P256, Verifier
from guideway.signing.signers import Known
from guideway.store import ledger
from guideway.store.database import Database


@click.group("signers")
def command() -> None:
    """Make, list, trust, rotate and revoke the keys that releases and evidence are signed with.

    GUIDEWAY_SIGNER names who signs; without it, 'guideway' does, whose key is made on first use.
    """


@command.command("list")
@spec_option
@json_option
def list_(path: Path, as_json: bool) -> None:
    """List every key that is known here: whose it is, and whether it counts."""
    _, home = opened(path, "dev")
    found = signers.all_of(home.keys)
    if as_json:
        print_json([msgspec.to_builtins(one) for one in found])
        return
    rows = [(one.name, short(one.id), one.kind, _state(one)) for one in found]
    table(("NAME", "KEY", "KIND", ""), rows, empty="no key yet; the first build makes one")


@command.command("new")
@click.argument("name")
@click.option("--ed25519", is_flag=True, help="An Ed25519 key: for statements only, it cannot sign model files.")
@spec_option
def new(name: str, ed25519: bool, path: Path) -> None:
    """Make a key for NAME (ECDSA P-256)."""
    key = _change(path, "signer made", lambda keys: signers.new(keys, name, kind=ED25519 if ed25519 else P256))
    click.echo(f"{name} signs with {short(key.id)} ({key.kind}) when GUIDEWAY_SIGNER={name}")


@command.command("trust")
@click.argument("name")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@spec_option
def trust(name: str, file: Path, path: Path) -> None:
    """Trust the public key in FILE, as NAME. Done again with another FILE: NAME has rotated."""
    pem = file.read_bytes()
    key = _change(path, "signer trusted", lambda keys: signers.trust(keys, name, pem, where=str(file)))
    click.echo(f"what {short(key.id)} signs counts here, as {name}")


@command.command("rotate")
@click.argument("name")
@spec_option
def rotate(name: str, path: Path) -> None:
    """Make a new key for NAME and destroy the old private one. What that signed still counts."""
    key = _change(path, "signer rotated", lambda keys: signers.rotate(keys, name))
    click.echo(f"{name} signs with {short(key.id)} from now on; give the new public key to those who trust {name}")


@command.command("revoke")
@click.argument("which", metavar="NAME|ID")
@click.option("--reason", required=True, help="Why; it is kept and shown.")
@spec_option
def revoke(which: str, reason: str, path: Path) -> None:
    """Never count a key again: the current one of NAME, or the one whose ID begins so (8 digits or more)."""
    _, home = opened(path, "dev")
    at = time.time()
    one = signers.revoke(home.keys, which, at=at, reason=reason)
    with Database(home.database) as database:
        why = f"{one.name}: {one.reason}"
        ledger.append(database, at=at, who="command line", what="signer revoked", subject=f"sha256:{one.id}", why=why)
    click.echo(f"nothing that {short(one.id)} ({one.name}) signed counts any more")


@command.command("export")
@click.argument("which", metavar="NAME|ID")
@spec_option
def export(which: str, path: Path) -> None:
    """Print the public key of NAME, or of an ID, as PEM."""
    _, home = opened(path, "dev")
    click.echo(signers.find(home.keys, which).pem, nl=False)


def _change(path: Path, what: str, work: Callable[[Path], Verifier]) -> Verifier:
    """Do *work* on the folder of keys and remember it in the ledger."""
    _, home = opened(path, "dev")
    key = work(home.keys)
    with Database(home.database) as database:
        ledger.append(database, at=time.time(), who="command line", what=what, subject=f"sha256:{key.id}", why=key.name)
    return key


def _state(one: Known) -> str:
    if one.revoked:
        day = datetime.datetime.fromtimestamp(one.revoked.at).astimezone().strftime("%Y-%m-%d")
        return f"revoked {day}: {one.revoked.reason}"
    if not one.current:
        return "older: counts, does not sign"
    return "signs" if one.signs else "trusted"
