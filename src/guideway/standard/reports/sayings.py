"""Sayings: figures and limits of a judgement in both languages. The judge writes English; these are its sentences."""

from __future__ import annotations

import re
from typing import NamedTuple

from guideway.core.artifact import short
from guideway.core.gate import Judgement, Verdict
from guideway.standard.reports.page import Table
from guideway.standard.reports.words import BITES, VERDICTS, WAIVED, Cell, Run, Words, code, pair


class Saying(NamedTuple):
    """One sentence of the judge, and how it reads in Chinese; groups of the pattern fill both."""

    pattern: re.Pattern[str]
    zh: str


_ENDED = re.compile(r"; waiver (?:ended|not yet in force) by (.*?) until (\d{4}-\d\d-\d\d): (.*)$")
_FIGURES = (
    Saying(re.compile(r"no evidence about this one"), "没有关于它的证据"),
    Saying(re.compile(r"no evidence"), "没有证据"),
    Saying(re.compile(r"expired (\d{4}-\d\d-\d\d)"), r"已于 \1 过期"),
    Saying(re.compile(r"dated in the future: (\d{4}-\d\d-\d\d)"), r"日期在将来：\1"),
    Saying(re.compile(r"n = ([\d,]+), ([\d,]+) are needed"), r"样本数 \1，至少需要 \2"),
    Saying(re.compile(r", without an interval"), "，没有区间"),
    Saying(re.compile(r", a tie"), "，与基线持平"),
    Saying(re.compile(r", within noise"), "，与基线之差在误差范围内"),
    Saying(re.compile(r" \((\d+) of (\d+) proven\)"), r"（\2 项中已证明 \1 项）"),
    Saying(_ENDED, r"；由 \1 给出、至 \2 的豁免不在有效期内：\3"),
    Saying(re.compile(r"(?<=\d)(\]?) on (\S+)"), r"\1，切片 \2"),
)
_LIMITS = (
    Saying(re.compile(r"× serving"), "× 线上版本"),
    Saying(re.compile(r" by its whole interval"), "（整个区间）"),
)
_WAIVED = re.compile(r"by (?P<by>.*?) until (?P<until>\d{4}-\d\d-\d\d): (?P<why>.*)", re.DOTALL)


def figure(judgement: Judgement) -> Words:
    """The figure that was found."""
    return _translated(judgement.figure, _FIGURES)


def limit(judgement: Judgement) -> Words:
    """The limit that was asked for."""
    return _translated(judgement.limit, _LIMITS)


def asks(judgement: Judgement) -> Words:
    """What the clause asks; English where a team wrote no Chinese."""
    return pair(judgement.asks, judgement.asks_zh)


def advice(judgement: Judgement) -> Words:
    """What to do next."""
    return pair(judgement.try_this.replace("`", ""), judgement.try_this_zh.replace("`", ""))


def verdict(judgement: Judgement) -> Words:
    """Proven, failed, not proven; or waived."""
    return WAIVED if judgement.waived and judgement.verdict is not Verdict.PASS else VERDICTS[judgement.verdict]


def waived(judgement: Judgement) -> Words | None:
    """By whom, until when and why."""
    found = _WAIVED.fullmatch(judgement.waived)
    if found is None:
        return None
    return Words("waived by {by} until {until}: {why}", "由 {by} 豁免至 {until}：{why}").fill(**found.groupdict())


def table(judgements: tuple[Judgement, ...]) -> Table:
    """One row for each clause: what it asks, verdict, figure against limit, proof, and what to do where it is open."""
    columns = (
        Words("Clause", "条款"),
        Words("What must hold", "要求"),
        Words("Verdict", "结论"),
        Words("Figure", "数值"),
        Words("Limit", "限值"),
        Words("Bite", "力度"),
        Words("Proof", "证据"),
    )
    return Table(columns, tuple(_row(one) for one in judgements))


def _row(one: Judgement) -> tuple[Cell, ...]:
    proof = code(short(one.evidence)) if one.evidence else Run("–")
    by_hand = () if one.automatic or one.evidence is None else (Words(" by hand", "（人工）"),)
    return (
        code(one.clause),
        _asked(one),
        verdict(one),
        figure(one),
        limit(one),
        BITES[one.bite],
        (proof, *by_hand),
    )


def _asked(one: Judgement) -> Cell:
    if (let := waived(one)) is not None:
        return (asks(one), "; ", let)
    if one.verdict is Verdict.PASS or not one.try_this:
        return asks(one)
    return (asks(one), Words(". To do: ", "。待办："), advice(one))


def _translated(text: str, sayings: tuple[Saying, ...]) -> Words:
    chinese = text
    for one in sayings:
        chinese = one.pattern.sub(one.zh, chinese)
    return pair(text, chinese)
