"""What a stage reads and no step of this build makes: the trained model of a sealed release, or a release as it is."""

from __future__ import annotations

import msgspec

from guideway.core.artifact import Artifact, Digest
from guideway.core.errors import SpecError
from guideway.core.release import Release
from guideway.pipeline.lent import SERVING, WHOLE
from guideway.store import fleet, releases, steps
from guideway.store.database import Database

_MODEL = "model/"
_FOR_PEOPLE = ("adapter/", "curve.json", "report.html")
"""What training leaves beside a model."""


def borrow(database: Database, said: str, environment: str = "") -> Artifact:
    """What *said* names: ``serving``, in *environment*; ``whole:release:NAME@DIGEST``; or ``release:NAME@DIGEST``.

    The last is the trained model: what ships, or what that was made from in this home.

    Raises:
        SpecError: no such release is here, or none of its safetensors are.
    """
    if said == SERVING:
        return _serving(database, environment)
    if said.startswith(WHOLE):
        return Artifact.of(list(_release(database, said.removeprefix(WHOLE)).files))
    return _model_of(database, said)


def _serving(database: Database, environment: str) -> Artifact:
    route = fleet.route(database, environment)
    release = releases.by_digest(database, route.stable.release) if route and route.stable else None
    return Artifact.of(list(release.files) if release else [])


def _release(database: Database, said: str) -> Release:
    name, _, digest = said.removeprefix("release:").partition("@")
    release = releases.by_digest(database, digest)
    if release is None or release.name != name:
        raise SpecError(
            f"there is no release '{name}' with this digest here",
            where=said,
            try_this="`guideway releases` lists them; `guideway pull` or `guideway import` brings one",
        )
    return release


def _model_of(database: Database, said: str) -> Artifact:
    release = _release(database, said)
    shipped = [file for file in release.files if file.path.startswith(_MODEL)]
    if any(file.path.endswith(".safetensors") for file in shipped):
        return _alone(Artifact.of(list(shipped)), _MODEL)
    trained = _trained(database, release)
    if trained is None:
        raise SpecError(
            "this release ships no safetensors, and what it was made from is not here",
            where=said,
            try_this="a release that was built in this home, or one for the engine transformers",
        )
    return _alone(trained, "")


def _trained(database: Database, release: Release) -> Artifact | None:
    """What stage train left in the build of *release*, if it is kept here."""
    digest: Digest = ""
    for one in steps.all_of(database, "package"):
        if one.artifact.files == release.files:
            digest = one.parts["input train"]
    return next((one.artifact for one in steps.all_of(database, "train") if one.artifact.digest == digest), None)


def _alone(artifact: Artifact, prefix: str) -> Artifact:
    """The model alone, at the top."""
    files = [msgspec.structs.replace(file, path=file.path.removeprefix(prefix)) for file in artifact.files]
    return Artifact.of([file for file in files if not file.path.startswith(_FOR_PEOPLE)])
