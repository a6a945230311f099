"""The report about what a judge said, in English and in Chinese."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from guideway.core.spec.judge import Judge, without_place
from guideway.pipeline.stages.judge.verdicts import Figure, Judged
from guideway.pipeline.stages.reporting import cell, plain, write_files

SHOWN = 10
"""Pairs of each kind that people are shown."""


class _Words(NamedTuple):
    title: str
    intro: str
    head: str
    names: Mapping[str, str]
    noise: str
    broken: str
    states: str
    losses: str


ENGLISH = _Words(
    "What a judge said",
    "Model `{model}` compared the release's answers with those of: {against}. Each pair was judged in both orders. "
    "A judge is a model: it may say something else tomorrow, so these figures are marked as not repeatable.",
    "| figure | value | 95 % interval | n | |",
    {
        "judge_score": "score (50 %: equally good)",
        "judge_broken_share": "pairs without a verdict that can be read",
        "judge_first_share": "how often the first answer won (50 %: no bias of position)",
        "judge_agreement_share": "pairs whose verdict is the same in both orders",
    },
    "within noise",
    "Too many verdicts cannot be read, so there is no score.",
    "Pairs: {judged} judged, {alike} say the same and were not asked, {broken} broken, {left} left out because no "
    "request was left. Requests: {made}.",
    "Lost in both orders",
)
CHINESE = _Words(
    "模型评审结果",
    "模型 `{model}` 将本版本的回答与以下对照比较：{against}。每对回答按两种顺序各评一次。"
    "评审者是模型，明天可能给出不同结论，因此这些指标标记为不可复现。",
    "| 指标 | 数值 | 95 % 区间 | n | |",
    {
        "judge_score": "得分（50 % 表示相当）",
        "judge_broken_share": "无法读出结论的比较",
        "judge_first_share": "排在前面的回答获胜的比例（50 % 表示无位置偏差）",
        "judge_agreement_share": "两种顺序结论一致的比较",
    },
    "在噪声范围内",
    "无法读出的结论过多，因此没有得分。",
    "比较：已评 {judged}，回答相同而未询问 {alike}，结论无效 {broken}，因请求次数用尽而略去 {left}。请求次数：{made}。",
    "两种顺序都落败",
)


def told(asked: Judge, judged: Sequence[Judged], found: Sequence[Figure]) -> str:
    """The score as people are told it when the step is done."""
    score = next((one for one in found if one.metric == "judge_score"), None)
    if score is None:
        return f"the judge gave no score: {sum(one.state == 'broken' for one in judged)} of {len(judged)} pairs broken"
    around = f"{score.value:.1%} [{score.interval.low:.1%}, {score.interval.high:.1%}]"
    noise = ", within noise" if _is_noise(score) else ""
    return f"a judge gives {around} against {asked.against} over {score.n} pairs{noise}"


def write_report(out: Path, asked: Judge, judged: Sequence[Judged], found: Sequence[Figure], made: int) -> None:
    """Write ``report.json``, ``report.md`` and ``report.zh.md`` to *out*."""
    whole = {
        "judge": msgspec.to_builtins(without_place(asked)),
        "repeatable": False,
        "requests": made,
        "figures": [plain(one) for one in found],
        "pairs": [_plain(one) for one in judged],
    }
    english, chinese = (_lines(words, asked, judged, found, made) for words in (ENGLISH, CHINESE))
    write_files(out, whole, {"report.md": english, "report.zh.md": chinese})


def _lines(words: _Words, asked: Judge, judged: Sequence[Judged], found: Sequence[Figure], made: int) -> list[str]:
    states = Counter(one.state for one in judged)
    counts = {"judged": states["judged"], "alike": states["alike"], "broken": states["broken"]}
    lines = [f"# {words.title}\n", words.intro.format(model=asked.model, against=asked.against), ""]
    lines += [
        words.states.format(**counts, left=states["left out"], made=made),
        "",
        words.head,
        "|---|---|---|---|---|",
    ]
    for one in found:
        around = f"{one.interval.low:.1%} – {one.interval.high:.1%}"
        noise = words.noise if one.metric in ("judge_score", "judge_first_share") and _is_noise(one) else ""
        lines.append(f"| {words.names[one.metric]} | {one.value:.1%} | {around} | {one.n} | {noise} |")
    if states["broken"] and all(one.metric != "judge_score" for one in found):
        lines += ["", words.broken]
    lost = [one.pair for one in judged if one.state == "judged" and one.score == 0.0]
    shown = [f"- {cell(one.question)} → {cell(one.ours)} / {cell(one.theirs)}" for one in lost[:SHOWN]]
    return [*lines, f"\n## {words.losses}: {len(lost)}\n", *shown]


def _is_noise(one: Figure) -> bool:
    return one.interval.low <= 0.5 <= one.interval.high


def _plain(one: Judged) -> dict[str, Any]:
    return {**one.pair._asdict(), "first": one.first, "second": one.second, "state": one.state}
