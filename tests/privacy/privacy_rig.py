"""Texts with labelled personal data: others' and made ones; and how well it is found."""

from __future__ import annotations

import csv
import json
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from guideway.core.privacy import Entity
from guideway.privacy.detect import find

LABELS: dict[str, Entity] = {
    "EMAIL_ADDRESS": "email",
    "PHONE_NUMBER": "phone",
    "CREDIT_CARD": "card",
    "IBAN_CODE": "iban",
    "US_SSN": "us_ssn",
    "IP_ADDRESS": "ip",
}
"""The labels that a pattern can find. The others are not: persons, places, organisations, titles, dates and domains are
words of a language; numbers of driving licences have another form in every state and none that tells them apart."""

REGIONS = ("110105", "310115", "440305", "510107", "330106")
NAMES = ("张伟", "王小红", "李娜", "欧阳修", "刘洋")


class Labelled(NamedTuple):
    """A text, and what in it is what: start, end, kind."""

    text: str
    spans: frozenset[tuple[int, int, Entity]]


class Score(NamedTuple):
    """How well one kind is found: *hits* right, *alarms* where nothing is, *misses*."""

    hits: int
    alarms: int
    misses: int

    @property
    def precision(self) -> float:
        """The share of finds that are right."""
        return self.hits / max(1, self.hits + self.alarms)

    @property
    def recall(self) -> float:
        """The share of labelled values that are found."""
        return self.hits / max(1, self.hits + self.misses)

    @property
    def f1(self) -> float:
        """Their harmonic mean."""
        return 2 * self.hits / max(1, 2 * self.hits + self.alarms + self.misses)


def read_labelled(path: Path) -> list[Labelled]:
    """The texts of a file of presidio-research, with the labels that patterns are for."""
    rows = json.loads(path.read_text(encoding="utf-8"))
    return [Labelled(row["full_text"], frozenset(_spans(row["spans"]))) for row in rows]


def score(texts: Iterable[Labelled], kinds: Sequence[Entity]) -> dict[Entity, Score]:
    """How well *kinds* are found; only a find with the very characters of a label is a hit."""
    hits, alarms, misses = Counter[Entity](), Counter[Entity](), Counter[Entity]()
    for text, spans in texts:
        found = {(one.start, one.end, one.entity) for one in find(text) if one.entity in kinds}
        hits.update(one[2] for one in found & spans)
        alarms.update(one[2] for one in found - spans)
        misses.update(one[2] for one in spans - found)
    return {kind: Score(hits[kind], alarms[kind], misses[kind]) for kind in kinds}


def total(scores: Iterable[Score]) -> Score:
    """All kinds together."""
    return Score(*map(sum, zip(*scores, strict=True)))


def read_seeds(folder: Path) -> tuple[list[str], list[str]]:
    """Codes of regions, and names."""
    with (folder / "cn-region-codes" / "areas.csv").open(encoding="utf-8") as file:
        regions = [row["code"] for row in csv.DictReader(file)]
    path = next((folder / "names-zh-en").glob("Ancient*"))
    return regions, [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()[3:] if line.strip()]


def made_chinese(
    chance: random.Random, count: int, regions: Sequence[str] = REGIONS, names: Sequence[str] = NAMES
) -> Iterator[Labelled]:
    """Sentences with an identity number, a card or a mobile, and beside them numbers that are none."""
    for _ in range(count):
        kind, value = chance.choice([_resident, _card, _mobile])(chance, regions)
        name, order = chance.choice(names), _digits(chance, chance.choice([12, 15, 18, 20]))
        before, after = chance.choice(_SENTENCES[kind])
        text = before.format(name=name, order=order)
        span = len(text), len(text + value), kind
        yield Labelled(text + value + after.format(name=name, order=order), frozenset({span}))


def made_innocent(chance: random.Random, count: int) -> Iterator[str]:
    """Texts with an order number or a time stamp, and no personal data."""
    for _ in range(count):
        seconds = chance.randrange(1_500_000_000, 1_900_000_000)
        unit = chance.choice([1, 1000, 10**9])
        stamp = seconds * unit + chance.randrange(unit)
        year = f"20{chance.randrange(10, 40)}{chance.randrange(1, 13):02}{chance.randrange(1, 29):02}"
        clock = f"{chance.randrange(24):02}{chance.randrange(60):02}{chance.randrange(60):02}"
        plain, dated = (
            _digits(chance, chance.randrange(8, 21)),
            year + clock + _digits(chance, chance.choice([0, 3, 6])),
        )
        order = chance.choice([plain, dated])
        yield chance.choice(_INNOCENT).format(order=order, stamp=stamp, day=year, clock=clock)


_SENTENCES: dict[Entity, list[tuple[str, str]]] = {
    "cn_id": [
        ("{name}的身份证号是", "，订单号{order}。"),
        ("请核对：{name}，", "，流水号：{order}"),
        ("ID of {name}: ", " (order {order})"),
        ("客户{name}（", "）已实名"),
    ],
    "card": [
        ("{name}的银行卡", "，开户行不详，单号{order}。"),
        ("请转到", "，户名{name}"),
        ("card of {name}: ", ", order no. {order}."),
        ("卡号：", "（{name}）"),
    ],
    "phone": [
        ("{name}的手机是", "，订单{order}。"),
        ("请打", "找{name}"),
        ("{name},", ",order_id={order}"),
        ("电话：", "，快递单号 {order}"),
    ],
}
_INNOCENT = [
    "订单号：{order}，请查收",
    "您的订单{order}已发货",
    "快递单号{order}",
    "流水号 {order} 已入账",
    "时间戳{stamp}",
    "交易号{order}",
    "order {order} has been shipped",
    "Order no. {order} is late",
    '{{"order_id": "{order}", "created": {stamp}}}',
    "tracking number {order}",
    "invoice #{order} of {day}",
    "timestamp={stamp} level=info",
    "at {stamp} the job began",
    "log-{day}-{clock}.txt",
    "transaction id {order} failed",
    "{day} {clock} started",
    "{day}{clock} started",
    "ticket {order} is open",
    "单据编号:{order}",
    "trace_id={order} took 5 ms",
]


def _spans(rows: list[dict[str, object]]) -> Iterator[tuple[int, int, Entity]]:
    for row in rows:
        kind = LABELS.get(str(row["entity_type"]))
        if kind is not None:
            yield int(str(row["start_position"])), int(str(row["end_position"])), kind


def _resident(chance: random.Random, regions: Sequence[str]) -> tuple[Entity, str]:
    day = f"{chance.randrange(1940, 2024)}{chance.randrange(1, 13):02}{chance.randrange(1, 29):02}"
    body = chance.choice(regions) + day + _digits(chance, 3)
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    check = "10X98765432"[sum(int(one) * weight for one, weight in zip(body, weights, strict=True)) % 11]
    return "cn_id", body + chance.choice([check, check.lower()])


def _card(chance: random.Random, regions: Sequence[str]) -> tuple[Entity, str]:
    start, size = chance.choice([("62", 16), ("62", 19), ("4", 16), ("51", 16), ("37", 15)])
    body = start + _digits(chance, size - 1 - len(start))
    doubled = sum(sum(divmod(int(one) * 2, 10)) for one in body[::-1][::2]) + sum(int(one) for one in body[::-1][1::2])
    digits = body + str(-doubled % 10)
    grouped = " ".join(digits[at : at + 4] for at in range(0, size, 4))
    return "card", chance.choice([digits, grouped]) if size in {16, 19} else digits


def _mobile(chance: random.Random, regions: Sequence[str]) -> tuple[Entity, str]:
    digits = "1" + chance.choice("3456789") + _digits(chance, 9)
    forms = [
        "{0}{1}{2}",
        "{0} {1} {2}",
        "{0}-{1}-{2}",
        "+86{0}{1}{2}",
        "+86 {0} {1} {2}",
        "+86-{0}{1}{2}",
        "86{0}{1}{2}",
    ]
    return "phone", chance.choice(forms).format(digits[:3], digits[3:7], digits[7:])


def _digits(chance: random.Random, count: int) -> str:
    return "".join(chance.choices("0123456789", k=count))
