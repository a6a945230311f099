"""The report of a search, in English and Chinese: what it found, what that gains, and how it came to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from guideway.core.spec import Tune
from guideway.core.spec.tune import Dimension, Value
from guideway.pipeline.stages.tune.confirm import Verdict
from guideway.pipeline.stages.tune.folds import Judged
from guideway.pipeline.stages.tune.gain import Outcome
from guideway.pipeline.stages.tune.rows import Counts
from guideway.pipeline.stages.tune.space import State, Trial
from guideway.standard.reports.html import to_html
from guideway.standard.reports.page import (
    Axis,
    Bar,
    Bars,
    Block,
    Dot,
    Facts,
    Heading,
    Page,
    Paragraph,
    Plot,
    Strand,
    Strands,
    Table,
    Whisker,
    Whiskers,
)
from guideway.standard.reports.words import Cell, Words, code, strong

TITLE = Words("Search for training parameters", "训练参数搜索")
LOSS = Words("validation loss", "验证损失")
OUTCOMES: Mapping[Outcome, Words] = {
    "better": Words(
        "The best parameters are better than the defaults. Training takes them.",
        "最佳参数优于默认值。训练采用最佳参数。",
    ),
    "not shown": Words(
        "The interval of the gain includes 0, so no gain is shown. Training keeps the defaults.",
        "收益的区间包含 0，没有证明有收益。训练保留默认值。",
    ),
    "worse": Words(
        "Trained anew, the best parameters are worse than the defaults. Training keeps the defaults.",
        "重新训练后，最佳参数劣于默认值。训练保留默认值。",
    ),
    "same": Words(
        "No trial was better than the defaults. Training keeps them.", "没有试验优于默认值。训练保留默认值。"
    ),
    "default failed": Words(
        "Trained anew, the defaults failed: {reason}. Training takes the best parameters.",
        "用默认值重新训练失败：{reason}。训练采用最佳参数。",
    ),
    "best failed": Words(
        "Trained anew, the best parameters failed: {reason}. Training keeps the defaults.",
        "用最佳参数重新训练失败：{reason}。训练保留默认值。",
    ),
}
STATES: Mapping[State, Words] = {
    "running": Words("runs", "运行中", style="open"),
    "complete": Words("complete", "完成", style="good"),
    "pruned": Words("pruned", "提前终止", style="open"),
    "failed": Words("failed", "失败", style="bad"),
}
ANEW = Words(
    "Defaults and best were each trained {repeats} times with seeds that no trial had, on the same {learned} rows, and "
    "judged on {gain} training rows that had chosen nothing. The gain is the loss of the defaults less that of the "
    "best, in {unit}; its interval (95 %) holds over seeds and over rows.",
    "默认值和最佳参数各用 {repeats} 个新的随机种子，在相同的 {learned} 行数据上重新训练，"
    "并在 {gain} 行未参与选择的训练数据上评判。"
    "收益为默认值的损失减去最佳参数的损失，单位 {unit}；区间（95%）同时涵盖种子与数据行。",
)
JUDGED = Words(
    "Every trial was judged on the same {judging} rows, held out of the training rows. No split of the evaluation was "
    "read.",
    "所有试验都在从训练数据中留出的同样 {judging} 行上评判，没有读取任何评估划分。",
)
IN_FOLDS = Words(
    "Every trial was trained {folds} times on the {judging} rows that the gain is not measured on, each time without "
    "one fold, and judged on that fold; its loss is the mean. No split of the evaluation was read. The mean of the "
    "best trial is {loss} {unit}: it chose that trial, so the next rows will show more.",
    "每次试验在不用于衡量收益的 {judging} 行数据上训练 {folds} 遍，每遍留出一折并在该折上评判，损失取平均值。"
    "没有读取任何评估划分。"
    "最佳试验的平均值为 {loss} {unit}：它正是因此被选中，所以在新数据上会偏高。",
)
NO_IMPORTANCE = Words(
    "Too few trials ran to their end to say which key matters.",
    "完成的试验太少，无法判断各参数的重要性。",
    style="missing",
)


class Story(msgspec.Struct, frozen=True):
    """All that a search found: what the report tells."""

    tune: Tune
    defaults: dict[str, Any]
    best: Trial
    trials: Mapping[int, Trial]
    verdict: Verdict
    importance: Mapping[str, float]
    counts: Counts
    unit: str
    folds: Judged | None = None


def write_reports(out: Path, story: Story) -> None:
    """Write ``report.html`` and ``report.zh.html`` to *out*. Each needs no other file."""
    page = page_of(story)
    (out / "report.html").write_text(to_html(page, "en"), encoding="utf-8")
    (out / "report.zh.html").write_text(to_html(page, "zh"), encoding="utf-8")


def page_of(story: Story) -> Page:
    """The report as a page."""
    return Page(TITLE, _facts(story), tuple(_blocks(story)))


def _facts(story: Story) -> tuple[tuple[Cell, Cell], ...]:
    tune, states = story.tune, [one.state for one in story.trials.values()]
    counted = Words(
        "{all}, of which {pruned} pruned and {failed} failed", "{all} 次，其中 {pruned} 次提前终止，{failed} 次失败"
    ).fill(all=len(states), pruned=states.count("pruned"), failed=states.count("failed"))
    return (
        (Words("Trials", "试验"), counted),
        (Words("Sampler", "采样器"), f"{tune.sampler} ({tune.backend})"),
        (Words("Seed", "随机种子"), str(tune.seed)),
        (Words("At once", "并行数"), str(tune.parallel)),
    )


def _blocks(story: Story) -> Iterator[Block]:
    yield Heading(2, Words("What came of it", "结果"))
    yield Paragraph(OUTCOMES[story.verdict.outcome].fill(reason=story.verdict.reason))
    yield _parameters(story)
    yield from _gain(story)
    yield Heading(2, Words("History", "过程"))
    yield Paragraph(_judged(story))
    yield _history(story)
    yield Heading(2, Words("What matters", "重要性"))
    yield _importance(story)
    yield from (_slice(story, key) for key in story.tune.search)
    yield _strands(story)
    yield Heading(2, Words("All trials", "全部试验"))
    yield _table(story)


def _judged(story: Story) -> Words:
    """How trials were judged."""
    found, rows = story.folds, story.counts.judging
    if found is None:
        return JUDGED.fill(judging=rows)
    loss = f"{found.loss:.4g} [{found.interval.low:.4g}, {found.interval.high:.4g}]"
    return IN_FOLDS.fill(judging=rows, folds=len(found.folds), loss=loss, unit=story.unit)


def _parameters(story: Story) -> Table:
    columns = (
        Words("Key of train", "train 的键"),
        Words("Searched", "搜索范围"),
        Words("Default", "默认值"),
        Words("Best", "最佳"),
    )
    rows = tuple(
        (code(key), _range(one), _value(story.defaults[key]), strong(_value(story.best.parameters[key])))
        for key, one in story.tune.search.items()
    )
    return Table(columns, rows)


def _gain(story: Story) -> Iterator[Block]:
    gain = story.verdict.gain
    if gain is None:
        return
    yield Heading(2, Words("Gain over the defaults", "相对默认值的收益"))
    rows = story.counts
    yield Paragraph(ANEW.fill(repeats=len(gain.pairs), learned=rows.learned, gain=rows.gain, unit=story.unit))
    one = Whisker(Words("gain", "收益"), gain.value, gain.interval.low, gain.interval.high, against=0.0)
    yield Whiskers(Words("Gain, {unit}; the dashed line is 0", "收益，{unit}；虚线为 0").fill(unit=story.unit), (one,))
    yield Facts(((Words("Gain", "收益"), f"{gain.value:.4g} [{gain.interval.low:.4g}, {gain.interval.high:.4g}]"),))
    columns = (Words("Seed", "种子"), Words("Defaults", "默认值"), Words("Best", "最佳"), Words("Difference", "差"))
    yield Table(
        columns,
        tuple(
            (str(pair.seed), f"{pair.default:.4g}", f"{pair.best:.4g}", f"{pair.default - pair.best:.4g}")
            for pair in gain.pairs
        ),
    )


def _history(story: Story) -> Plot:
    """The loss of every trial, and the best so far."""
    shown, line, least = [], [], None
    for number, loss in _losses(story.trials.values()):
        done = story.trials[number].state == "complete"
        shown.append(Dot(number, loss, _kind(story, story.trials[number]), f"{number}: {loss:.4g}"))
        least = loss if done and (least is None or loss < least) else least
        if least is not None:
            line.append((float(number), least))
    title = Words("Loss of each trial, and the best so far; hollow: pruned", "每次试验的损失与迄今最佳；空心为提前终止")
    return Plot(title, Axis(Words("trial", "试验")), Axis(LOSS), tuple(shown), tuple(line))


def _importance(story: Story) -> Block:
    if not story.importance:
        return Paragraph(NO_IMPORTANCE)
    note = Words("of the spread of losses (fANOVA)", "的损失差异（fANOVA）")
    return Bars(tuple(Bar(code(key), share, note) for key, share in story.importance.items()))


def _slice(story: Story, key: str) -> Plot:
    """The loss over one key."""
    one = story.tune.search[key]
    dots = [
        Dot(_place(one, trial.parameters[key]), loss, _kind(story, trial), f"{number}: {_value(trial.parameters[key])}")
        for number, loss in _losses(story.trials.values())
        if (trial := story.trials[number])
    ]
    return Plot(Words("Loss over {key}", "损失与 {key}").fill(key=key), _axis(key, one), Axis(LOSS), tuple(dots))


def _strands(story: Story) -> Strands:
    """Parallel coordinates of the trials that ran to their end."""
    search = story.tune.search
    axes = (*(_axis(key, one) for key, one in search.items()), Axis(LOSS))
    rows = tuple(
        Strand(
            (*(_place(one, trial.parameters[key]) for key, one in search.items()), trial.loss),
            trial.number == story.best.number,
            str(trial.number),
        )
        for trial in story.trials.values()
        if trial.loss is not None
    )
    return Strands(Words("All keys at once; the best in colour", "全部参数；最佳为彩色"), axes, rows)


def _table(story: Story) -> Table:
    keys = tuple(story.tune.search)
    columns = (
        Words("Trial", "试验"),
        Words("State", "状态"),
        LOSS,
        *(Words("{key}", "{key}").fill(key=key) for key in keys),
    )
    rows = tuple(
        (
            str(trial.number),
            (STATES[trial.state], f" {trial.reason}") if trial.reason else STATES[trial.state],
            f"{trial.loss:.4g}" if trial.loss is not None else "",
            *(_value(trial.parameters[key]) for key in keys),
        )
        for trial in story.trials.values()
    )
    return Table(columns, rows)


def _losses(trials: Iterable[Trial]) -> Iterator[tuple[int, float]]:
    """The last loss of every trial that has one."""
    for one in trials:
        loss = one.loss if one.loss is not None else next(reversed(one.curve.values()), None)
        if loss is not None:
            yield one.number, loss


def _kind(story: Story, trial: Trial) -> Any:
    return "best" if trial.number == story.best.number else "plain" if trial.state == "complete" else "faint"


def _axis(key: str, one: Dimension) -> Axis:
    return Axis(key, one.log, tuple(map(_value, one.choices)))


def _place(one: Dimension, value: Value) -> float:
    """Where a value stands on its axis: a choice by its place in the list."""
    return float(one.choices.index(value)) if one.choices else float(value)


def _range(one: Dimension) -> str:
    if one.choices:
        return ", ".join(map(_value, one.choices))
    assert one.low is not None and one.high is not None
    more = " log" if one.log else f" / {one.step:g}" if one.step is not None else ""
    return f"{one.low:g} … {one.high:g}{more}"


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
