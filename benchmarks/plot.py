"""One plot as SVG: lines over time, drawn without a library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 1000.0, 360.0, 56.0, 44.0, 16.0, 44.0


class Line(NamedTuple):
    """One line: points (x, y) in order, drawn as steps or straight."""

    name: str
    colour: str
    points: Sequence[tuple[float, float]]
    steps: bool = False


def draw(lines: Sequence[Line], *, title: str, x_name: str, y_name: str, x_step: float, y_step: float) -> str:
    """The SVG; axes begin at 0 and end with the largest value."""
    wide = max(x for line in lines for x, _ in line.points)
    high = (max(y for line in lines for _, y in line.points) // y_step + 1) * y_step

    def at(x: float, y: float) -> tuple[float, float]:
        across = LEFT + x / wide * (WIDTH - LEFT - RIGHT)
        return round(across, 1), round(HEIGHT - BOTTOM - y / high * (HEIGHT - TOP - BOTTOM), 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-label="{title}" '
        'font-family="system-ui, -apple-system, Segoe UI, sans-serif" font-size="12">',
        f'<rect width="{WIDTH:g}" height="{HEIGHT:g}" rx="10" fill="#f8fafc"/>',
    ]
    for number in range(int(high / y_step) + 1):
        (x1, y1), (x2, _) = at(0, number * y_step), at(wide, 0)
        parts.append(f'<path d="M{x1} {y1}H{x2}" stroke="#e2e8f0"/>')
        parts.append(_text(x1 - 8, y1 + 4, f"{number * y_step:g}", "end"))
    for number in range(int(wide / x_step) + 1):
        x, y = at(number * x_step, 0)
        parts.append(_text(x, y + 18, f"{number * x_step:g}", "middle"))
    parts.append(_text(WIDTH - RIGHT, HEIGHT - 8, x_name, "end"))
    parts.append(_text(LEFT, HEIGHT - 8, y_name, "start"))
    for index, line in enumerate(lines):
        points = [at(x, y) for x, y in line.points]
        path = "".join(f"H{x}V{y}" if line.steps else f"L{x} {y}" for x, y in points[1:])
        start = f"M{points[0][0]} {points[0][1]}"
        parts.append(f'<path d="{start}{path}" fill="none" stroke="{line.colour}" stroke-width="1.8"/>')
        x = LEFT + index * (WIDTH - LEFT) / len(lines)
        parts.append(f'<path d="M{x:g} 22h18" stroke="{line.colour}" stroke-width="3"/>')
        parts.append(_text(x + 24, 26, line.name, "start"))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" fill="#334155">{text}</text>'
