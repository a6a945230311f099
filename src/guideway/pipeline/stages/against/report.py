"""The report about a comparison, in English and in Chinese: which differences are more than noise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from guideway.core.evidence import Interval
from guideway.pipeline.stages.reporting import plain, write_files


class Compared(NamedTuple):
    """One figure of both releases on *n* rows of a split, and what the new one gains: above 0 it is better."""

    metric: str
    split: str
    ours: float
    theirs: float
    value: float
    unit: str
    n: int
    interval: Interval
    mcnemar_p: float | None = None

    @property
    def verdict(self) -> int:
        """1: better, -1: worse, 0: the difference is within noise."""
        return int(self.interval.low > 0) - int(self.interval.high < 0)

    @property
    def told(self) -> str:
        """The figure as people are told it when the step is done."""
        said = {1: "better than", -1: "worse than", 0: "within noise of"}[self.verdict]
        around = f"{self.value:+.4g} [{self.interval.low:+.4g}, {self.interval.high:+.4g}] {self.unit}"
        return f"{said} the other release on {self.split}: {self.metric} {around}"


class _Words(NamedTuple):
    title: str
    head: str
    verdicts: tuple[str, str, str]
    note: str


ENGLISH = _Words(
    "Against the other release",
    "| split | figure | this | the other | gain | 95 % interval | rows | McNemar's p | |",
    ("within noise", "better", "worse"),
    "Both were asked the same rows, each in its own way. The interval is a bootstrap over pairs; McNemar's p is exact.",
)
CHINESE = _Words(
    "与对照版本比较",
    "| 数据划分 | 指标 | 本版本 | 对照版本 | 增益 | 95 % 区间 | 行数 | McNemar p 值 | |",
    ("在噪声范围内", "更好", "更差"),
    "两个版本回答同样的行，各用自己的模板与系统提示。区间由成对自助法得到；McNemar p 值为精确值。",
)


def write_report(out: Path, found: Sequence[Compared], why: str = "") -> None:
    """Write ``report.json``, ``report.md`` and ``report.zh.md`` to *out*; *why* says why there is nothing in them."""
    whole = {"compared": [_plain(one) for one in found], "why": why}
    english, chinese = (_lines(words, found, why) for words in (ENGLISH, CHINESE))
    write_files(out, whole, {"report.md": english, "report.zh.md": chinese})


def _lines(words: _Words, found: Sequence[Compared], why: str) -> list[str]:
    lines = [f"# {words.title}\n", why or words.note, ""]
    if found:
        lines += [words.head, "|---" * 9 + "|", *(_line(words, one) for one in found)]
    return lines


def _line(words: _Words, one: Compared) -> str:
    around = f"{one.interval.low:+.4g} – {one.interval.high:+.4g}"
    p = "" if one.mcnemar_p is None else f"{one.mcnemar_p:.3g}"
    figures = f"{one.ours:.4g} | {one.theirs:.4g} | {one.value:+.4g} {one.unit} | {around} | {one.n} | {p}"
    return f"| {one.split} | {one.metric} | {figures} | {words.verdicts[one.verdict]} |"


def _plain(one: Compared) -> dict[str, Any]:
    return {**plain(one), "verdict": one.verdict}
