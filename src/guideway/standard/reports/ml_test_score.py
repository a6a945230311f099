"""The ML Test Score as a page: every item, what it scores, and which clause proves it or could."""

from __future__ import annotations

from typing import Any

from guideway.standard.reports import parts
from guideway.standard.reports.drawn import Drawn
from guideway.standard.reports.page import Bar, Bars, Block, Heading, Page, Paragraph, Table
from guideway.standard.reports.words import Cell, Words, both, code, strong
from guideway.standard.scores import Item, MlTestScore, Section, ml_test_score, mlops_level

RULE = Words(
    "Four sections of seven items (Breck et al. 2017). A proof by a tool counts 1, a proof by people 0.5, and what is"
    " waived, failed or not proven counts 0. The score is the least of the four sums: the weakest part decides.",
    "共四个部分，每部分七项（Breck 等，2017）。工具证据计 1 分，人工证据计 0.5 分，"
    "豁免、未通过或未证明的计 0 分。"
    "总分取四部分之和的最小值，因为最薄弱处决定整体。",
)
LEFT_OUT = Words(
    "CAICT's five levels of maturity are not drawn: what they ask is not public item by item, so no clause could be"
    " said to prove an item.",
    "不给出中国信通院的五级成熟度：其要求没有逐项公开，因此无法说明哪条条款证明哪一项。",
)
NO_CLAUSE = Words("no clause proves this item", "没有条款证明这一项", style="missing")


def page(drawn: Drawn) -> Page:
    """The score, its sections, and how it came about."""
    score = ml_test_score(drawn.clauses, drawn.judgements)
    final = (Words("ML Test Score", "ML Test Score"), strong(f"{score.score:g} / 7"))
    return Page(
        title=Words("{name}: ML Test Score", "{name}：ML Test Score 评分").fill(name=drawn.dossier.name),
        facts=(*parts.header(drawn), final),
        blocks=(
            Paragraph(RULE),
            Bars(tuple(_bar(section) for section in score.sections)),
            *(block for section in score.sections for block in _section(section)),
            Heading(2, Words("Level of MLOps", "MLOps 等级")),
            *_mlops(drawn),
        ),
    )


def data(drawn: Drawn) -> dict[str, Any]:
    """The same for machines."""
    score: MlTestScore = ml_test_score(drawn.clauses, drawn.judgements)
    level, lacking = mlops_level(drawn.judgements)
    return {
        "score": score.score,
        "sections": {section.name: _section_data(section) for section in score.sections},
        "mlops": {"level": level, "lacking_for_next": list(lacking)},
    }


def _section_data(section: Section) -> dict[str, Any]:
    items = [
        {"id": one.id, "points": one.points, "clauses": list(one.clauses), "proven_by": list(one.proven_by)}
        for one in section.items
    ]
    return {"points": section.points, "items": items}


def _bar(section: Section) -> Bar:
    points = Words("{points} of {all}", "{points} / {all}").fill(points=f"{section.points:g}", all=len(section.items))
    return Bar(both(section.title), section.points / len(section.items), points)


def _section(section: Section) -> tuple[Block, ...]:
    title = Words("{title}: {points}", "{title}：{points}").fill(
        title=both(section.title), points=f"{section.points:g}"
    )
    columns = (Words("Item", "项目"), Words("What it asks", "要求"), Words("Points", "得分"), Words("By", "依据"))
    rows = tuple((code(one.id), both(one.text), f"{one.points:g}", _by(one)) for one in section.items)
    return (Heading(2, title), Table(columns, rows))


def _by(item: Item) -> Cell:
    if item.proven_by:
        how = Words(" by a tool", "（工具）") if item.points == 1 else Words(" by hand", "（人工）")
        return (code(", ".join(item.proven_by)), how)
    if item.clauses:
        return (Words("would be proven by ", "可由以下条款证明："), code(", ".join(item.clauses)))
    return NO_CLAUSE


def _mlops(drawn: Drawn) -> tuple[Block, ...]:
    level, lacking = mlops_level(drawn.judgements)
    said = Words(
        "Google's levels of MLOps, read through the clauses: level {level}. Level 1 is a pipeline that runs and checks"
        " by itself; level 2 adds that its code is tested and delivered by a machine. Only proofs by a tool count, and"
        " which clause stands for which sentence is our reading.",
        "按条款解读 Google 的 MLOps 等级：第 {level} 级。第 1 级指流水线自动运行和检查；"
        "第 2 级还要求代码由机器测试和交付。"
        "只计工具给出的证据；条款与原文的对应是我们的解读。",
    )
    blocks: list[Block] = [Paragraph(said.fill(level=level))]
    if lacking:
        more = Words("For the next level a tool must still prove: ", "达到下一级还需由工具证明：")
        blocks.append(Paragraph((more, code(", ".join(lacking)))))
    return (*blocks, Paragraph(LEFT_OUT))
