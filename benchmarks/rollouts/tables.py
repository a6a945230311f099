"""The tables of docs/canary.md, written from the results, so that the page never says what was not measured."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.record import Figure

RULES = (
    "Guideway",
    "Argo Rollouts, 5 min",
    "Argo Rollouts, 1 min",
    "Flagger, 1 min",
    "z-test, peeking",
    "Mann-Whitney, peeking",
    "E, every event counted",
)
OF_ERRORS = RULES[:5]
WORLDS = ("healthy", "shared incident", "40 % cache hits", "2 % against 2 %", "300 Zipf callers")
BAD, SLOW = ("30 % errors", "5 % errors"), ("latency 2 ×", "latency + 20 %")


def fill(page: Path, figures: Sequence[Figure], rollouts: int, compared: int, day: datetime.date) -> None:
    """Write the tables between the marks of *page*; *compared* rollouts a cell were made of the rules of others."""
    text = page.read_text(encoding="utf-8")
    by_name = {figure.metric: figure for figure in figures}
    ours = [figure for figure in figures if not figure.metric.startswith(tuple(f"{rule}:" for rule in RULES))]
    parts = {
        "results": [f"{day}, {rollouts:,} rollouts a cell.", "", *_ours(ours)],
        "others": [
            f"{day}, {compared:,} rollouts a cell.",
            *("", *_healthy(by_name)),
            *("", *_bad(by_name)),
            *("", _slow(by_name)),
            *("", "![Healthy candidates that are stopped](canary/false-rollbacks.svg)"),
            *("", "![Requests to stop](canary/requests-to-stop.svg)"),
        ],
    }
    for name, lines in parts.items():
        marks = f"<!-- {name} -->", f"<!-- end of {name} -->"
        pattern = re.compile(re.escape(marks[0]) + ".*" + re.escape(marks[1]), re.DOTALL)
        filled = "\n".join([marks[0], *lines, marks[1]])
        text = pattern.sub(lambda _, filled=filled: filled, text)  # type: ignore[misc]
    page.write_text(text, encoding="utf-8")


def _ours(figures: Sequence[Figure]) -> list[str]:
    rows = ["| what | must | measured | |", "|---|---|---|---|"]
    for one in figures:
        must = "" if one.must is None else f"{'≥' if one.larger else '≤'} {one.must:,g} {one.unit}".strip()
        note = f" ({one.note})" if one.note else ""
        mark = {True: "✓", False: "✗", None: ""}[one.ok]
        rows.append(f"| {one.metric} | {must} | {_number(one)}{note} | {mark} |")
    return rows


def _healthy(by_name: Mapping[str, Figure]) -> list[str]:
    rows = [f"| healthy candidates stopped | {' | '.join(WORLDS)} |", "|---" * (len(WORLDS) + 1) + "|"]
    for rule in RULES:
        cells = (f"{by_name[f'{rule}: false rollbacks, {world}'].value:.1f} %" for world in WORLDS)
        rows.append(f"| {rule} | {' | '.join(cells)} |")
    return rows


def _bad(by_name: Mapping[str, Figure]) -> list[str]:
    """Whether and when bad candidates are stopped, and what users got until then."""
    rows = [f"| bad candidates | {' | '.join(BAD)} |", "|---|---|---|"]
    for rule in OF_ERRORS:
        found = (by_name[f"{rule}: {world}, errors served, q90"] for world in BAD)
        cells = (f"{one.note}; {one.value:,.0f} errors served (q90)" for one in found)
        rows.append(f"| {rule} | {' | '.join(cells)} |")
    return rows


def _slow(by_name: Mapping[str, Figure]) -> str:
    words = []
    for world in SLOW:
        ours, theirs = (
            _number(by_name[f"{rule}: {world}, steps of 6,000: requests to stop, q90"])
            for rule in ("Guideway", "Mann-Whitney, peeking")
        )
        words.append(f"{world}: {ours} requests to stop (q90), Mann-Whitney {theirs}")
    return "; ".join(words) + "."


def _number(figure: Figure) -> str:
    if math.isinf(figure.value):
        return "not within the horizon"
    return f"{figure.value:.2f} {figure.unit}" if figure.unit else f"{figure.value:,.0f}"
