"""The report about suites, in English and in Chinese."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from guideway.core.evidence import Interval
from guideway.pipeline.stages.reporting import plain, write_files


class Figure(NamedTuple):
    """One metric of one task over *n* rows; ``higher`` says whether more is better, None: the task does not say."""

    task: str
    metric: str
    value: float
    n: int
    interval: Interval | None
    higher: bool | None = None

    @property
    def around(self) -> str:
        """The interval as people read it."""
        return f"{self.interval.low:.4g} – {self.interval.high:.4g}" if self.interval else ""

    @property
    def told(self) -> str:
        """The figure as people are told it when the step is done."""
        around = f" [{self.interval.low:.4g}, {self.interval.high:.4g}]" if self.interval else ""
        return f"{self.metric} {self.value:.4g}{around} on {self.task} ({self.n} rows)"


class _Words(NamedTuple):
    title: str
    head: str
    unknown: str
    better: dict[bool | None, str]


ENGLISH = _Words(
    "Suites",
    "| task | metric | value | 95 % interval | rows | better |",
    "not known",
    {True: "higher", False: "lower", None: ""},
)
CHINESE = _Words(
    "评测套件",
    "| 任务 | 指标 | 数值 | 95 % 区间 | 行数 | 优向 |",
    "未知",
    {True: "越高越好", False: "越低越好", None: ""},
)


def write_report(out: Path, ships: str, found: Sequence[Figure]) -> None:
    """Write ``report.json``, ``report.md`` and ``report.zh.md`` to *out*."""
    whole = {"ships": ships, "figures": [plain(one) for one in found]}
    english, chinese = (_lines(words, found) for words in (ENGLISH, CHINESE))
    write_files(out, whole, {"report.md": english, "report.zh.md": chinese})


def _lines(words: _Words, found: Sequence[Figure]) -> list[str]:
    lines = [f"# {words.title}\n", words.head, "|---|---|---|---|---|---|"]
    for one in found:
        around = one.around or words.unknown
        lines.append(
            f"| {one.task} | {one.metric} | {one.value:.4g} | {around} | {one.n} | {words.better[one.higher]} |"
        )
    return lines
