"""Releases that a spec names, looked for before anything runs; the one that training starts from is looked into."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from guideway.core.spec import SpecFile
from guideway.kit.files import own_folder
from guideway.pipeline.check import base_key, check_base, located
from guideway.pipeline.lent import borrows
from guideway.pipeline.stages import stages_for
from guideway.pipeline.stages.train.places import BORROWED
from guideway.store.home import Home


@contextlib.contextmanager
def laid(file: SpecFile, home: Home) -> Iterator[SpecFile]:
    """*file*, in whose spec the release that training starts from is a folder, as long as the context lasts.

    Such a base is then seen like any other: its files are links in a folder of *home*. No other spec is changed.

    Raises:
        SpecError: a release is not in this home, or it holds no base for this training; with the line that names it.
        Corrupt: a file of it is missing.
    """
    said = _named(file)
    if not said:
        yield file
        return
    from guideway.pipeline.borrow import borrow  # with it comes a library that others need not wait for
    from guideway.store.blobs import Blobs
    from guideway.store.database import Database

    with Database(home.database) as database, own_folder(home.run / "work") as folder:
        found = {name: located(file, _key(file, name), borrow, database, one) for name, one in said.items()}
        if BORROWED not in found:
            yield file
            return
        Blobs(home.oci).lay_out(found[BORROWED].files, folder)
        seen = _based(file, folder)
        check_base(seen)
        yield seen


def _named(file: SpecFile) -> dict[str, str]:
    """The releases that the spec names by their digests, as its stages call them."""
    every = [borrows(stage, file.spec) for stage in stages_for(file.spec).values()]
    return {name: said for one in every for name, said in one.items() if "@" in said}


def _key(file: SpecFile, name: str) -> tuple[str, str]:
    """Where the spec names the release that a stage calls *name*."""
    return base_key(file) if name == BORROWED else ("evaluate", "against")


def _based(file: SpecFile, folder: Path) -> SpecFile:
    """*file*, whose training starts from what lies in *folder*."""
    train = msgspec.structs.replace(file.spec.train, **{base_key(file)[1]: str(folder)})
    return msgspec.structs.replace(file, spec=msgspec.structs.replace(file.spec, train=train))
