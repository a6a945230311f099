"""Where a base model may lie: a folder, a release of this home, or the Hugging Face hub at one revision."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from guideway.core.errors import SpecError
from guideway.core.protocols import Job

RELEASE, HUB = "release:", "hf:"
BORROWED = "base"
"""The input that a release is."""
_HUB = re.compile(r"hf:(?P<name>[A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)?)@(?P<revision>[0-9a-f]{40})")
_RELEASE = re.compile(r"release:[a-z0-9][a-z0-9._-]*@sha256:[0-9a-f]{64}")
_REGISTRY = re.compile(r"(oci://|[a-z0-9.-]+(:\d+)?/\S+@sha256:)")


def said_in(params: Mapping[str, Any]) -> str | None:
    """What the parameters say of the model that training starts from: the teacher goes before the base."""
    said: str | None = params["teacher"] or params["base"]
    return said


def check_place(said: str) -> None:
    """Refuse what is no folder's name, and pins nothing.

    Raises:
        SpecError: says how such a base is written.
    """
    if said.startswith(HUB) and not _HUB.fullmatch(said):
        raise SpecError(
            f"'{said}' does not say which revision",
            where="train.base",
            try_this="write hf:OWNER/NAME@ and the 40 digits of a commit: a branch or a tag may move",
        )
    if said.startswith(RELEASE) and not _RELEASE.fullmatch(said):
        raise SpecError(
            f"'{said}' does not say which release",
            where="train.base",
            try_this="write release:NAME@sha256:..., with all 64 digits that `guideway releases --json` shows",
        )
    if _REGISTRY.match(said):
        raise SpecError(
            "a base is not taken from a registry unseen",
            where="train.base",
            try_this="bring it here first, which checks who signed it: `guideway pull`, then release:NAME@sha256:...",
        )


def is_folder(said: str) -> bool:
    """Is it a folder beside the spec?"""
    return not said.startswith((RELEASE, HUB))


def folder_of(job: Job, said: str) -> Path:
    """The folder with the model that the spec calls *said*; one of the hub is fetched first.

    Raises:
        Unavailable: the hub does not answer.
    """
    if said.startswith(RELEASE):
        return job.inputs[BORROWED]
    if not said.startswith(HUB):
        return job.root / said
    from guideway.pipeline.stages.train.hub import fetch

    found = _HUB.fullmatch(said)
    assert found
    job.progress(0, 1, f"fetching {found['name']}")
    return fetch(found["name"], found["revision"], job.resume / "base")
