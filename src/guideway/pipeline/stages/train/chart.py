"""The chart of a training as SVG: the loss on what it learns, and the loss on rows that it never sees."""

from __future__ import annotations

from collections.abc import Sequence

from guideway.pipeline.stages.intervals import Z
from guideway.pipeline.stages.train.loop import Point

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 760, 320, 56, 36, 28, 16
TICKS = 4


class _Scale:
    """From steps and losses to places on the page."""

    def __init__(self, curve: Sequence[Point]) -> None:
        losses = [point.loss for point in curve]
        losses += [edge for point in curve if point.validation for edge in _interval(point)]
        self.last, self.low, self.high = curve[-1].step, min(losses), max(losses)
        if self.high - self.low < 1e-9:
            self.low, self.high = self.low - 0.5, self.high + 0.5

    def x(self, step: int) -> str:
        return f"{LEFT + (WIDTH - LEFT - RIGHT) * step / self.last:.1f}"

    def y(self, loss: float) -> str:
        return f"{TOP + (HEIGHT - TOP - BOTTOM) * (self.high - loss) / (self.high - self.low):.1f}"


def chart(curve: Sequence[Point], kept: int) -> str:
    """Both losses over the steps; whiskers are 95 % intervals, the dashed line is the step whose weights were kept."""
    scale = _Scale(curve)
    held = [point for point in curve if point.validation]
    parts = [
        *_grid(scale),
        f'<line x1="{scale.x(kept)}" x2="{scale.x(kept)}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" '
        'stroke="currentColor" stroke-dasharray="4 4"/>',
        _line([(point.step, point.loss) for point in curve], "--train", scale),
        _line([(point.step, point.validation.loss) for point in held if point.validation], "--held", scale),
        *(_whisker(point, scale) for point in held),
        _legend("--train", "training · 训练", LEFT),
        _legend("--held", "validation · 验证", LEFT + 180),
    ]
    label = "Loss over steps · 损失随步数的变化"
    inner = "\n".join(parts)
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">\n{inner}\n</svg>'


def _interval(point: Point) -> tuple[float, float]:
    assert point.validation
    half = Z * (point.validation.error or 0.0)
    return max(0.0, point.validation.loss - half), point.validation.loss + half


def _grid(scale: _Scale) -> list[str]:
    parts = []
    for tick in range(TICKS + 1):
        loss = scale.low + (scale.high - scale.low) * tick / TICKS
        y, step = scale.y(loss), round(scale.last * tick / TICKS)
        parts += [
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}" stroke="var(--line)"/>',
            f'<text x="{LEFT - 8}" y="{y}" dy="4" text-anchor="end">{loss:.3g}</text>',
            f'<text x="{scale.x(step)}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{step:,}</text>',
        ]
    return parts


def _line(points: Sequence[tuple[int, float]], colour: str, scale: _Scale) -> str:
    places = " ".join(f"{scale.x(step)},{scale.y(loss)}" for step, loss in points)
    return f'<polyline points="{places}" fill="none" stroke="var({colour})" stroke-width="2"/>'


def _whisker(point: Point, scale: _Scale) -> str:
    assert point.validation
    x, (low, high) = scale.x(point.step), _interval(point)
    return (
        f'<line x1="{x}" x2="{x}" y1="{scale.y(low)}" y2="{scale.y(high)}" stroke="var(--held)"/>'
        f'<circle cx="{x}" cy="{scale.y(point.validation.loss)}" r="3" fill="var(--held)"/>'
    )


def _legend(colour: str, text: str, x: int) -> str:
    return (
        f'<line x1="{x}" x2="{x + 24}" y1="12" y2="12" stroke="var({colour})" stroke-width="2"/>'
        f'<text x="{x + 30}" y="16">{text}</text>'
    )
