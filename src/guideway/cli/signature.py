"""``guideway signature``."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import click

from guideway.cli.project import opened, spec_option
from guideway.core.artifact import Digest, short
from guideway.core.errors import SpecError
from guideway.kit.files import write_atomic
from guideway.sealing.pack import files_of, read_manifest
from guideway.sealing.verify import model_signature
from guideway.signing import oms
from guideway.signing.keys import Verifier, trusted
from guideway.store import releases
from guideway.store.blobs import Blobs
from guideway.store.database import Database

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group("signature")
def command() -> None:
    """Model signatures in the OpenSSF format, which other people's tools make and verify too."""


@command.command("verify")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("signature", type=_FILE)
@click.option("--key", type=_FILE, help="Trust this public key (PEM) and no other; then no project is needed.")
@spec_option
def verify(folder: Path, signature: Path, key: Path | None, path: Path) -> None:
    """Check that FOLDER holds exactly what SIGNATURE lists, and that a trusted key signed it."""
    if key:
        one = Verifier.read(key.read_bytes(), name=key.name, where=str(key))
        keys = {one.id: one}
    else:
        keys = trusted(opened(path, "dev")[1].keys)
    bundle = oms.read_bundle(signature.read_bytes(), where=str(signature))
    by = oms.verify_model(folder, bundle, keys, signature=signature)
    click.echo(f"{folder} is exactly what {by.name} ({short(by.id)}) signed: {len(bundle.resources)} files")


@command.command("export")
@click.argument("signature", type=click.Path(path_type=Path))
@click.argument("release", required=False)
@click.option("--files", type=click.Path(path_type=Path), help="Also lay the files of RELEASE out in this new folder.")
@spec_option
def export(signature: Path, release: str | None, files: Path | None, path: Path) -> None:
    """Write the model signature of RELEASE (default: the newest) to the file SIGNATURE."""
    file, home = opened(path, "dev")
    with Database(home.database) as database:
        found = releases.find(database, release) if release else releases.newest(database, file.spec.name)
    if files and files.exists():
        raise SpecError("this folder exists already", where=str(files), try_this="name a new one")
    blobs = Blobs(home.oci)
    write_atomic(signature, model_signature(blobs, found.digest, trusted(home.keys)))
    if files:
        _copy_out(blobs, found.digest, files)
    click.echo(f"the model signature of {releases.label(found)} is in {signature}")


def _copy_out(blobs: Blobs, release: Digest, folder: Path) -> None:
    """Copies, not links: a folder that people are told to play with must not reach into the store."""
    with tempfile.TemporaryDirectory(dir=blobs.folder.parent) as name:
        laid = blobs.lay_out(files_of(read_manifest(blobs, release)), Path(name) / "release")
        shutil.copytree(laid, folder, dirs_exist_ok=True, copy_function=shutil.copyfile)
