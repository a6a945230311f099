"""The report as one HTML file in English and Chinese: no script, no other file; the switch of language is CSS."""

from __future__ import annotations

import html
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from guideway.pipeline.stages.explain import phrases as say
from guideway.pipeline.stages.explain.attribution import Attribution
from guideway.pipeline.stages.explain.deletion import SHARES, Faithfulness
from guideway.pipeline.stages.explain.plots import bars, curves, legend, scatter, strip
from guideway.pipeline.stages.explain.record import Findings, Line, Map, words
from guideway.standard.reports.clean import clean
from guideway.standard.reports.words import Words

MOST_WORDS = 20
"""Words in a plot."""
MOST_CLASSES = 10
"""Classes with a plot of their own: those that were said most."""
WORDS_OF_A_CLASS = 8
STYLE = """
:root { color-scheme: light dark; --ink: #1d2430; --soft: #5b6675; --line: #d9dee6; --paper: #fff; --wash: #f5f7fa; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e9f0; --soft: #9aa7b8; --line: #333d4b; --paper: #151a21; --wash: #1d242e; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.6 system-ui, -apple-system, "Segoe UI",
  Roboto, "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", sans-serif; overflow-wrap: anywhere; }
main { max-width: 66rem; margin: 0 auto; padding: 1rem 1.25rem 4rem; }
h1 { font-size: 1.8rem; line-height: 1.25; } h2 { font-size: 1.25rem; margin: 2.4rem 0 .6rem; }
p { max-width: 46rem; margin: .5rem 0; } small, figcaption, .soft { color: var(--soft); }
.grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); gap: 1rem 2rem; }
figure { margin: .6rem 0; } svg { width: 100%; height: auto; max-width: 34rem; }
.case { border: 1px solid var(--line); border-radius: 10px; padding: .7rem 1rem; margin: .7rem 0;
  background: var(--wash); }
.heat { white-space: pre-wrap; line-height: 2; }
.heat b { font-weight: inherit; border-radius: 4px; padding: .12em 0; }
.key i { display: inline-block; width: .8em; height: .8em; border-radius: 50%; margin: 0 .3em 0 .9em; }
.verdict { font-weight: 600; border-left: 4px solid var(--soft); padding: .3rem .8rem; background: var(--wash); }
.verdict.good { border-color: #1b8a5a; } .verdict.bad { border-color: #c33; }
#zh:not(:checked) ~ main [lang="zh"], #zh:checked ~ main [lang="en"] { display: none; }
.switch { position: absolute; left: -99rem; } label { cursor: pointer; text-decoration: underline; margin-right: 1rem; }
"""
TURNING = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def to_html(found: Findings) -> str:
    """The whole report of a build."""
    tested = [one.deletion for one in found.lines if one.deletion]
    parts = [
        *_opening(found),
        *([_verdict(found.faithfulness, found.unit)] if found.faithfulness else []),
        *(_figures(found) if tested else []),
        *_maps(found.maps, classes=found.classes),
        _heading(say.TEXTS),
        _paragraph(say.READ.fill(unit=found.unit)),
        *map(_case, found.lines),
        _heading(say.LIMITS_TITLE),
        *map(_paragraph, say.LIMITS),
    ]
    return _document(say.TITLE.fill(split=found.split), parts)


def page_of(found: Attribution) -> str:
    """A page about one text."""
    line = Line("", found, "", None, None)
    parts = [f"<h1>{_both(say.ONE)}</h1>", _paragraph(say.READ.fill(unit=found.unit)), _case(line)]
    return _document(say.ONE, [*parts, _heading(say.LIMITS_TITLE), *map(_paragraph, say.LIMITS)])


def page_of_maps(title: Words, said: Sequence[Words], found: Sequence[Map]) -> str:
    """A page about where a model sees texts: what is *said* of the maps, and the maps."""
    return _document(title, [f"<h1>{_both(title)}</h1>", *map(_paragraph, said), *_drawn(found)])


def _opening(found: Findings) -> list[str]:
    said = say.CLASSES if found.classes else say.ANSWERS
    filled = said.fill(n=len(found.lines), split=found.split, method=found.method, ships=say.MODELS[found.ships])
    return [f"<h1>{_both(say.TITLE.fill(split=found.split))}</h1>", _paragraph(filled)]


def _verdict(said: Faithfulness, unit: str) -> str:
    gaps: dict[str, Any] = {"gain": f"{said.gain:.3g}", "unit": unit, "n": said.n}
    gaps |= {"low": f"{said.interval.low:.3g}", "high": f"{said.interval.high:.3g}"}
    kind, text = ("good", say.FAITHFUL) if said.above_chance else ("bad", say.CHANCE)
    return f'<p class="verdict {kind}">{_both(text.fill(**gaps))}</p>'


def _figures(found: Findings) -> Iterable[str]:
    tested = [one.deletion for one in found.lines if one.deletion]
    explained, chance = (np.mean([one[side] for one in tested], axis=0).tolist() for side in (0, 1))
    yield _heading(say.OVERALL)
    ranked = words(found.lines, MOST_WORDS)
    figures = [
        _figure(curves(SHARES, explained, chance), say.CURVES.fill(unit=found.unit)),
        _figure(bars(ranked), say.BARS.fill(unit=found.unit)),
        _figure(strip(ranked), say.STRIP.fill(unit=found.unit)),
    ]
    yield f'<div class="grid">{"".join(figures)}</div>'
    if found.classes:
        yield _heading(say.BY_CLASS)
        yield f'<div class="grid">{"".join(_of_classes(found.lines))}</div>'


def _of_classes(lines: Sequence[Line]) -> Iterable[str]:
    """A plot of the most important words for each class that was said often."""
    groups: defaultdict[str, list[Line]] = defaultdict(list)
    for line in lines:
        groups[line.found.target].append(line)
    for name, own in sorted(groups.items(), key=lambda pair: (-len(pair[1]), pair[0]))[:MOST_CLASSES]:
        yield _figure(bars(words(own, WORDS_OF_A_CLASS)), say.CLASS.fill(name=name, n=len(own)))


def _maps(found: Sequence[Map], *, classes: bool) -> Iterable[str]:
    if not found:
        return
    yield _heading(say.MAP)
    yield _paragraph(say.MAP_OF_CLASSES if classes else say.MAP_OF_ANSWERS)
    yield from _drawn(found)


def _drawn(found: Sequence[Map]) -> Iterable[str]:
    """The maps side by side, and what their colours stand for."""
    if not found:
        return
    yield f'<div class="grid">{"".join(_figure(scatter(one), one.name) for one in found)}</div>'
    named = legend(found[0].groups)
    keys = [f'<i style="background:{colour}"></i>{html.escape(clean(name))} ({count})' for name, colour, count in named]
    yield f'<p class="key soft">{"".join(keys)}</p>'


def _case(line: Line) -> str:
    found = line.found
    mark = {True: "✓ ", False: "✗ ", None: ""}[line.right]
    wanted = f" · {_both(say.WANTED.fill(wanted=line.wanted))}" if line.right is False else ""
    gain = f" · {_both(say.GAIN.fill(gain=f'{line.deletion.gain:+.3g}'))}" if line.deletion else ""
    scores = say.SCORES.fill(score=f"{found.score:.3g}", baseline=f"{found.baseline:.3g}", unit=found.unit)
    return (
        f'<div class="case"><div class="heat">{heat(found)}</div>'
        f"<div>→ {mark}<strong>{html.escape(clean(found.target))}</strong>{wanted}</div>"
        f"<small>{_both(scores)}{gain}</small></div>"
    )


def heat(found: Attribution) -> str:
    """The text with each token on a ground as strong as its weight: blue speaks for the target, orange against."""
    far, at, pieces = max(map(abs, found.weights), default=0.0) or 1.0, 0, []
    for token, weight in zip(found.tokens, found.weights, strict=True):
        colour = "37,99,201" if weight >= 0 else "217,98,43"
        pieces += [
            _safe(found.text[at : token.start]),
            f'<b style="background:rgba({colour},{abs(weight) / far * 0.75:.2f})" title="{weight:+.3g}">'
            f"{_safe(token.text)}</b>",
        ]
        at = token.end
    return "".join(pieces) + _safe(found.text[at:])


def _safe(text: str) -> str:
    """*text* escaped, without marks that turn the direction of what follows."""
    return html.escape("".join(one for one in text if unicodedata.bidirectional(one) not in TURNING))


def _document(title: Words, parts: Sequence[str]) -> str:
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title.said('en'))} · {html.escape(title.said('zh'))}</title>\n"
        f"<style>{STYLE}</style>\n</head>\n<body>\n"
        '<input class="switch" type="radio" name="language" id="en" checked>'
        '<input class="switch" type="radio" name="language" id="zh">\n'
        '<main>\n<p><label for="en">English</label><label for="zh">中文</label></p>\n'
        + "\n".join(parts)
        + "\n</main>\n</body>\n</html>\n"
    )


def _heading(text: Words) -> str:
    return f"<h2>{_both(text)}</h2>"


def _paragraph(text: Words) -> str:
    return f"<p>{_both(text)}</p>"


def _figure(drawing: str, caption: Words | str) -> str:
    said = html.escape(caption) if isinstance(caption, str) else _both(caption)
    return f"<figure><figcaption>{said}</figcaption>{drawing}</figure>"


def _both(text: Words) -> str:
    """Both languages; the style shows one."""
    english, chinese = (html.escape(clean(text.said(language))) for language in ("en", "zh"))
    return f'<span lang="en">{english}</span><span lang="zh">{chinese}</span>'
