"""The report about refusals: for machines, and a short one for people in English and in Chinese."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from guideway.core.evidence import Interval
from guideway.pipeline.stages.intervals import wilson
from guideway.pipeline.stages.refusals.seen import CLASSIFIER, MODEL, Seen
from guideway.pipeline.stages.reporting import cell, plain, write_files

SHOWN = 10
"""Prompts of each kind that people are shown where the release did the wrong thing."""
By = Literal["rule", "answer rule", "model", "nobody"]


class Answered(NamedTuple):
    """One prompt, its file, what the model said (nothing where it was not asked), and who refused."""

    prompt: str
    file: str
    said: str
    by: By


class Count(NamedTuple):
    """So many *hits* of *n*, and where the true share lies."""

    metric: str
    hits: int
    n: int
    interval: Interval

    @property
    def share(self) -> float:
        """Hits per trial."""
        return self.hits / self.n

    @classmethod
    def of(cls, metric: str, hits: Sequence[bool]) -> Count:
        """The count of what is true in *hits*, which is not empty."""
        return cls(metric, sum(hits), len(hits), wilson(sum(hits), len(hits)))


class _Words(NamedTuple):
    """What the report says in one language."""

    title: str
    head: str
    names: Mapping[str, str]
    wrong: Mapping[str, str]
    files: str
    nothing: str
    unjudged: str
    seen: str
    learners: Mapping[str, str]


ENGLISH = _Words(
    "Refusals",
    "| figure | value | 95 % interval | n |",
    {
        "refusal_share": "refused of what must be refused",
        "wrong_refusal_share": "refused of what must be answered",
        "recogniser_miss_share": "refusals that the recogniser overlooks, of answers that people judged",
        "recogniser_false_share": "other answers that it takes for refusals",
    },
    {"should_refuse": "Answered, but must be refused", "should_answer": "Refused, but must be answered"},
    "| file | kind | refused | by a rule | at the answer | by the model | empty answers | n |",
    "(nothing)",
    "Who refuses is known by words, in English and Chinese. No judged answers were given, so how often that errs on "
    "this model is not known: list some under `labelled`.",
    "Left out, because it was learnt from",
    {CLASSIFIER: "the classifier of the guardrails", MODEL: "the model"},
)
CHINESE = _Words(
    "拒答",
    "| 指标 | 数值 | 95 % 区间 | n |",
    {
        "refusal_share": "应拒答问题的拒答率",
        "wrong_refusal_share": "正常问题的误拒率",
        "recogniser_miss_share": "识别器漏判的拒答（以人工标注为准）",
        "recogniser_false_share": "被误判为拒答的其他回答",
    },
    {"should_refuse": "应拒答却回答", "should_answer": "应回答却拒答"},
    "| 文件 | 类别 | 拒答 | 由提示规则 | 由回答规则 | 由模型 | 空回答 | n |",
    "（无内容）",
    "拒答按中英文措辞识别。未提供人工标注的回答，因此该模型上的识别误差未知：请在 `labelled` 中列出一些。",
    "因训练时见过而剔除",
    {CLASSIFIER: "护栏分类器", MODEL: "模型"},
)


def write_report(
    out: Path,
    ships: str,
    found: Mapping[str, Sequence[Answered]],
    counts: Sequence[Count],
    seen: Mapping[str, Sequence[Seen]],
) -> None:
    """Write ``report.json``, ``report.md`` and ``report.zh.md`` to *out*; *seen* are prompts that were not asked."""
    whole = {
        "ships": ships,
        "figures": [_plain(one) for one in counts],
        "answers": {kind: [one._asdict() for one in answers] for kind, answers in found.items()},
        "left_out": {kind: [one._asdict() for one in prompts] for kind, prompts in seen.items()},
    }
    english, chinese = (_lines(words, found, counts, seen) for words in (ENGLISH, CHINESE))
    write_files(out, whole, {"report.md": english, "report.zh.md": chinese})


def _lines(
    words: _Words,
    found: Mapping[str, Sequence[Answered]],
    counts: Sequence[Count],
    seen: Mapping[str, Sequence[Seen]],
) -> list[str]:
    lines = [f"# {words.title}\n", words.head, "|---|---|---|---|"]
    for one in counts:
        around = f"{one.interval.low:.1%} – {one.interval.high:.1%}"
        lines.append(f"| {words.names[one.metric]} | {one.share:.1%} | {around} | {one.n} |")
    if len(counts) < 3:
        lines += ["", words.unjudged]
    lines += ["", words.files, "|---|---|---|---|---|---|---|---|"]
    lines += [line for kind, answers in found.items() for line in _by_file(kind, answers)]
    for kind, answers in found.items():
        wrong = [one for one in answers if (one.by == "nobody") is (kind == "should_refuse")]
        lines += _shown(f"{words.wrong[kind]}: {len(wrong)}", wrong, words.nothing)
    for kind, prompts in seen.items():
        lines += _left_out(f"{words.seen} (`{kind}`): {len(prompts)}", prompts, words.learners)
    return lines


def _by_file(kind: str, answers: Sequence[Answered]) -> list[str]:
    lines = []
    for file in dict.fromkeys(one.file for one in answers):
        mine = [one for one in answers if one.file == file]
        by = Counter(one.by for one in mine)
        empty = sum(one.by == "nobody" and not one.said.strip() for one in mine)
        cells = (len(mine) - by["nobody"], by["rule"], by["answer rule"], by["model"], empty, len(mine))
        lines.append(f"| {cell(file)} | {kind} | " + " | ".join(map(str, cells)) + " |")
    return lines


def _shown(title: str, wrong: Sequence[Answered], nothing: str) -> list[str]:
    shown = [f"- {cell(one.prompt)} → {cell(one.said) or nothing}" for one in wrong[:SHOWN]]
    return [f"\n## {title}\n", *shown]


def _left_out(title: str, seen: Sequence[Seen], learners: Mapping[str, str]) -> list[str]:
    shown = [f"- {cell(one.prompt)} (`{cell(one.file)}`): {learners[one.by]}" for one in seen[:SHOWN]]
    return [f"\n## {title}\n", *shown] if seen else []


def _plain(one: Count) -> dict[str, Any]:
    return {**plain(one), "share": one.share}
