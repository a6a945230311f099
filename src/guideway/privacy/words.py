"""Words beside a number that tell what it is. They are looked for in a few characters before, seldom after."""

from __future__ import annotations

import re

REACH = 48
"""How many characters before a number are looked at; a stream keeps as many of what it has sent."""

PHONE = re.compile(
    r"(?i)\b(?:phone|tel|telephone|mobile|cell|fax|whatsapp|call(?:ed|ing)?|dial|text(?:ed)? (?:me|him|her|us)"
    r"|reach(?:ed)? (?:me|you|him|her|us|them)|answering at|contact)\b"
    r"|电话|手机|联系|致电|拨打|座机|传真|来电|短信|微信"
)
AFTER_PHONE = re.compile(r"(?i) ?[-(,]? ?(?:office|fax|mobile|cell|home|work)\b")
CARD = re.compile(r"(?i)\b(?:cards?|visa|master ?card|amex|credit|debit|maestro|jcb|discover|diners)\b|卡|银联|账号")
ORDER = re.compile(
    r"(?i)(?:\b(?:order|invoice|tracking|track|ticket|ref|reference|serial|txn|transaction|sku|batch|case|parcel|shipment"
    r"|timestamp|time|date|trace|request|session|job|build|version|isbn|ean|barcode|product|item|part)s?"
    r"[ _-]?(?:no|nr|number|num|id|code)?\.?"
    r"|(?:订单|单号|流水|编号|运单|快递|时间戳|时间|批次|批号|交易|序列|工单|条码|货号|单据|发票)[号码]{0,2})"
    r"(?: is| was|是|为)?[\s:：#=\"'(]*$"
)
SSN = re.compile(r"(?i)\bssns?\b|social security|tax(?:payer)? id|\btin\b")
PASSPORT = re.compile(r"(?i)passport|护照|護照")
PERMIT = re.compile(r"(?i)permit|mtp\b|home return|回乡证|通行证|台胞证|往来|港澳|臺胞|回鄉")
RESIDENT = re.compile(r"(?i)身份证|身份號|公民身份|证件号|resident|\bid card|identity card")
VERSION = re.compile(r"(?i)(?:\bv|version|release|build|版本)[号\s:：=]*$")


def before(text: str, start: int) -> str:
    """The characters before *start* that may tell something, of the same line."""
    return text[max(0, start - REACH) : start].rpartition("\n")[2]
