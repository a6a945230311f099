"""Check digits and structures of numbers: what separates a card from any sixteen digits."""

from __future__ import annotations

import datetime
import math
from collections import Counter

PROVINCES = frozenset(
    "11 12 13 14 15 21 22 23 31 32 33 34 35 36 37 41 42 43 44 45 46 50 51 52 53 54 61 62 63 64 65 71 81 82 83".split()
)
"""The first two digits of a region by GB/T 2260; the rest changes over the years and stays in old numbers."""

IBAN_LENGTHS = {
    code: int(size)
    for code, size in (
        pair.split(":")
        for pair in (
            "AD:24 AE:23 AL:28 AT:20 AZ:28 BA:20 BE:16 BG:22 BH:22 BI:27 BR:29 BY:28 CH:21 CR:22 CY:28 CZ:24 DE:22 DJ:27 "
            "DK:18 DO:28 EE:20 EG:29 ES:24 FI:18 FK:18 FO:18 FR:27 GB:22 GE:22 GI:23 GL:18 GR:27 GT:28 HN:28 HR:21 HU:28 "
            "IE:22 IL:23 IQ:23 IS:26 IT:27 JO:30 KW:30 KZ:20 LB:28 LC:32 LI:21 LT:20 LU:20 LV:21 LY:25 MC:27 MD:24 ME:22 "
            "MK:19 MN:20 MR:27 MT:31 MU:30 NI:28 NL:18 NO:15 OM:23 PK:24 PL:28 PS:29 PT:25 QA:29 RO:24 RS:22 RU:33 SA:24 "
            "SC:31 SD:18 SE:24 SI:19 SK:24 SM:27 SO:23 ST:25 SV:28 TL:23 TN:24 TR:26 UA:29 VA:22 VG:24 XK:20 YE:30"
        ).split()
    )
}

_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
_ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_COMPANY = {one: value for value, one in enumerate("0123456789ABCDEFGHJKLMNPQRTUWXY")}
_COMPANY_WEIGHTS = (1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28)


def luhn(digits: str) -> bool:
    """The check digit of cards (ISO/IEC 7812)."""
    values = [int(one) for one in reversed(digits)]
    return (sum(values[::2]) + sum(_DOUBLED[one] for one in values[1::2])) % 10 == 0


def is_card_of_a_brand(digits: str) -> bool:
    """Do issuer and length belong together?"""
    size, two, four = len(digits), int(digits[:2]), int(digits[:4])
    if digits[0] == "4":
        return size in {16, 19}
    if 51 <= two <= 55 or 2221 <= four <= 2720:
        return size == 16
    if two in {34, 37}:
        return size == 15
    if two in {36, 38, 39} or 3000 <= four <= 3059:
        return size == 14
    return size in range(16, 20) and (two in {60, 62, 64, 65, 81} or 3528 <= four <= 3589 or 2200 <= four <= 2204)


def is_resident_id(text: str) -> bool:
    """The resident's identity number of China: 18 characters (GB 11643), or the older 15 digits."""
    if text[:2] not in PROVINCES or text[2:4] == "00":
        return False
    if len(text) == 15:
        return _is_date("19" + text[6:12])
    total = sum(int(one) * weight for one, weight in zip(text[:17], _ID_WEIGHTS, strict=True))
    return _is_date(text[6:14]) and "10X98765432"[total % 11] == text[17].upper()


def is_company_code(text: str) -> bool:
    """The unified social credit code of China (GB 32100)."""
    values = [_COMPANY.get(one, -1) for one in text.upper()]
    if len(values) != 18 or -1 in values or text[2:4] not in PROVINCES | {"10"}:
        return False
    total = sum(value * weight for value, weight in zip(values[:17], _COMPANY_WEIGHTS, strict=True))
    return (31 - total % 31) % 31 == values[17]


def is_iban(text: str) -> bool:
    """An account number by ISO 13616, without spaces."""
    text = text.upper()
    if len(text) != IBAN_LENGTHS.get(text[:2]):
        return False
    return int("".join(str(int(one, 36)) for one in text[4:] + text[:4])) % 97 == 1


def is_ssn(digits: str) -> bool:
    """Nine digits that the US Social Security Administration could have given to somebody."""
    return digits[:3] not in {"000", "666"} and digits[0] != "9" and digits[3:5] != "00" and digits[5:] != "0000"


def entropy(text: str) -> float:
    """Bits per character."""
    size = len(text)
    return -sum(count / size * math.log2(count / size) for count in Counter(text).values())


def _is_date(digits: str) -> bool:
    try:
        year = datetime.date(int(digits[:4]), int(digits[4:6]), int(digits[6:8])).year
    except ValueError:
        return False
    return 1850 <= year <= 2100
