"""What a team asks beyond the Standard. A clause may become stricter, never looser: for that there are waivers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import msgspec

from guideway.core.artifact import Digest, digest_of
from guideway.core.errors import SpecError, did_you_mean
from guideway.core.gate import Bite, Level
from guideway.core.spec import SpecFile, Tightening
from guideway.core.spec.marked import Keys, Marked, read_marked
from guideway.core.spec.rollout import Strategy
from guideway.standard.clauses import BITES, LEVELS, Check, Clause, Strict, default_clauses, team_clauses

COMPRESSION = {"max_kl": "kl_to_source", "max_flips": "top1_flips"}
"""Keys of ``compress`` in the spec that tighten CMP-01, and the metrics that they limit."""


class Overlay(Strict, frozen=True, kw_only=True):
    """A team's file: ``clauses`` tightens those of the Standard, ``add`` brings clauses of its own."""

    clauses: dict[str, Tightening] = msgspec.field(default_factory=dict)
    add: tuple[Clause, ...] = ()


def strategy_of(file: SpecFile) -> Strategy:
    """How a release takes over in the environment: as the spec says, else by a canary where it is judged as prod."""
    return file.spec.rollout.strategy or ("canary" if level_of(file) == "prod" else "all-at-once")


def level_of(file: SpecFile) -> Level:
    """The column of the Standard that the environment is judged by; an unknown name is judged as prod.

    Raises:
        SpecError: ``standard.level`` would judge staging or prod by a softer column than their name promises.
    """
    named: Level = "dev" if file.environment == "dev" else "staging" if file.environment == "staging" else "prod"
    chosen = file.spec.standard.level or named
    if file.environment in LEVELS and LEVELS.index(chosen) < LEVELS.index(named):
        raise SpecError(
            f"'{file.environment}' cannot be judged as {chosen}",
            where=file.where("standard", "level"),
            try_this="give the environment another name, or waive single clauses (`guideway standard waive`)",
        )
    return chosen


def clauses_for(file: SpecFile, build_part: Mapping[str, Any]) -> tuple[Clause, ...]:
    """Every clause that holds for a release with *build_part* in the environment of *file*.

    Raises:
        SpecError: something here would loosen a clause, or names one that is not there.
    """
    clauses = {clause.id: clause for clause in default_clauses()}
    standard = file.spec.standard
    if standard.overlay:
        overlay, marked = _read_overlay(file.root / standard.overlay)
        for id, change in overlay.clauses.items():
            _tighten(clauses, id, change, marked.where(("clauses", id)), "dev")
        for index, clause in enumerate(overlay.add):
            if clause.id in clauses or clause.id.startswith("SPEC-"):
                raise SpecError(f"there is a clause '{clause.id}' already", where=marked.where(("add", index)))
            clauses[clause.id] = clause
    for id, change in standard.clauses.items():
        own: Keys = ("environments", file.environment, "standard", "clauses", id)
        here = file.marked.has(own)
        where = file.marked.where(own if here else ("standard", "clauses", id))
        _tighten(clauses, id, change, where, level_of(file) if here else "dev")
    limits = {metric: build_part.get("compress", {}).get(key) for key, metric in COMPRESSION.items()}
    stricter = {metric: limit for metric, limit in limits.items() if limit is not None}
    clauses["CMP-01"] = _limited(clauses["CMP-01"], stricter)
    return (*clauses.values(), *team_clauses(build_part))


def check_compression(file: SpecFile) -> None:
    """Refuse limits in ``compress`` that are looser than the Standard's, which would have no effect.

    Raises:
        SpecError: with the line.
    """
    limits = {check.metric: check.limit for clause in default_clauses() for check in clause.checks}
    for key, metric in COMPRESSION.items():
        asked, limit = getattr(file.spec.compress, key), limits[metric]
        if limit is not None and asked > limit:
            raise SpecError(
                f"compress.{key} {asked:g} is looser than CMP-01, which allows {limit:g}",
                where=file.where("compress", key),
                try_this="remove it; `guideway standard waive CMP-01` lets a release pass",
            )


def policy_digest(clauses: tuple[Clause, ...], level: Level, jurisdictions: Collection[str]) -> Digest:
    """The digest of what was asked: written into every admission, so that an edit of the Standard shows."""
    asked = {"clauses": msgspec.to_builtins(clauses), "level": level, "jurisdictions": sorted(set(jurisdictions))}
    return digest_of(asked)


def _read_overlay(path: Path) -> tuple[Overlay, Marked]:
    if not path.is_file():
        raise SpecError("there is no overlay of the Standard here", where=str(path), try_this="mend standard.overlay")
    marked = read_marked(path, {})
    try:
        return msgspec.convert(marked.value or {}, Overlay), marked
    except msgspec.ValidationError as error:
        raise SpecError(f"not an overlay of the Standard: {error}".replace("`", "'"), where=path.name) from None


def _tighten(clauses: dict[str, Clause], id: str, change: Tightening, where: str, level: Level) -> None:
    """Make one clause stricter; *level* is the column that the change was written for, dev if for all of them."""
    if id not in clauses:
        raise SpecError(f"there is no clause called '{id}'", where=where, try_this=did_you_mean(id, clauses))
    clause = clauses[id]
    if change.bite:
        clause = msgspec.structs.replace(clause, bite=_harder(clause, change.bite, where, level))
    metrics = {check.metric: check for check in clause.checks}
    for kind in ("at_most", "at_least"):
        for metric, limit in getattr(change, kind).items():
            if metric not in metrics:
                raise SpecError(f"{id} says nothing of '{metric}'", where=where, try_this=did_you_mean(metric, metrics))
            _check_stricter(id, metrics[metric], kind, limit, where)
    checks = tuple(_with_limit(check, change) for check in clause.checks)
    clauses[id] = msgspec.structs.replace(clause, checks=checks)


def _harder(clause: Clause, bite: Bite, where: str, level: Level) -> tuple[Bite, Bite, Bite]:
    if BITES.index(bite) < BITES.index(clause.bites(level)):
        raise _loosens(clause.id, f"its bite is '{clause.bites(level)}'", where)
    dev, staging, prod = (max(bite, one, key=BITES.index) for one in clause.bite)
    return dev, staging, prod


def _check_stricter(id: str, check: Check, kind: str, limit: float, where: str) -> None:
    known = getattr(check, kind)
    if known is None:
        other = "at_least" if kind == "at_most" else "at_most"
        raise SpecError(f"{id} limits '{check.metric}' by {other}", where=where)
    if limit > known if kind == "at_most" else limit < known:
        raise _loosens(id, f"{check.metric} {kind} {known:g}", where)


def _loosens(id: str, what: str, where: str) -> SpecError:
    return SpecError(
        f"this loosens {id} ({what})",
        where=where,
        try_this=f"a spec can only tighten; `guideway standard waive {id}` lets a release pass for a while",
    )


def _with_limit(check: Check, change: Tightening) -> Check:
    if check.metric in change.at_most:
        return msgspec.structs.replace(check, at_most=change.at_most[check.metric])
    if check.metric in change.at_least:
        return msgspec.structs.replace(check, at_least=change.at_least[check.metric])
    return check


def _limited(clause: Clause, limits: Mapping[str, float]) -> Clause:
    """*clause* with each upper limit lowered to *limits* where that is stricter."""
    checks = tuple(
        msgspec.structs.replace(check, at_most=min(check.at_most, limits[check.metric]))
        if check.at_most is not None and check.metric in limits
        else check
        for check in clause.checks
    )
    return msgspec.structs.replace(clause, checks=checks)
