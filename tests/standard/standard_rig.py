"""Dossiers by hand: a few lines say what is known, the rest is plain."""

from __future__ import annotations

from typing import Any

import msgspec

from guideway.core.artifact import digest_of
from guideway.core.dossier import Dossier, Proof, Waiver
from guideway.core.evidence import Evidence, Interval, Subject
from guideway.core.spec import Spec, build_part

NOW = 1_800_000_000.0
DAY = 86400.0
ROLES = ("data", "train", "compress", "evaluate", "package", "release", "environment", "organisation", "code")
INTERVAL = Interval(0.0, 1.0, 0.95, "wilson")


def subject(role: str) -> Subject:
    return Subject("artifact", f"sha256:{role}", role)


def fact(value: float, metric: str = "score", role: str = "compress", **more: Any) -> Proof:
    more.setdefault("at", NOW - DAY)
    evidence = Evidence(metric=metric, value=value, unit="", subject=subject(role), **more)
    return Proof(evidence, digest_of(evidence), "sha256:envelope", "guideway")


def spec(**changes: Any) -> Spec:
    return msgspec.convert({"guideway": 1, "name": "days", "data": {"sources": [{"path": "x"}]}, **changes}, Spec)


def dossier(*proofs: Proof, ships: str = "compress", **more: Any) -> Dossier:
    values: dict[str, Any] = {
        "name": "days",
        "environment": "prod",
        "spec": build_part(spec()),
        "subjects": {role: f"sha256:{role}" for role in ROLES},
        "ships": ships,
        "proofs": proofs,
    }
    return Dossier(**{**values, **more})


def waiver(*clauses: str, **more: Any) -> Waiver:
    values: dict[str, Any] = {
        "envelope": "sha256:waiver",
        "name": "days",
        "environment": "prod",
        "clauses": clauses,
        "reason": "the tool comes next month",
        "signer": "alice",
        "since": NOW - DAY,
        "until": NOW + DAY,
    }
    return Waiver(**{**values, **more})
