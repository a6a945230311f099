"""Words beside a number that tell what it is. They are looked for in a few characters before, seldom after."""

from __future__ import annotations

import re
from typing import NamedTuple

REACH = 48
"""How many characters before a number are looked at; a stream keeps as many of what it has sent."""


class Clue(NamedTuple):
    """Words that tell something. ``stems``, in small letters, are a part of each: most texts have none."""

    stems: re.Pattern[str]
    words: re.Pattern[str]

    def search(self, said: str) -> bool:
        """Is one of the words in *said*?"""
        return said != "" and self.stems.search(_small(said)) is not None and self.words.search(said) is not None


def _small(said: str) -> str:
    return said.lower() if said.isascii() else said.lower().replace("ı", "i")


def _clue(stems: str, words: str) -> Clue:
    return Clue(re.compile(stems), re.compile("(?i)" + words))


PHONE = _clue(
    r"phone|tel|mobile|cell|fax|whatsapp|call|dial|text|reach|answering|contact"
    r"|电话|手机|联系|致电|拨打|座机|传真|来电|短信|微信",
    r"\b(?:phone|tel|telephone|mobile|cell|fax|whatsapp|call(?:ed|ing)?|dial|text(?:ed)? (?:me|him|her|us)"
    r"|reach(?:ed)? (?:me|you|him|her|us|them)|answering at|contact)\b"
    r"|电话|手机|联系|致电|拨打|座机|传真|来电|短信|微信",
)
AFTER_PHONE = re.compile(r"(?i) ?[-(,]? ?(?:office|fax|mobile|cell|home|work)\b")
CARD = _clue(
    r"card|visa|amex|credit|debit|maestro|jcb|discover|diners|卡|银联|账号",
    r"\b(?:cards?|visa|master ?card|amex|credit|debit|maestro|jcb|discover|diners)\b|卡|银联|账号",
)
ORDER = _clue(
    r"order|invoice|track|ticket|ref|serial|txn|transaction|sku|batch|case|parcel|shipment|time|date|trace|request"
    r"|session|job|build|version|isbn|ean|barcode|product|item|part"
    r"|订单|单号|流水|编号|运单|快递|时间|批次|批号|交易|序列|工单|条码|货号|单据|发票",
    r"(?:\b(?:order|invoice|tracking|track|ticket|ref|reference|serial|txn|transaction|sku|batch|case|parcel|shipment"
    r"|timestamp|time|date|trace|request|session|job|build|version|isbn|ean|barcode|product|item|part)s?"
    r"[ _-]?(?:no|nr|number|num|id|code)?\.?"
    r"|(?:订单|单号|流水|编号|运单|快递|时间戳|时间|批次|批号|交易|序列|工单|条码|货号|单据|发票)[号码]{0,2})"
    r"(?: is| was|是|为)?[\s:：#=\"'(]*$",
)
SSN = _clue(r"ssn|social security|tax|tin", r"\bssns?\b|social security|tax(?:payer)? id|\btin\b")
PASSPORT = _clue("passport|护照|護照", "passport|护照|護照")
PERMIT = _clue(
    "permit|mtp|home return|回乡证|通行证|台胞证|往来|港澳|臺胞|回鄉",
    r"permit|mtp\b|home return|回乡证|通行证|台胞证|往来|港澳|臺胞|回鄉",
)
RESIDENT = _clue(
    "身份证|身份號|公民身份|证件号|resident|id card|identity card",
    r"身份证|身份號|公民身份|证件号|resident|\bid card|identity card",
)
VERSION = _clue("v|release|build|版本", r"(?:\bv|version|release|build|版本)[号\s:：=]*$")


_ANY = re.compile("|".join(one.stems.pattern for one in (PHONE, CARD, ORDER, SSN, PASSPORT, PERMIT, RESIDENT)))


def before(text: str, start: int, run: int | None = None) -> str:
    """The characters before *start*, of the same line, if one of the words may be among them; else nothing.

    So it is where *start* lies far enough inside a run of digits, which begins at *run*.
    """
    if run is not None and start - REACH >= run:
        return ""
    said = line_before(text, start)
    return said if _ANY.search(_small(said)) is not None else ""


def line_before(text: str, start: int) -> str:
    """The characters before *start* that may tell something, of the same line."""
    return text[max(0, start - REACH) : start].rpartition("\n")[2]
