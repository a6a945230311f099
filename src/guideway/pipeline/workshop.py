"""The workshop: where things are kept, who signs, what time it is, and what a plan may ask."""

from __future__ import annotations

import hashlib
import importlib.util
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import msgspec

from guideway.core.artifact import Artifact, Digest
from guideway.core.protocols import Clock, Stage
from guideway.pipeline.borrow import borrow
from guideway.pipeline.plan import Known, module_of
from guideway.pipeline.versions import version_of
from guideway.signing.keys import Signer, Verifier, chosen_name, signer, trusted
from guideway.store import steps
from guideway.store.blobs import Blobs
from guideway.store.database import Database
from guideway.store.home import Home
from guideway.store.steps import StepResult


class Workshop(msgspec.Struct, frozen=True):
    """Everything a run needs beside the spec: where things are kept, who signs, whom we trust, what time it is."""

    home: Home
    database: Database
    blobs: Blobs
    signer: Signer
    trusted: Mapping[str, Verifier]
    known: Known
    clock: Clock = time.time


def open_workshop(home: Home, clock: Clock = time.time) -> Workshop:
    """Open state, blobs and keys below *home*; ``$GUIDEWAY_SIGNER`` names who signs."""
    database = Database(home.database)
    blobs = Blobs(home.oci)
    own = signer(home.keys, chosen_name())
    return Workshop(home, database, blobs, own, trusted(home.keys), known(database, blobs), clock)


def for_environment(shop: Workshop, environment: str) -> Workshop:
    """*shop*, where what serves is what serves in *environment*."""

    def borrowed(said: str) -> Artifact:
        return borrow(shop.database, said, environment)

    return msgspec.structs.replace(shop, known=msgspec.structs.replace(shop.known, borrowed=borrowed))


def known(database: Database, blobs: Blobs) -> Known:
    """What a plan may ask, answered from the store and from this interpreter."""

    def kept(key: str) -> StepResult | None:
        result = steps.step(database, key)
        whole = (
            result
            and all(blobs.has(file.digest, file.size) for file in result.artifact.files)
            and blobs.has(result.envelope)
        )
        return result if whole else None

    return Known(
        kept=kept,
        latest=lambda stage: steps.latest(database, stage),
        file_digest=lambda path: steps.file_digest(database, path),
        code_digest=code_digest,
        version=version_of,
        borrowed=lambda said: borrow(database, said),
    )


def code_digest(stage: Stage) -> Digest:
    """The digest of the code of a stage: its module or folder, and the modules named in its ``code``."""
    names = (module_of(stage), *getattr(stage, "code", ()))
    hasher = hashlib.sha256()
    for name in names:
        for path in _source_files(name):
            hasher.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return "sha256:" + hasher.hexdigest()


@cache
def _source_files(module: str) -> tuple[Path, ...]:
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        return ()
    origin = Path(found.origin)
    return tuple(sorted(origin.parent.rglob("*.py"))) if origin.name == "__init__.py" else (origin,)
