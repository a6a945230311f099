"""Check digits and structures of numbers: what separates a card from any sixteen digits."""

from __future__ import annotations

import datetime
import math
from collections import Counter
from itertools import accumulate


def _words(text: str) -> list[str]:
    return text.split()


PROVINCES = frozenset(
    _words("11 12 13 14 15 21 22 23 31 32 33 34 35 36 37 41 42 43 44 45 46 50 51 52 53 54 61 62 63 64 65 71 81 82 83")
)
"""The first two digits of a region by GB/T 2260; the rest changes over the years and stays in old numbers."""

IBAN_LENGTHS = {
    one[:2]: int(one[2:])
    for one in _words(
        "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 "
        "EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 "
        "KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 "
        "PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 "
        "UA29 VA22 VG24 XK20 YE30"
    )
}

_ONCE = bytes.maketrans(b"0123456789", bytes(range(10)))
_DOUBLED = bytes.maketrans(b"0123456789", bytes((0, 2, 4, 6, 8, 1, 3, 5, 7, 9)))
_ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_COMPANY = {one: value for value, one in enumerate("0123456789ABCDEFGHJKLMNPQRTUWXY")}
_COMPANY_WEIGHTS = (1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28)


def luhn_sums(digits: str) -> tuple[list[int], list[int]]:
    """What ``luhn_between`` needs of *digits*: sums up to each place, with the even and with the odd ones doubled."""
    plain, doubled = digits.encode().translate(_ONCE), digits.encode().translate(_DOUBLED)
    both = []
    for first in (0, 1):
        values = bytearray(plain)
        values[first::2] = doubled[first::2]
        both.append([0, *accumulate(values)])
    return both[0], both[1]


def luhn_between(sums: tuple[list[int], list[int]], start: int, end: int) -> bool:
    """Are the digits *start* to *end* right by the check digit of cards (ISO/IEC 7812)?"""
    one = sums[end % 2]
    return (one[end] - one[start]) % 10 == 0


def is_card_of_a_brand(digits: str) -> bool:
    """Do issuer and length belong together?"""
    if digits[0] in "0179":
        return False
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
