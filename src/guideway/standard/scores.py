"""Scores drawn from the same judgements: the ML Test Score, how much is proven by theme and level, and MLOps levels.

CAICT's five levels of maturity are left out: what they ask for is not published item by item, so nothing
here could say which clause proves which item.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import msgspec

from guideway.core.gate import Judgement, Level, Verdict
from guideway.standard.clauses import DATA, LEVELS, Clause, Strict, Text, read_yaml

THEMES: tuple[Text, ...] = (
    Text(en="resources", zh="资源"),
    Text(en="flow", zh="流程"),
    Text(en="fast deployment", zh="快速部署"),
    Text(en="data security", zh="数据安全"),
    Text(en="explainability", zh="可解释性"),
    Text(en="performance", zh="性能"),
    Text(en="robustness", zh="鲁棒性"),
    Text(en="monitoring and logs", zh="监控与日志"),
    Text(en="maintainability", zh="可维护性"),
    Text(en="model updates", zh="模型更新"),
    Text(en="system security", zh="系统安全"),
    Text(en="privacy and compliance", zh="隐私与合规"),
    Text(en="reliability", zh="可靠性"),
    Text(en="system performance", zh="系统性能"),
    Text(en="tuning", zh="调优"),
    Text(en="code quality", zh="代码质量"),
    Text(en="environments", zh="环境"),
    Text(en="security testing", zh="安全测试"),
    Text(en="backup and recovery", zh="备份与恢复"),
    Text(en="load and scale", zh="负载与伸缩"),
)
"""The themes that clauses belong to; theme 1 comes first."""

MLOPS: tuple[tuple[str, ...], ...] = (
    ("DAT-02", "EVL-01", "EVL-03", "TRN-02", "SEC-02", "OPS-01", "OPS-06"),
    ("TRN-05", "REL-01", "REL-02", "REL-03", "REL-05"),
)
"""What must be proven by a tool for level 1, and beyond that for level 2, of Google's levels of MLOps.

Level 1 is a pipeline that runs by itself: data and models are checked without people, every step is on record, what
serves is watched, and a stale model is noticed. Level 2 adds that the code is tested and delivered by a machine.
The levels are described in prose; which clause stands for which sentence is our reading.
"""


class _Section(Strict, frozen=True, kw_only=True):
    title: Text
    items: tuple[Text, ...]


class Item(NamedTuple):
    """One item: 0, 0.5 (proven by hand) or 1 point (by a tool). ``clauses`` could prove it, ``proven_by`` do."""

    id: str
    text: Text
    points: float
    clauses: tuple[str, ...]
    proven_by: tuple[str, ...]


class Section(NamedTuple):
    """Seven items, and the sum of their points."""

    name: str
    title: Text
    items: tuple[Item, ...]
    points: float


class MlTestScore(NamedTuple):
    """Four sections; the score is that of the weakest."""

    sections: tuple[Section, ...]
    score: float


class Coverage(NamedTuple):
    """How many of the clauses that apply are proven. ``name``: a theme (its number) or a level."""

    name: str
    text: Text
    proven: int
    total: int

    @property
    def share(self) -> float:
        """Between 0 and 1; 0 where nothing applies."""
        return self.proven / self.total if self.total else 0.0


def ml_test_score(clauses: Sequence[Clause], judgements: Sequence[Judgement]) -> MlTestScore:
    """The ML Test Score (Breck et al. 2017): sums per section, and the least of them."""
    proven = proven_by_tool(judgements)
    sections = tuple(_scored(name, section, clauses, proven) for name, section in items().items())
    return MlTestScore(sections, min(section.points for section in sections))


@cache
def items() -> dict[str, _Section]:
    """The items, by section."""
    return msgspec.convert(read_yaml(DATA / "ml-test-score.yaml"), dict[str, _Section])


def proven_by_tool(judgements: Sequence[Judgement]) -> dict[str, bool]:
    """The clauses that are proven and not waived, each with whether a tool gave the proof."""
    return {one.clause: one.automatic for one in judgements if one.verdict is Verdict.PASS and not one.waived}


def by_theme(clauses: Sequence[Clause], judgements: Sequence[Judgement]) -> tuple[Coverage, ...]:
    """For each theme, how many of its clauses that apply are proven."""
    found = []
    for theme, text in enumerate(THEMES, 1):
        ids = {clause.id for clause in clauses if theme in clause.themes}
        found.append(_coverage(str(theme), text, ids, judgements))
    return tuple(found)


def by_level(clauses: Sequence[Clause], judgements: Sequence[Judgement]) -> tuple[Coverage, ...]:
    """For dev, staging and prod, how many of the clauses that block there are proven."""
    return tuple(_coverage(level, Text(en=level, zh=level), _blocking(clauses, level), judgements) for level in LEVELS)


def overall(clauses: Sequence[Clause], judgements: Sequence[Judgement]) -> Coverage:
    """How many of all clauses that apply are proven."""
    return _coverage("all", Text(en="all clauses", zh="全部条款"), {clause.id for clause in clauses}, judgements)


def mlops_level(judgements: Sequence[Judgement]) -> tuple[int, tuple[str, ...]]:
    """Google's level of MLOps (0, 1 or 2), and the clauses that a tool must still prove for the next one."""
    automatic = {clause for clause, by_tool in proven_by_tool(judgements).items() if by_tool}
    for level, asked in enumerate(MLOPS):
        lacking = tuple(clause for clause in asked if clause not in automatic)
        if lacking:
            return level, lacking
    return len(MLOPS), ()


def _scored(name: str, section: _Section, clauses: Sequence[Clause], proven: dict[str, bool]) -> Section:
    found = tuple(_item(f"{name}-{number}", text, clauses, proven) for number, text in enumerate(section.items, 1))
    return Section(name, section.title, found, sum(item.points for item in found))


def _item(id: str, text: Text, clauses: Sequence[Clause], proven: dict[str, bool]) -> Item:
    """The best proof counts: what a tool measured is not worth less because somebody looked too."""
    able = tuple(clause.id for clause in clauses if id in clause.scores)
    by = tuple(clause for clause in able if clause in proven)
    points = max((1.0 if proven[clause] else 0.5 for clause in by), default=0.0)
    return Item(id, text, points, able, by)


def _coverage(name: str, text: Text, ids: set[str], judgements: Sequence[Judgement]) -> Coverage:
    asked = [one for one in judgements if one.clause in ids]
    return Coverage(name, text, len(proven_by_tool(asked)), len(asked))


def _blocking(clauses: Sequence[Clause], level: Level) -> set[str]:
    return {clause.id for clause in clauses if clause.bites(level) == "block"}
