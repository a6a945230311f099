"""The clauses: 47 facts that a release must prove, kept as data in ``data/clauses.yaml``; and those of the team."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml

from guideway.core.evidence import SubjectKind
from guideway.core.gate import Bite, Level, When

DATA = Path(__file__).parent / "data"
LEVELS: tuple[Level, ...] = ("dev", "staging", "prod")
BITES: tuple[Bite, ...] = ("inform", "warn", "block")

About = Literal["data", "trained", "shipped", "package", "code", "release", "environment", "organisation"]
Only = Literal["compressed", "serving", "against", "CN", "EU"]
Task = Literal["text", "classify", "embed"]
Format = Literal["json", "junit", "cobertura", "sarif", "in-toto"]


class Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of what is read from the data: an unknown key is an error."""


class Text(Strict, frozen=True, kw_only=True):
    """The same in English and Chinese."""

    en: str
    zh: str


class Check(Strict, frozen=True, kw_only=True):
    """One figure of a clause: ``metric`` about something, inside a limit. The worst slice decides.

    ``below`` names another metric of the same subject and slice; ``worse_than_serving`` is the share by which a
    figure (smaller is better) may exceed that of the release that serves. ``judged`` leaves out splits that the
    spec only reports. ``n`` is the smallest sample, ``days`` the oldest proof, ``only`` when the check applies
    (``against``: the spec asks for a comparison with what serves, and the proof must be about what serves now), and
    ``task`` for what kind of model: one that writes text, classifies or embeds it. With ``sure`` the whole interval
    must be inside the limit, not only the value.
    """

    metric: str
    about: About
    at_least: float | None = None
    at_most: float | None = None
    below: str | None = None
    worse_than_serving: float | None = None
    slice: str = ""
    judged: bool = False
    interval: bool = False
    sure: bool = False
    n: int = 0
    days: float | None = None
    only: Only | None = None
    task: Task | None = None
    formats: tuple[Format, ...] = msgspec.field(default=(), name="from")

    @property
    def limit(self) -> float | None:
        """The fixed limit, if it has one."""
        return self.at_least if self.at_least is not None else self.at_most


class Clause(Strict, frozen=True, kw_only=True):
    """One fact that must hold. ``bite`` is how hard it bites in dev, staging and prod; all ``checks`` must hold."""

    id: str
    en: str
    zh: str
    proof: Text
    subject: SubjectKind
    when: When
    bite: tuple[Bite, Bite, Bite]
    themes: tuple[int, ...] = ()
    asked_by: tuple[str, ...] = ()
    scores: tuple[str, ...] = ()
    by: str = "import"
    checks: tuple[Check, ...]
    do: Text

    def bites(self, level: Level) -> Bite:
        """How hard it bites at *level*."""
        return self.bite[LEVELS.index(level)]

    @property
    def command(self) -> str:
        """The command that leaves its evidence."""
        return f"guideway evidence import … --clause {self.id}" if self.by == "import" else f"guideway {self.by}"


class Law(Strict, frozen=True, kw_only=True):
    """A text that asks for clauses: which edition is meant, what kind it is, and where it holds."""

    title: str
    text: str
    kind: Literal["law", "standard", "guidance", "paper"]
    where: str = ""


@cache
def default_clauses() -> tuple[Clause, ...]:
    """The clauses that ship with the product, in order."""
    return msgspec.convert(read_yaml(DATA / "clauses.yaml"), tuple[Clause, ...])


@cache
def laws() -> Mapping[str, Law]:
    """What asks for the clauses, by key."""
    return msgspec.convert(read_yaml(DATA / "laws.yaml"), dict[str, Law])


def team_clauses(spec: Mapping[str, Any]) -> tuple[Clause, ...]:
    """What the team itself requires (``evaluate.require``) of the build part *spec*: it blocks everywhere."""
    required = spec.get("evaluate", {}).get("require", ())
    return tuple(_team_clause(number, one) for number, one in enumerate(required, 1))


def _team_clause(number: int, one: Mapping[str, Any]) -> Clause:
    split = one.get("split", "")
    asks = one["metric"] + (f" on {split}" if split else "")
    check = Check(
        metric=one["metric"],
        about="trained" if one.get("about") == "trained" else "shipped",
        at_least=one.get("at_least"),
        at_most=one.get("at_most"),
        slice=split,
        judged=not split,
    )
    return Clause(
        id=f"SPEC-{number}",
        en=asks,
        zh=one["metric"] + (f"（{split}）" if split else ""),
        proof=Text(en="evaluation report", zh="评估报告"),
        subject="artifact",
        when="seal",
        bite=("block", "block", "block"),
        by="build",
        checks=(check,),
        do=Text(
            en="mend the model, the data or the prompt; the limit is in evaluate.require",
            zh="改进模型、数据或提示；限值在 evaluate.require 中",
        ),
    )


def read_yaml(path: Path) -> Any:
    """The plain values in a YAML file of ours."""
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(path.read_bytes(), Loader=loader)  # noqa: S506 - a safe loader, with the C parser where there is one
