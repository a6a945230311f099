"""The candidates of a compression side by side, drawn from the evidence about the model that they were made of."""

from __future__ import annotations

from guideway.core.evidence import Evidence
from guideway.standard.reports.drawn import Drawn, proofs, setting
from guideway.standard.reports.page import Axis, Block, Dot, Heading, Paragraph, Plot, Table
from guideway.standard.reports.words import Cell, Words, code

LEAST = 1e-9
"""Nats per token that are drawn as none: the axis is logarithmic."""
TIME, KL = Words("Milliseconds per token", "每词元毫秒数"), Words("KL, nats per token", "KL 散度（纳特/词元）")
COLUMNS = (
    Words("Candidate", "候选"),
    KL,
    Words("Changed first choices", "首选词元改变的比例"),
    TIME,
    Words("Time saved", "节省的时间"),
    Words("Size", "体积"),
    Words("Memory", "内存"),
)
SHIPS = Words("`{name}` (ships)", "`{name}`（上线）", style="strong")
HOW = Words(
    "Brackets hold intervals of 95 %. Time is that of the machine that built; time saved is against the most exact"
    " candidate, round by round.",
    "方括号内为 95 % 区间。时间为构建机器上的测量值；节省的时间是与最精确的候选逐轮成对比较的结果。",
)
TITLE = Words(
    "Time per token against the distance from the trained model (green ships)",
    "每词元时间与到训练模型的距离（绿色上线）",
)


def candidates(drawn: Drawn) -> tuple[Block, ...]:
    """A table and a drawing of all that were measured; nothing where there was no choice."""
    names = [one.evidence.slice for one in proofs(drawn.dossier, "candidate_time_per_token", "train")]
    if not names:
        return ()
    chosen = str(setting(drawn.dossier, "compress", "precision"))
    chosen += " pruned" if setting(drawn.dossier, "compress", "prune") else ""
    table = Table(COLUMNS, tuple(_row(drawn, name, ships=name == chosen) for name in names))
    dots = tuple(dot for name in names if (dot := _dot(drawn, name, ships=name == chosen)))
    heading = Heading(3, Words("What was compared", "比较了什么"))
    return (heading, table, Paragraph(HOW), Plot(TITLE, Axis(TIME), Axis(KL, log=True), dots))


def _row(drawn: Drawn, name: str, *, ships: bool) -> tuple[Cell, ...]:
    return (
        SHIPS.fill(name=name) if ships else code(name),
        _around(_figure(drawn, "kl_to_source", name), "{:.2g}"),
        _around(_figure(drawn, "top1_flips", name), "{:.2%}"),
        _around(_figure(drawn, "time_per_token", name), "{:.3g}", 1e3),
        _around(_figure(drawn, "time_saved", name), "{:.1%}"),
        _around(_figure(drawn, "model_bytes", name), "{:,.1f} MB", 1e-6),
        _around(_figure(drawn, "replica_memory", name), "{:,.0f} MB", 1e-6),
    )


def _dot(drawn: Drawn, name: str, *, ships: bool) -> Dot | None:
    time, divergence = _figure(drawn, "time_per_token", name), _figure(drawn, "kl_to_source", name)
    if time is None or divergence is None:
        return None
    return Dot(time.value * 1e3, max(divergence.value, LEAST), "best" if ships else "plain", name)


def _figure(drawn: Drawn, metric: str, name: str) -> Evidence | None:
    found = proofs(drawn.dossier, f"candidate_{metric}", "train")
    return next((one.evidence for one in found if one.evidence.slice == name), None)


def _around(evidence: Evidence | None, form: str, scale: float = 1.0) -> str:
    """``0.012 [0.01, 0.014]``; a dash where nothing was measured."""
    if evidence is None:
        return "–"
    said = form.format(evidence.value * scale)
    if evidence.interval is None:
        return said
    low, high = (form.format(end * scale) for end in (evidence.interval.low, evidence.interval.high))
    return f"{said} [{low}, {high}]"
