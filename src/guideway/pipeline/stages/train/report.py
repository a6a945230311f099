"""The report of a training for people: one HTML file that needs nothing else, in English and Chinese."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from guideway.core.spec import Train
from guideway.pipeline.stages.train.chart import chart
from guideway.pipeline.stages.train.loop import Learned, Point, Validation
from guideway.pipeline.stages.train.samples import Sample

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
STYLE = """
:root { color-scheme: light dark; --train: #3b6ea8; --held: #c2571a; --line: #8884 }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin-top: 2rem }
table { border-collapse: collapse; display: block; overflow-x: auto }
th, td { border-bottom: 1px solid var(--line); padding: .25rem .75rem .25rem 0; text-align: left; vertical-align: top }
td.number { text-align: right; font-variant-numeric: tabular-nums }
svg { width: 100%; height: auto } svg text { font: 12px system-ui, sans-serif; fill: currentColor }
"""
MISSING = "–"


def report(
    train: Train, learned: Learned, samples: Sequence[Sample], size: int, found: Validation | None = None
) -> str:
    """The whole page about one training of a model with *size* weights, of which validation *found* this."""
    title = "Training report · 训练报告"
    body = [
        f"<h1>{title}</h1>",
        _table(("", ""), _facts(train, learned, size, found)),
        "<h2>Loss in nats per token · 每个词元的损失（奈特）</h2>",
        chart(learned.curve, learned.kept),
        "<h2>Validation by validation · 逐次验证</h2>",
        _validations(learned),
        *_answers(learned, samples),
    ]
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n" + "\n".join(body) + "\n</body>\n</html>\n"
    )


def _facts(train: Train, learned: Learned, size: int, found: Validation | None) -> list[tuple[str, str]]:
    rows = learned.validation.rows if learned.validation else 0
    other = found and found != learned.validation  # a base in four bits learned, and the whole one was merged
    merged = [("Validation loss, merged · 合并后的验证损失", f"{found.loss:.4f}")] if found and other else []
    return [
        ("Recipe · 训练方式", train.recipe),
        ("Weights · 参数量", f"{size:,}"),
        ("Steps · 步数", f"{learned.step:,} / {train.steps:,}"),
        ("Weights kept from step · 保留的步", f"{learned.kept:,}"),
        ("Rows per step · 每步样本数", f"{train.batch * train.accumulate:,}"),
        ("Validation rows · 验证样本数", f"{rows:,}"),
        *merged,
        ("Precision · 精度", train.precision),
        ("Seed · 随机种子", str(train.seed)),
    ]


def _validations(learned: Learned) -> str:
    head = ("Step · 步", "Training loss · 训练损失", "Validation loss · 验证损失", "Standard error · 标准误", "")
    rows = [_validation(point, learned.kept) for point in learned.curve if point.validation]
    return _table(head, rows) if rows else "<p>No row was held out. · 没有留出样本。</p>"


def _validation(point: Point, kept: int) -> tuple[str, ...]:
    found = point.validation
    assert found
    error = MISSING if found.error is None else f"{found.error:.4f}"
    return (
        f"{point.step:,}",
        f"{point.loss:.4f}",
        f"{found.loss:.4f}",
        error,
        "kept · 保留" if point.step == kept else "",
    )


def _answers(learned: Learned, samples: Sequence[Sample]) -> list[str]:
    """One table per question: what the model said at each validation, and what was right."""
    parts = ["<h2>Answers while it learned · 学习过程中的回答</h2>"] if samples else []
    for number, sample in enumerate(samples):
        said = [
            (f"{point.step:,}", point.validation.samples[number])
            for point in learned.curve
            if point.validation and len(point.validation.samples) > number
        ]
        rows = [*said, ("right · 正确", sample.wanted)]
        parts += [f"<p>{html.escape(sample.asked)}</p>", _table(("Step · 步", "Answer · 回答"), rows)]
    return parts


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells that are numbers stand to the right."""
    lines = ["".join(_cell(cell) for cell in row) for row in rows]
    titles = "".join(f"<th>{html.escape(one)}</th>" for one in head) if any(head) else ""
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table>\n{f'<thead><tr>{titles}</tr></thead>' if titles else ''}\n<tbody>\n{body}\n</tbody>\n</table>"


def _cell(text: str) -> str:
    kind = ' class="number"' if text and not text.strip("0123456789.,-") else ""
    return f"<td{kind}>{html.escape(text)}</td>"
