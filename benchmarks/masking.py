"""Measure masking: how fast it is, and how much of the personal data it finds.

`make bench-masking` calls it. Quality on others' texts is measured where GUIDEWAY_TEST_DATA names their folder.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.privacy.privacy_rig import (
    LABELS,
    Score,
    made_chinese,
    made_innocent,
    read_labelled,
    read_seeds,
    score,
    total,
)

from benchmarks.record import Figure, median_seconds, write
from guideway.core.privacy import Entity
from guideway.core.spec.gateway import Masking as Options
from guideway.gateway.masking import Masking, Prepared
from guideway.gateway.rewrite import AnswerRewriter
from guideway.privacy.detect import find

CHINESE: tuple[Entity, ...] = ("cn_id", "card", "phone")
PROSE = (
    "Please help me to write an answer to this customer. He says that he would like to have his money back, and that "
    "nobody called him, although he had asked for it twice. I think he is right; we should be friendly and brief.\n"
)
BLOCK = 2048


def main() -> None:
    """Measure everything, and write the results."""
    figures = [*throughput(), *latency(), *events(), *made()]
    where = os.environ.get("GUIDEWAY_TEST_DATA")
    figures += labelled(Path(where)) if where else []
    print()
    write("masking", figures)


def throughput() -> list[Figure]:
    """One core on a megabyte: prose, and prose in which one sentence of a few has something in it."""
    chance = random.Random(1)
    mixed = "".join(PROSE * 2 + one.text + " " for one in made_chinese(chance, 2200))[: 1 << 20]
    prose = (PROSE * 8000)[: 1 << 20]
    figures = []
    for name, text in (("mixed text, English and Chinese", mixed), ("English prose, nothing in it", prose)):
        size, note = len(text.encode()), f"{len(find(text))} finds"
        speed = size / median_seconds(partial(find, text)) / 1e6
        figures.append(Figure(f"finding in {name}", speed, "MB/s", must=1, aim=10, note=note, larger=True))
    bodies = [_chat(mixed[at : at + BLOCK]) for at in range(0, len(mixed), BLOCK)]
    masking = Masking(Options(), {})
    seconds = median_seconds(lambda: [masking.prepare(body) for body in bodies])
    speed = sum(map(len, bodies)) / seconds / 1e6
    figures.append(Figure("masking of whole requests with mixed text", speed, "MB/s", must=1, aim=10, larger=True))
    return figures


def latency() -> list[Figure]:
    """Requests with a prompt of 2 KB one after the other: what a request waits for."""
    chance = random.Random(2)
    plain = [_chat((PROSE * 12)[:BLOCK])] * 2000
    dense = []
    for _ in range(2000):
        found = " ".join(one.text for one in made_chinese(chance, 10))
        dense.append(_chat((found + PROSE * 12)[:BLOCK]))
    masking = Masking(Options(), {})
    return [
        Figure(f"prompt of 2 KB, {name}, p99", _p99(masking.prepare, bodies) * 1e3, "ms", must=2, aim=0.2)
        for name, bodies in (("nothing in it", plain), ("ten values in it", dense))
    ]


def events() -> list[Figure]:
    """What one event of a stream, with one word of its text, costs."""
    words = [_event(f" {word}") for word in PROSE.split()] * 100
    figures = []
    for name, options, prompt in (
        ("values put back", Options(output=False), "jo@example.com"),
        ("output looked at", Options(), "hi"),
        ("both", Options(), "jo@example.com"),
    ):
        told = Masking(options, {}).prepare(_chat(prompt))
        assert isinstance(told, Prepared)
        assert told.stream is not None
        rewriter = AnswerRewriter(told.stream)
        begun = time.perf_counter()
        for event in words:
            rewriter.feed(event)
        spent = (time.perf_counter() - begun) / len(words)
        figures.append(Figure(f"event of a stream, {name}", spent * 1e6, "µs"))
    return figures


def made() -> list[Figure]:
    """Quality on made texts."""
    scores = score(made_chinese(random.Random(3), 5000), CHINESE)
    figures = _both_ways(scores, "made sentences")
    texts = list(made_innocent(random.Random(4), 10_000))
    alarms = sum(bool(find(text)) for text in texts) / len(texts)
    note = f"{len(texts)} order numbers and time stamps"
    return [*figures, Figure("false alarms", alarms * 100, "%", must=0.1, aim=0, note=note)]


def labelled(folder: Path) -> list[Figure]:
    """Quality on what others labelled, and with all regions and a quarter of a million names."""
    texts = read_labelled(folder / "pii-presidio-research" / "generated_large.json")
    scores = score(texts, list(LABELS.values()))
    note = f"{len(texts)} texts; a hit has the very characters of the label"
    f1 = total(scores.values()).f1
    figures = [Figure("F1, all kinds that have a pattern", f1, "", must=0.97, aim=0.99, note=note, larger=True)]
    for kind, one in scores.items():
        note = f"{one.hits} right, {one.alarms} too many, {one.misses} missed"
        figures.append(Figure(f"F1, {kind}", one.f1, "", must=0.97, note=note, larger=True))
    seeds = read_seeds(folder)
    return figures + _both_ways(score(made_chinese(random.Random(5), 5000, *seeds), CHINESE), "all regions and names")


def _both_ways(scores: dict[Entity, Score], where: str) -> list[Figure]:
    figures = []
    for kind, one in scores.items():
        for name, value in (("precision", one.precision), ("recall", one.recall)):
            figures.append(Figure(f"{name} of {kind}, {where}", value, "", must=0.99, aim=0.999, larger=True))
    return figures


def _p99(work: Callable[[bytes], object], bodies: Sequence[bytes]) -> float:
    spent = []
    for body in bodies:
        begun = time.perf_counter()
        work(body)
        spent.append(time.perf_counter() - begun)
    return sorted(spent)[int(len(spent) * 0.99)]


def _chat(text: str) -> bytes:
    body = {"model": "m", "messages": [{"role": "user", "content": text}]}
    return json.dumps(body, ensure_ascii=False).encode()


def _event(text: str) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


if __name__ == "__main__":
    main()
