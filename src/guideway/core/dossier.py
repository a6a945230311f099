"""A dossier: everything that was ever proven, allowed or approved about one release, with who signed it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from guideway.core.artifact import Digest, digest_of
from guideway.core.evidence import Evidence
from guideway.core.release import Release


class Proof(msgspec.Struct, frozen=True):
    """One piece of evidence, its digest, the envelope that it came in, and the name of the key that signed."""

    evidence: Evidence
    digest: Digest
    envelope: Digest
    signer: str


class Approval(msgspec.Struct, frozen=True):
    """Somebody lets a release into an environment. ``older``: although a newer one was there already."""

    release: Digest
    environment: str
    by: str
    key: str
    why: str
    at: float
    envelope: Digest
    older: bool = False


class Waiver(msgspec.Struct, frozen=True):
    """Somebody lets *clauses* pass unproven in an environment (``*``: all), for a reason, from ``since`` to ``until``.

    Times are seconds since 1970. ``name`` is the model that it holds for.
    """

    envelope: Digest
    name: str
    environment: str
    clauses: tuple[str, ...]
    reason: str
    signer: str
    since: float
    until: float


class Dossier(msgspec.Struct, frozen=True, kw_only=True):
    """What a judge or a report may know. Everything in it was signed by a key that is trusted here.

    ``subjects`` maps what evidence can be about to its digest: data, train, compress, evaluate, package, release,
    environment, organisation, code. ``ships`` is the role of the model that serves (train or compress).
    ``steps`` maps each step to the parameters that it ran with. ``serving`` are the proofs about the model that
    serves in the environment now, None when none does;
    ``served`` is the digest of that release's package. ``authors`` are the ids of the keys that sealed it.
    ``waivers`` include those that ended; ``previous`` is the release sealed before this one.
    """

    name: str
    environment: str
    spec: Mapping[str, Any]
    subjects: Mapping[str, Digest]
    ships: str
    proofs: tuple[Proof, ...]
    release: Release | None = None
    previous: Release | None = None
    serving: tuple[Proof, ...] | None = None
    served: Digest | None = None
    steps: Mapping[str, Mapping[str, Any]] = {}
    authors: tuple[str, ...] = ()
    approvals: tuple[Approval, ...] = ()
    waivers: tuple[Waiver, ...] = ()
    documents: Mapping[str, Any] = {}
    """JSON files of the build that reports draw from, by role and path: ``data/manifest.json``, ``serve.json``."""


def environment_subject(name: str, environment: str) -> Digest:
    """The digest that stands for one environment of the model *name*: what evidence about it must carry."""
    return digest_of({"environment": environment, "name": name})


def organisation_subject(organisation: str) -> Digest:
    """The digest that stands for the organisation that answers for the model."""
    return digest_of({"organisation": organisation})


def code_subject(commit: str) -> Digest:
    """The digest that stands for one commit of the code that made the model."""
    return digest_of({"commit": commit})
