"""The candidates as a drawing: time per token against the divergence from the trained model, both with intervals."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence

from guideway.core.evidence import Interval
from guideway.pipeline.stages.compress.choose import Candidate, Limits
from guideway.standard.reports.words import Language, Words

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 560, 320, 64, 96, 16, 44
LEAST = 1e-9
"""Nats per token that are drawn as none: the axis is logarithmic."""
TITLE = Words(
    "Quality against speed: lower is nearer to the trained model, further left is faster",
    "质量与速度：越低越接近训练后的模型，越靠左越快",
)
TIME = Words("milliseconds per token", "每个词元的毫秒数")
KL = Words("KL, nats per token", "KL 散度，纳特/词元")
LIMIT = Words("limit", "上限")

Place = Callable[[float], float]


def plot(candidates: Sequence[Candidate], chosen: Candidate, limits: Limits, language: Language) -> str:
    """Dots with whiskers, the chosen one filled, and a broken line at the limit of the divergence."""
    times = [end for one in candidates for end in _ends(one.speed.time.interval)]
    logs = [_log(end) for one in candidates for end in _ends(one.apart.kl_interval)] + [_log(limits.kl)]
    across = _place(min(times), max(times), LEFT, WIDTH - RIGHT)
    up = _place(min(logs), max(logs), HEIGHT - BOTTOM, TOP)
    drawn = [*_axes(times, logs, across, up, language), _limit(up(_log(limits.kl)), language)]
    drawn += [_dot(one, across, up, full=one is chosen) for one in candidates]
    title = TITLE.said(language)
    return (
        f'<figure>\n<figcaption>{title}</figcaption>\n<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{title}">\n' + "\n".join(drawn) + "\n</svg>\n</figure>\n"
    )


def _ends(interval: Interval) -> tuple[float, float]:
    return interval.low, interval.high


def _log(divergence: float) -> float:
    return math.log10(max(divergence, LEAST))


def _place(low: float, high: float, start: float, end: float) -> Place:
    """From a value to where it stands between *start* and *end*, with a little room at both."""
    room = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    low, high = low - room, high + room
    return lambda value: start + (value - low) / (high - low) * (end - start)


def _axes(times: Sequence[float], logs: Sequence[float], across: Place, up: Place, language: Language) -> list[str]:
    foot, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    ticks = [
        f'<text class="soft" text-anchor="end" x="{LEFT - 6}" y="{up(power) + 4:.1f}">1e{power}</text>'
        f'<line class="axis" x1="{LEFT}" x2="{right}" y1="{up(power):.1f}" y2="{up(power):.1f}"/>'
        for power in range(math.ceil(min(logs)), math.floor(max(logs)) + 1)
    ]
    ticks += [
        f'<text class="soft" text-anchor="middle" x="{across(time):.1f}" y="{foot + 16}">{time * 1e3:.3g}</text>'
        for time in (min(times), max(times))
    ]
    return [
        f'<line class="axis" x1="{LEFT}" x2="{right}" y1="{foot}" y2="{foot}"/>',
        f'<line class="axis" x1="{LEFT}" x2="{LEFT}" y1="{TOP}" y2="{foot}"/>',
        f'<text text-anchor="middle" x="{(LEFT + right) / 2:.0f}" y="{HEIGHT - 8}">{TIME.said(language)}</text>',
        f'<text x="4" y="12">{KL.said(language)}</text>',
        *ticks,
    ]


def _limit(y: float, language: Language) -> str:
    right = WIDTH - RIGHT
    return (
        f'<line class="against" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{right + 6}" y="{y + 4:.1f}">{LIMIT.said(language)}</text>'
    )


def _dot(one: Candidate, across: Place, up: Place, *, full: bool) -> str:
    x, y = across(one.speed.time.value), up(_log(one.apart.kl))
    left, right = (across(end) for end in _ends(one.speed.time.interval))
    low, high = (up(_log(end)) for end in _ends(one.apart.kl_interval))
    inside = "var(--mark)" if full else "var(--paper)"
    return (
        f'<line class="range" x1="{left:.1f}" x2="{right:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<line class="range" x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}"/>'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" style="fill: {inside}; stroke: var(--mark); stroke-width: 2"/>'
        f'<text x="{x + 9:.1f}" y="{y - 7:.1f}">{html.escape(one.variant.name)}</text>'
    )
