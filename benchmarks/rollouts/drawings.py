"""The drawings of docs/canary.md, as SVG written by hand: three plots that need no library."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

WIDTH, HEIGHT, LEFT, TOP, BOTTOM, RIGHT = 760, 380, 64, 48, 48, 180
COLOURS = ("#2a7f62", "#c0392b", "#8e5ea2", "#d08c2e", "#3b6fb5", "#7f7f7f", "#b05a7a")
Paths = Mapping[str, Sequence[tuple[Sequence[int], Sequence[float]]]]


def write(
    folder: Path, table: Mapping[str, Mapping[str, float]], paths: Paths, stops: Mapping[str, list[float]]
) -> None:
    """Write the three drawings into *folder*."""
    (folder / "false-rollbacks.svg").write_text(bars(table), encoding="utf-8")
    (folder / "evidence.svg").write_text(evidence(paths), encoding="utf-8")
    (folder / "requests-to-stop.svg").write_text(curves(stops), encoding="utf-8")


def bars(table: Mapping[str, Mapping[str, float]]) -> str:
    """Healthy candidates that were stopped: a group of bars for each kind of traffic, a colour for each rule."""
    worlds = list(next(iter(table.values())))
    parts = [_title("Healthy candidates that are stopped (%)")]
    parts += [_rule(f"{share} %", _y(share / 100.0)) for share in (0, 25, 50, 75, 100)]
    room = _plot_width() / len(worlds)
    each = room * 0.8 / len(table)
    for group, world in enumerate(worlds):
        begin = LEFT + group * room + room * 0.1
        for place, shares in enumerate(table.values()):
            top = min(_y(shares[world]), _y(0.0) - 1.0)
            parts.append(_box(begin + place * each, top, each * 0.9, _y(0.0) - top, COLOURS[place]))
        parts.append(_text(LEFT + (group + 0.5) * room, _y(0.0) + 18, world, "middle"))
    return _svg([*parts, *_legend(list(table))])


def evidence(paths: Paths) -> str:
    """E of the errors along single rollouts, on a logarithmic scale, with the line that stops."""
    low, high, last = -3.0, 4.0, 24_000

    def y(log_e: float) -> float:
        decades = min(max(log_e / math.log(10.0), low), high)
        return _y((decades - low) / (high - low))

    parts = [_title("Evidence E of the signal 'errors' along single rollouts")]
    parts += [_rule(_power(decade), y(decade * math.log(10.0))) for decade in range(int(low), int(high) + 1)]
    for place, rollouts in enumerate(paths.values()):
        for at, path in rollouts:
            points = [(LEFT, y(0.0)), *((_x(x / last), y(e)) for x, e in zip(at, path, strict=True))]
            parts.append(_line(points, COLOURS[(0, 4, 1)[place]], 0.45))
    stop = y(math.log(200.0))
    parts.append(_line([(LEFT, stop), (_x(1.0), stop)], "#000", 1.0, dashed=True))
    parts.append(_text(_x(1.0) + 6, stop + 4, "200: stop"))
    parts += [_text(_x(x / last), _y(0.0) + 18, f"{x:,}", "middle") for x in range(0, last + 1, 6000)]
    parts.append(_text(_x(0.5), _y(0.0) + 36, "requests (5, 10, 25, 50 %: 6,000 each)", "middle"))
    return _svg([*parts, *_legend(list(paths), (0, 4, 1))])


def curves(stops: Mapping[str, list[float]]) -> str:
    """Which share of bad candidates has been stopped after so many requests."""
    low, high = 1.0, math.log10(20_000)

    def x(requests: float) -> float:
        return _x((min(max(math.log10(max(requests, 1.0)), low), high) - low) / (high - low))

    parts = [_title("Candidates with errors (0.5 % on stable) that have been stopped (%)")]
    parts += [_rule(f"{share} %", _y(share / 100.0)) for share in (0, 25, 50, 75, 90, 100)]
    for place, found in enumerate(stops.values()):
        points = [(x(at), _y((rank + 1) / len(found))) for rank, at in enumerate(found) if at < 20_000]
        parts.append(_line(points, COLOURS[(1, 3, 4)[place]], 1.0, width=2))
    parts += [_text(x(at), _y(0.0) + 18, f"{at:,}", "middle") for at in (10, 30, 100, 300, 1000, 3000, 10_000)]
    parts.append(_text(_x(0.5), _y(0.0) + 36, "requests of both arms, default steps", "middle"))
    return _svg([*parts, *_legend(list(stops), (1, 3, 4))])


def _plot_width() -> float:
    return WIDTH - LEFT - RIGHT


def _x(share: float) -> float:
    return LEFT + share * _plot_width()


def _y(share: float) -> float:
    return TOP + (1.0 - share) * (HEIGHT - TOP - BOTTOM)


def _power(decade: int) -> str:
    return f"{10**decade:,}" if decade >= 0 else f"{10.0**decade:g}"


def _title(words: str) -> str:
    return f'<text x="{LEFT}" y="24" font-size="15" font-weight="bold">{words}</text>'


def _text(x: float, y: float, words: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{words}</text>'


def _rule(words: str, y: float) -> str:
    line = f'<line x1="{LEFT}" y1="{y:.1f}" x2="{_x(1.0):.1f}" y2="{y:.1f}" stroke="#ddd"/>'
    return line + _text(LEFT - 8, y + 4, words, "end")


def _box(x: float, y: float, width: float, height: float, colour: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}"/>'


def _line(
    points: Sequence[tuple[float, float]], colour: str, opacity: float, dashed: bool = False, width: float = 1.2
) -> str:
    drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    look = f'stroke="{colour}" stroke-opacity="{opacity}" stroke-width="{width}"'
    dash = ' stroke-dasharray="6 4"' if dashed else ""
    return f'<polyline points="{drawn}" fill="none" {look}{dash}/>'


def _legend(names: Sequence[str], colours: Sequence[int] = tuple(range(len(COLOURS)))) -> list[str]:
    parts = []
    for place, name in enumerate(names):
        y = TOP + 14 + 20 * place
        parts += [_box(_x(1.0) + 14, y - 9, 10, 10, COLOURS[colours[place]]), _text(_x(1.0) + 30, y, name)]
    return parts


def _svg(parts: Sequence[str]) -> str:
    room = f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {room}>'
    return "\n".join([head, f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>', *parts, "</svg>"]) + "\n"
