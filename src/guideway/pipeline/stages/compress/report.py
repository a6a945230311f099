"""The report of a contest: for machines, as text, and as pages in English and Chinese with a drawing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from guideway.pipeline.stages.compress.choose import MARGIN, Candidate, Choice, Limits, keeps, most_exact
from guideway.pipeline.stages.compress.figures import cost_figures, distance_figures
from guideway.pipeline.stages.compress.plot import plot
from guideway.pipeline.stages.compress.race import Estimate, Load
from guideway.pipeline.stages.reporting import plain
from guideway.standard.reports.html import to_html
from guideway.standard.reports.markdown import to_markdown
from guideway.standard.reports.page import Block, Page, Paragraph, Table
from guideway.standard.reports.words import Cell, Words

JSON, MARKDOWN = "report.json", "report.md"
HTML = {"en": "report.html", "zh": "report.zh.html"}
FILES = (JSON, MARKDOWN, *HTML.values())
"""All that the report leaves beside the model: none of it ships."""

TITLE = Words("Compression: what was compared, and what ships", "压缩：比较了什么，以及发布哪一个")
COLUMNS = (
    Words("candidate", "候选"),
    Words("KL, nats/token", "KL 散度，纳特/词元"),
    Words("changed first choices", "首选词元改变的比例"),
    Words("within the limits", "在上限之内"),
    Words("milliseconds/token", "毫秒/词元"),
    Words("time saved", "节省的时间"),
    Words("prefill, tokens/s", "预填充，词元/秒"),
    Words("decoding, tokens/s", "解码，词元/秒"),
    Words("MB of weights", "权重，MB"),
    Words("MB of memory", "内存，MB"),
)
PACKED = Words("MB after zlib", "zlib 压缩后，MB")
YES, NO = Words("yes", "是", style="good"), Words("no", "否", style="bad")
SHIPS = Words("{name} (ships)", "{name}（发布）", style="strong")
RULE = Words(
    "Within the limits means that the upper ends of both intervals are: KL at most {kl}, changed first choices at most "
    "{flips}. Of the candidates within the limits the one with the least time per token ships, unless a more exact one "
    "is there that it is not shown to beat: it must save {margin} of the time at the lower end of the interval.",
    "“在上限之内”指两个区间的上端都不超过上限：KL 散度不超过 {kl}，首选词元改变的比例不超过 {flips}。"
    "在上限之内的候选中，发布每个词元用时最少的一个；若有更精确的候选，"
    "而最快者在区间下端未能证明至少节省 {margin} 的时间，则发布更精确的候选。",
)
ASKED = Words(
    "`{name}` was asked for: the clauses of the Standard judge it, and nothing was chosen here.",
    "指定了 `{name}`：由标准的条款判定，此处不作选择。",
)
LOAD = Words(
    "Every round answers {prompts} held-out prompts ({read} tokens) with {made} tokens, in turns, by the replica's "
    "own scheduler. Time saved is against `{exact}`, round by round. {n} positions were compared. "
    "Brackets hold 95 % intervals. Speed and memory are those of the machine that built.",
    "每一轮用副本自己的调度器回答 {prompts} 个留出的提示（{read} 个词元），共生成 {made} 个词元；各候选轮流进行。"
    "节省的时间是与 `{exact}` 逐轮成对比较的结果。比较了 {n} 个位置。方括号内为 95 % 区间。"
    "速度与内存为构建机器上的测量值。",
)
ZEROS = Words(
    "Pruning by magnitude leaves zeros: dense kernels compute them like any other number, so nothing is faster, "
    "and only packed files are smaller.",
    "按幅值剪枝留下的是零：稠密内核照常计算它们，因此速度不会提高，只有打包后的文件变小。",
)


class Report(NamedTuple):
    """All that the report says. ``prune`` is what the spec asks for, None without pruning."""

    candidates: list[Candidate]
    choice: Choice
    limits: Limits
    load: Load
    prune: dict[str, Any] | None
    asked: str


def write_report(out: Path, report: Report) -> None:
    """Write ``report.json``, ``report.md`` and the pages to *out*."""
    (out / JSON).write_text(json.dumps(_plain(report), indent=1, sort_keys=True) + "\n", encoding="utf-8")
    page = _page(report)
    (out / MARKDOWN).write_text("\n".join(to_markdown(page, one) for one in ("en", "zh")), encoding="utf-8")
    for language in ("en", "zh"):
        drawing = plot(report.candidates, report.choice.chosen, report.limits, language)
        (out / HTML[language]).write_text(to_html(page, language, drawing), encoding="utf-8")


def _plain(report: Report) -> dict[str, Any]:
    exact, chosen = most_exact(report.candidates), report.choice.chosen
    return {
        "asked": report.asked,
        "chosen": chosen.variant._asdict(),
        "limits": report.limits._asdict(),
        "margin": MARGIN,
        "compared_with": exact.variant.name,
        "prune": report.prune,
        "load": {"prompts": len(report.load.prompts), "read": report.load.read, "made": report.load.made},
        "candidates": [
            {
                **one.variant._asdict(),
                "within_limits": keeps(one, report.limits),
                "figures": [plain(figure) for figure in (*distance_figures(one), *cost_figures(one, exact))],
            }
            for one in report.candidates
        ],
    }


def _page(report: Report) -> Page:
    limits, load, exact = report.limits, report.load, most_exact(report.candidates)
    rule = RULE.fill(kl=f"{limits.kl:g}", flips=f"{limits.flips:.1%}", margin=f"{MARGIN:.0%}")
    asked = rule if report.asked == "auto" else ASKED.fill(name=report.choice.chosen.variant.name)
    shared = LOAD.fill(
        prompts=len(load.prompts), read=load.read, made=load.made, exact=exact.variant.name, n=f"{exact.apart.n:,}"
    )
    magnitude = report.prune is not None and report.prune["method"] == "magnitude"
    columns = (*COLUMNS, PACKED) if report.prune else COLUMNS
    table = Table(columns, tuple(_row(one, exact, report) for one in report.candidates))
    said: list[Block] = [Paragraph(asked), *([Paragraph(ZEROS)] if magnitude else []), table, Paragraph(shared)]
    return Page(TITLE, (), tuple(said))


def _row(one: Candidate, exact: Candidate, report: Report) -> tuple[Cell, ...]:
    apart, speed = one.apart, one.speed
    saved = next(figure for figure in cost_figures(one, exact) if figure.metric == "time_saved")
    name = one.variant.name
    cells: tuple[Cell, ...] = (
        SHIPS.fill(name=name) if one is report.choice.chosen else name,
        _around(Estimate(apart.kl, apart.kl_interval)),
        _around(Estimate(apart.flips, apart.flips_interval), "share"),
        YES if keeps(one, report.limits) else NO,
        _around(speed.time, "milliseconds"),
        "–" if one is exact or saved.interval is None else _around(Estimate(saved.value, saved.interval), "share"),
        _around(speed.prefill, "speed"),
        _around(speed.decode, "speed"),
        f"{one.size / 1e6:.2f}",
        f"{speed.memory / 1e6:.0f}",
    )
    return cells if one.packed is None else (*cells, f"{one.packed / 1e6:.2f}")


def _around(estimate: Estimate, unit: str = "") -> str:
    """``0.012 [0.01, 0.014]``."""
    value, low, high = (
        _number(number, unit) for number in (estimate.value, estimate.interval.low, estimate.interval.high)
    )
    return f"{value} [{low}, {high}]"


def _number(number: float, unit: str) -> str:
    if unit == "share":
        return f"{number:.1%}"
    if unit == "speed":
        return f"{number:,.0f}"
    return f"{number * (1e3 if unit == 'milliseconds' else 1.0):.3g}"
