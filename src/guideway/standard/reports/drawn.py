"""Drawn: what a report is drawn from, and how to look something up in it. What is not there is None, never a guess."""

from __future__ import annotations

import datetime
import fnmatch
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from guideway.core.artifact import Digest, File
from guideway.core.dossier import Dossier, Proof, Waiver
from guideway.core.evidence import Evidence
from guideway.core.gate import Judgement, Verdict
from guideway.standard.clauses import Clause

_LOCKED = re.compile(r"^\s*([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;,\\]+)")
_WEIGHTS = (".onnx", ".data", ".safetensors", ".gguf", ".bin", ".xml")


class Drawn(msgspec.Struct, frozen=True):
    """All that a report may speak of: a dossier, the judgement of every clause, and the time (seconds since 1970)."""

    dossier: Dossier
    judgements: tuple[Judgement, ...]
    clauses: tuple[Clause, ...]
    at: float


class Completeness(NamedTuple):
    """How much of a named list of fields is filled in, by weight (0 to 1), and which are not."""

    share: float
    missing: tuple[str, ...]


class DataSource(msgspec.Struct, frozen=True):
    """One file of the training data. ``rows`` and ``digest`` are None when there is no manifest."""

    path: str
    licence: str
    origin: str
    datasheet: Mapping[str, str]
    rows: int | None = None
    digest: Digest | None = None
    format: str = ""


def setting(dossier: Dossier, *keys: str) -> Any:
    """A value of the spec; None when it is not there or empty."""
    return _inside(dossier.spec, keys)


def training(dossier: Dossier) -> dict[str, Any]:
    """How the model was trained: what the spec says, what the step ran with, and over both what a search found.

    Keys below others that a search found are dotted: ``architecture.layers``.
    """
    asked = {**(setting(dossier, "train") or {}), **dossier.steps.get("train", {})}
    return {**asked, **(document(dossier, "tuned.json") or {})}


def document(dossier: Dossier, path: str, *keys: str) -> Any:
    """A value in a JSON file of the release; None when file or value is not there."""
    return _inside(dossier.documents.get(path), keys)


def _inside(value: Any, keys: Iterable[str]) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return None if value in ("", (), [], {}) else value


def policy(dossier: Dossier, key: str) -> str | None:
    """A text of the policy, as it lies in the release; None when it says nothing."""
    said = document(dossier, "policy.json", key) or setting(dossier, "policy", key)
    return str(said).strip() or None if said is not None else None


def shipped(dossier: Dossier) -> Digest | None:
    """The digest of the model that serves."""
    return dossier.subjects.get(dossier.ships)


def proofs(dossier: Dossier, metric: str, about: str) -> tuple[Proof, ...]:
    """The proofs of *metric* about one subject (``shipped``, train, release …), the best of each slice, in order."""
    subject = shipped(dossier) if about == "shipped" else dossier.subjects.get(about)
    best: dict[str, Proof] = {}
    for one in dossier.proofs:
        if subject is not None and one.evidence.metric == metric and one.evidence.subject.digest == subject:
            known = best.get(one.evidence.slice)
            if known is None or _rank(one) >= _rank(known):
                best[one.evidence.slice] = one
    return tuple(best[name] for name in sorted(best))


def proof(dossier: Dossier, metric: str, about: str) -> Proof | None:
    """The first of `proofs`."""
    return next(iter(proofs(dossier, metric, about)), None)


def _rank(one: Proof) -> tuple[bool, float]:
    return one.evidence.automatic, one.evidence.at


LEFT_OUT = ("base_", "baseline_", "non_finite_", "recall", "precision", "threshold", "mcnemar_p")
"""How the names of figures begin that are no quality of a whole split."""


def sliced_metrics(dossier: Dossier) -> tuple[str, ...]:
    """The figures of quality that were measured per slice on the model that ships.

    Neither baselines nor checks, nor those of single classes, of which there may be hundreds.
    """
    subject = shipped(dossier)
    found = {
        one.evidence.metric for one in dossier.proofs if one.evidence.slice and one.evidence.subject.digest == subject
    }
    return tuple(sorted(name for name in found if not name.startswith(LEFT_OUT)))


def baseline(dossier: Dossier, evidence: Evidence) -> Evidence | None:
    """What the simple baseline reached on the same slice."""
    found = proofs(dossier, f"baseline_{evidence.metric}", "shipped")
    return next((one.evidence for one in found if one.evidence.slice == evidence.slice), None)


def sources(dossier: Dossier) -> tuple[DataSource, ...]:
    """The files that the model was trained on: by the manifest, or by the spec where there is none."""
    asked = setting(dossier, "data", "sources") or ()
    found = document(dossier, "data/manifest.json", "sources")
    if found is None:
        return tuple(_source(one, one) for one in asked)
    return tuple(_source(one, _asked_for(one, asked)) for one in found)


def _source(found: Mapping[str, Any], asked: Mapping[str, Any]) -> DataSource:
    said = found.get("datasheet") or asked.get("datasheet") or {}
    return DataSource(
        path=str(found["path"]),
        licence=str(found.get("licence") or ""),
        origin=str(found.get("origin") or ""),
        datasheet={name: str(text).strip() for name, text in said.items()},
        rows=found.get("rows"),
        digest=found.get("digest"),
        format=str(found.get("format") or ""),
    )


def _asked_for(found: Mapping[str, Any], asked: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The entry of the spec that a file of the manifest came from; it may be a glob."""
    path = str(found["path"])
    return next((one for one in asked if path == one["path"] or fnmatch.fnmatch(path, one["path"])), {})


def distributions(dossier: Dossier) -> tuple[tuple[str, str], ...]:
    """Name and version of every distribution in the environment lock."""
    text = dossier.documents.get("environment.lock")
    lines = str(text).splitlines() if isinstance(text, str) else ()
    found = (_LOCKED.match(line) for line in lines)
    return tuple(sorted({(one[1], one[2]) for one in found if one}))


def files(dossier: Dossier) -> tuple[File, ...]:
    """The files of the release, in order."""
    return tuple(sorted(dossier.release.files, key=lambda file: file.path)) if dossier.release else ()


def is_weight(file: File) -> bool:
    """Does the file hold weights of the model?"""
    return file.path.startswith("model/") and file.path.endswith(_WEIGHTS)


def architecture(dossier: Dossier) -> Mapping[str, Any]:
    """The shape of the model, as its own files say: family, class, layers, width, heads, vocabulary, context."""
    config = document(dossier, "model/config.json") or {}
    served = document(dossier, "model/genai_config.json", "model") or {}
    decoder = served.get("decoder") or {}
    names = {
        "family": config.get("model_type") or served.get("type"),
        "class": next(iter(config.get("architectures") or ()), None),
        "layers": config.get("num_hidden_layers") or decoder.get("num_hidden_layers"),
        "hidden": config.get("hidden_size") or decoder.get("hidden_size"),
        "heads": config.get("num_attention_heads") or decoder.get("num_attention_heads"),
        "vocabulary": config.get("vocab_size") or served.get("vocab_size"),
        "context": config.get("max_position_embeddings") or served.get("context_length"),
    }
    return {name: value for name, value in names.items() if value is not None}


def parameters(dossier: Dossier) -> int | None:
    """How many weights the trained model has: so many were looked at for NaN."""
    found = proof(dossier, "non_finite_weights", "train")
    return found.evidence.n or None if found else None


def waivers_in_force(drawn: Drawn) -> tuple[Waiver, ...]:
    """The waivers that hold for this model in this environment now, those that end first at the top."""
    found = [
        one
        for one in drawn.dossier.waivers
        if one.name == drawn.dossier.name
        and one.environment in ("*", drawn.dossier.environment)
        and one.since <= drawn.at < one.until
    ]
    return tuple(sorted(found, key=lambda one: (one.until, one.envelope)))


def judgement(drawn: Drawn, clause: str) -> Judgement | None:
    """The judgement of one clause; None when the clause does not apply here."""
    return next((one for one in drawn.judgements if one.clause == clause), None)


def holds(drawn: Drawn, clause: str) -> bool:
    """Is the clause proven, and not just waived?"""
    found = judgement(drawn, clause)
    return found is not None and found.verdict is Verdict.PASS and not found.waived


def envelopes(dossier: Dossier) -> tuple[Digest, ...]:
    """The signed statements that the proofs came in."""
    return tuple(sorted({one.envelope for one in dossier.proofs if one.envelope}))


def expired(evidence: Evidence, at: float) -> bool:
    """Is the proof past its time?"""
    return evidence.valid_until is not None and evidence.valid_until < at


def finite(value: float) -> bool:
    """Can the figure be written in a machine-readable report?"""
    return math.isfinite(value)


def day(at: float) -> str:
    """``2026-11-25``, UTC."""
    return datetime.datetime.fromtimestamp(at, datetime.UTC).date().isoformat()
