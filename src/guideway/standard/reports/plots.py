"""Plots as drawings in SVG: values against each other, and rows as strands over several axes. No script."""

from __future__ import annotations

import html
import itertools
import math
from collections.abc import Callable, Sequence

from guideway.standard.reports.clean import clean
from guideway.standard.reports.page import Axis, Plot, Strands
from guideway.standard.reports.words import Language, spoken

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 460, 220, 60, 14, 10, 44
_SHORT = 14
"""Characters of a name below an axis."""

Place = Callable[[float], float]


def plot(block: Plot, language: Language) -> str:
    """Dots, and a line of steps through some of them, over two axes."""
    x, y = [one.x for one in block.dots], [one.y for one in block.dots]
    across, up = _place(block.x, x, _LEFT, _WIDTH - _RIGHT), _place(block.y, y, _HEIGHT - _BOTTOM, _TOP)
    drawn = [*_below(block.x, x, across, language), *_beside(block.y, y, up)]
    drawn += [
        f'<circle class="dot {one.kind}" cx="{across(one.x):.1f}" cy="{up(one.y):.1f}" r="3.5">'
        f"<title>{_text(one.name)}</title></circle>"
        for one in sorted(block.dots, key=lambda one: one.kind == "best")
    ]
    if block.line:
        corners = " ".join(_stairs(block.line, across, up))
        drawn.append(f'<polyline class="strand best" points="{corners}"/>')
    return _figure(spoken(block.title, language), _HEIGHT, drawn)


def strands(block: Strands, language: Language) -> str:
    """One broken line for each row, over axes side by side: the best in a colour of its own, drawn last."""
    room = (_WIDTH - 2 * _LEFT) / max(1, len(block.axes) - 1)
    columns = [[row.values[number] for row in block.rows] for number in range(len(block.axes))]
    places = [_place(axis, column, _HEIGHT - _BOTTOM, _TOP) for axis, column in zip(block.axes, columns, strict=True)]
    drawn = []
    for row in sorted(block.rows, key=lambda row: row.best):
        corners = [
            f"{_LEFT + number * room:.1f},{place(value):.1f}"
            for number, (place, value) in enumerate(zip(places, row.values, strict=True))
        ]
        kind = "strand best" if row.best else "strand"
        drawn.append(
            f'<polyline class="{kind}" points="{" ".join(corners)}"><title>{_text(row.name)}</title></polyline>'
        )
    for number, (axis, column) in enumerate(zip(block.axes, columns, strict=True)):
        drawn += _upright(axis, column, _LEFT + number * room, number % 2 * 13, language)
    return _figure(spoken(block.title, language), _HEIGHT, drawn)


def _figure(title: str, height: float, drawn: Sequence[str]) -> str:
    name = _text(title)
    return (
        f'<figure>\n<figcaption>{name}</figcaption>\n<svg viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'aria-label="{name}">\n' + "\n".join(drawn) + "\n</svg>\n</figure>"
    )


def _place(axis: Axis, values: Sequence[float], start: float, end: float) -> Place:
    """From a value to where it stands between *start* and *end*."""
    low, high = _ends(axis, values)

    def place(value: float) -> float:
        scaled = math.log(value) if axis.log else value
        return start + (scaled - low) / (high - low) * (end - start)

    return place


def _ends(axis: Axis, values: Sequence[float]) -> tuple[float, float]:
    """The ends of an axis, with a little room; of a logarithmic one as logarithms."""
    scaled = [math.log(value) if axis.log else value for value in values] or [0.0]
    low, high = min(scaled), max(scaled)
    room = (high - low) * 0.05 or 0.5
    return low - room, high + room


def _ticks(axis: Axis, values: Sequence[float]) -> list[tuple[float, str]]:
    """Names of choices, or the smallest and the largest value."""
    if axis.names:
        return list(enumerate(axis.names))
    found = sorted({min(values), max(values)}) if values else []
    return [(value, f"{value:.3g}") for value in found]


def _below(axis: Axis, values: Sequence[float], across: Place, language: Language) -> list[str]:
    """The horizontal axis with its ticks and its name."""
    foot, middle = _HEIGHT - _BOTTOM, (_LEFT + _WIDTH - _RIGHT) / 2
    ticks = [(value, name) for value, name in _ticks(axis, values) if value in values]
    return [
        f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{foot}" y2="{foot}"/>',
        f'<text text-anchor="middle" x="{middle}" y="{_HEIGHT - 8}">{_text(spoken(axis.name, language))}</text>',
        *(
            f'<text class="soft" text-anchor="middle" x="{across(value):.1f}" y="{foot + 15}">{_brief(name)}</text>'
            for value, name in ticks
        ),
    ]


def _beside(axis: Axis, values: Sequence[float], up: Place) -> list[str]:
    """The vertical axis with its ticks."""
    return [
        f'<line class="axis" x1="{_LEFT}" x2="{_LEFT}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}"/>',
        *(
            f'<text class="soft" text-anchor="end" x="{_LEFT - 6}" y="{up(value) + 4:.1f}">{_brief(name)}</text>'
            for value, name in _ticks(axis, values)
        ),
    ]


def _upright(axis: Axis, values: Sequence[float], x: float, lower: int, language: Language) -> list[str]:
    """One axis of strands, with its ends and its name; every second name stands a line lower."""
    place, foot = _place(axis, values, _HEIGHT - _BOTTOM, _TOP), _HEIGHT - _BOTTOM
    drawn = [f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{foot}"/>']
    drawn += [
        f'<text class="soft" text-anchor="middle" x="{x:.1f}" y="{place(value) + 4:.1f}">{_brief(name)}</text>'
        for value, name in _ticks(axis, values)
        if value in values
    ]
    name = _text(spoken(axis.name, language))
    drawn.append(f'<text text-anchor="middle" x="{x:.1f}" y="{foot + 18 + lower}">{name}</text>')
    return drawn


def _stairs(line: Sequence[tuple[float, float]], across: Place, up: Place) -> list[str]:
    """The corners of a line that moves only at its points."""
    corners = [f"{across(line[0][0]):.1f},{up(line[0][1]):.1f}"]
    for (_, before), (x, y) in itertools.pairwise(line):
        corners += [f"{across(x):.1f},{up(before):.1f}", f"{across(x):.1f},{up(y):.1f}"]
    return corners


def _text(said: str) -> str:
    return html.escape(clean(said))


def _brief(name: str) -> str:
    line = clean(name)
    return html.escape(line if len(line) <= _SHORT else f"{line[: _SHORT - 1]}…")
