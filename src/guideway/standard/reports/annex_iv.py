"""Annex IV: the technical documentation that the EU AI Act asks for, as far as evidence fills it."""

from __future__ import annotations

from guideway.standard.reports import parts
from guideway.standard.reports.annex_points import Point, points
from guideway.standard.reports.drawn import Drawn
from guideway.standard.reports.fields import facts, lacking
from guideway.standard.reports.page import Block, Heading, Page, Paragraph, Table
from guideway.standard.reports.words import Cell, Words, code

GROUPS = {
    "1": Words("1. The system in general", "1. 系统概述"),
    "2": Words("2. How it was developed", "2. 开发过程"),
    "3": Words("3. Operation, and life after delivery", "3. 运行与交付之后"),
}
"""Headings over points that belong together; from point 3 on they are one group."""
FILLED = Words("filled", "已填写", style="good")
PARTLY = Words("partly", "部分填写", style="open")
EMPTY = Words("missing", "缺失", style="bad")
INTRO = Words(
    "Technical documentation in the order of annex IV of {law} ({text}). The headings are ours. What a tool or a person"
    " has proven is filled in; everything else says that it is missing and what would fill it. Whether this is enough"
    " for a given system, the provider must judge.",
    "按 {law}（{text}）附件四的顺序编写的技术文档，标题为我们自拟。由工具或人员证明的内容已填入；"
    "其余各项注明缺失以及如何补全。对具体系统是否足够，由提供者判断。",
)
SUMMARY = Words("Summary: what is filled", "汇总：填写情况")
JUDGED = Words("All clauses of the Standard", "标准的全部条款")


def page(drawn: Drawn) -> Page:
    """Every point as a section, and at the end one table of what is filled."""
    return Page(
        title=Words("{name}: technical documentation", "{name}：技术文档").fill(name=drawn.dossier.name),
        facts=parts.header(drawn),
        blocks=(
            Paragraph(INTRO.fill(**parts.law("ai-act"))),
            *(block for point in points() for block in _section(point, drawn)),
            Heading(2, JUDGED),
            *parts.clause_table(drawn),
            Heading(2, SUMMARY),
            summary(drawn),
        ),
    )


def summary(drawn: Drawn) -> Table:
    """One row for each point: filled, partly or missing, and what lacks."""
    columns = (
        Words("Point", "项"),
        Words("What it asks", "内容"),
        Words("State", "状态"),
        Words("Missing", "缺失内容"),
    )
    return Table(columns, tuple(_row(point, drawn) for point in points()))


def state(point: Point, drawn: Drawn) -> Words:
    """Filled when every field is, missing when none is."""
    empty = len(lacking(point.fields, drawn))
    return FILLED if not empty else EMPTY if empty == len(point.fields) else PARTLY


def _section(point: Point, drawn: Drawn) -> tuple[Block, ...]:
    first = point.id.rstrip("abcdefgh")
    group = (Heading(2, GROUPS[first]),) if first in GROUPS and point.id in ("1a", "2a", "3") else ()
    title = Words("{id} {title}", "{id} {title}").fill(id=_place(point), title=point.title)
    more = point.more(drawn) if point.more else ()
    return (*group, Heading(3, title), facts(point.fields, drawn), *more)


def _row(point: Point, drawn: Drawn) -> tuple[Cell, ...]:
    empty = lacking(point.fields, drawn)
    names: list[Words | str] = []
    for field in empty:
        names += [field.label, "; "]
    return (code(_place(point)), point.title, state(point, drawn), tuple(names[:-1]))


def _place(point: Point) -> str:
    """``2(d)``."""
    return f"{point.id[0]}({point.id[1]})" if len(point.id) > 1 else point.id
