"""Drawings as inline SVG: they need no script, no font and no other file. Pure; all text is escaped."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence

from guideway.pipeline.stages.explain.record import RIGHT, WRONG, Map, Word
from guideway.standard.reports.clean import clean

FOR, AGAINST = "#2563c9", "#d9622b"
"""Colours of weights that speak for the target and against it; apart for every kind of colour blindness."""
COLOURS = ("#2563c9", "#d9622b", "#1b8a5a", "#8b4fc4", "#c2388b", "#8a7a12", "#0e8ca3", "#7a5c43", "#5f6b7a", "#b03030")
JUDGED = {RIGHT: "#1b8a5a", WRONG: "#c2388b"}
OTHERS = "#9aa4b2"
_GRID, _SOFT = "#8a94a3", "#6b7686"
_SHORTEST = 22


def curves(shares: Sequence[float], explained: Sequence[float], chance: Sequence[float]) -> str:
    """How far the score falls (up) over the share of tokens deleted (across): the explanation, and chance dashed."""
    width, height, left, low, right = 460, 240, 56, 34, 24
    ends = [0.0, *explained, *chance]
    bottom, top = min(ends), max(*ends, min(ends) + 1e-9)

    def point(share: float, fall: float) -> str:
        x = left + share * (width - left - right)
        return f"{x:.1f},{14 + (top - fall) / (top - bottom) * (height - 14 - low):.1f}"

    def line(values: Sequence[float], colour: str, dash: str) -> str:
        points = " ".join(point(share, fall) for share, fall in zip((0.0, *shares), (0.0, *values), strict=True))
        return f'<polyline fill="none" stroke="{colour}" stroke-width="2.5"{dash} points="{points}"/>'

    drawn = [
        *(_level(value, left, width, float(point(0, value).partition(",")[2])) for value in _ticks(bottom, top)),
        *(
            f'<text x="{point(share, 0).partition(",")[0]}" y="{height - 12}" text-anchor="middle">{share:.0%}</text>'
            for share in (0.0, 0.25, 0.5, 0.75, 1.0)
        ),
        line(chance, _SOFT, ' stroke-dasharray="5 4"'),
        line(explained, FOR, ""),
    ]
    return _svg(width, height, drawn)


def bars(words: Sequence[Word]) -> str:
    """The mean absolute weight of each word, the most important on top, and how often it stands there."""
    width, row, left, right = 460, 21, 170, 96
    most = max((word.importance for word in words), default=0.0) or 1.0
    drawn = []
    for number, word in enumerate(words):
        y, length = 6 + row * number, word.importance / most * (width - left - right)
        drawn += [
            _name(word.text, left - 8, y + 14),
            f'<rect x="{left}" y="{y + 3}" width="{length:.1f}" height="13" rx="2" fill="{FOR}"/>',
            f'<text x="{left + length + 6:.1f}" y="{y + 14}">{word.importance:.3g} '
            f'<tspan fill="{_SOFT}">×{len(word.weights)}</tspan></text>',
        ]
    return _svg(width, 12 + row * len(words), drawn)


def strip(words: Sequence[Word]) -> str:
    """Every weight of each word as a dot: right of the line it speaks for the target, left of it against."""
    width, row, left, right = 460, 21, 170, 24
    far = max((abs(weight) for word in words for weight in word.weights), default=0.0) or 1.0
    middle, half = (left + width - right) / 2, (width - left - right) / 2 - 6
    height = 30 + row * len(words)
    drawn = [f'<line x1="{middle}" x2="{middle}" y1="4" y2="{height - 24}" stroke="{_GRID}"/>']
    for number, word in enumerate(words):
        y = 17 + row * number
        drawn.append(_name(word.text, left - 8, y + 4))
        for at, weight in enumerate(word.weights):
            colour, aside = (FOR if weight >= 0 else AGAINST), (at % 5 - 2) * 2
            drawn.append(
                f'<circle cx="{middle + weight / far * half:.1f}" cy="{y + aside}" r="3" '
                f'fill="{colour}" fill-opacity="0.55"/>'
            )
    drawn += [
        f'<text x="{middle + side * half:.1f}" y="{height - 6}" text-anchor="middle" fill="{_SOFT}">'
        f"{side * far:+.3g}</text>"
        for side in (-1, 1)
    ]
    return _svg(width, height, drawn)


def scatter(map_: Map) -> str:
    """Texts in the plane, coloured by group; a group beyond the tenth is grey."""
    width, height, edge = 460, 340, 14
    colours = {name: colour for name, colour, _ in legend(map_.groups)}
    xs, ys = ([point[axis] for point in map_.points] for axis in (0, 1))
    across, down = (_scale(values, edge, size - edge) for values, size in ((xs, width), (ys, height)))
    drawn = [f'<rect x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" fill="none" stroke="{_GRID}" rx="6"/>']
    for (x, y), group in zip(map_.points, map_.groups, strict=True):
        drawn.append(
            f'<circle cx="{across(x):.1f}" cy="{height - down(y):.1f}" r="4" fill="{colours.get(group, OTHERS)}" '
            f'fill-opacity="0.7"><title>{html.escape(clean(group))}</title></circle>'
        )
    return _svg(width, height, drawn)


def legend(groups: Sequence[str]) -> list[tuple[str, str, int]]:
    """Name, colour and size of the largest groups, in the order of their size."""
    counted = sorted(set(groups), key=lambda group: (-groups.count(group), group))
    colours = zip(counted, COLOURS, strict=False)
    named = [(group, JUDGED.get(group, colour), groups.count(group)) for group, colour in colours]
    rest = len(groups) - sum(count for _, _, count in named)
    return [*named, ("…", OTHERS, rest)] if rest else named


def _svg(width: int, height: int, drawn: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" font-size="12" '
        f'font-family="system-ui, sans-serif" fill="currentColor">' + "".join(drawn) + "</svg>"
    )


def _name(text: str, x: float, y: float) -> str:
    short = text if len(text) <= _SHORTEST else f"{text[: _SHORTEST - 1]}…"
    return f'<text x="{x}" y="{y}" text-anchor="end">{html.escape(clean(short))}</text>'


def _level(value: float, left: int, width: int, y: float) -> str:
    return (
        f'<line x1="{left}" x2="{width - 14}" y1="{y}" y2="{y}" stroke="{_GRID}" stroke-opacity="0.35"/>'
        f'<text x="{left - 8}" y="{y + 4}" text-anchor="end">{value:.3g}</text>'
    )


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers between *low* and *high*, nought among them where it lies between."""
    step = 10 ** math.floor(math.log10(high - low))
    step *= next(factor for factor in (0.2, 0.5, 1.0, 2.0) if (high - low) / (step * factor) <= 6)
    return [round(number * step, 12) for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _scale(values: Sequence[float], low: float, high: float) -> Callable[[float], float]:
    """From the range of *values* to *low* to *high*."""
    least, most = min(values), max(values)
    return lambda value: low + (value - least) / ((most - least) or 1.0) * (high - low)
