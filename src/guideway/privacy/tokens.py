"""Everything that is no run of digits: addresses of mail and machines, documents, accounts, keys and passwords."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from guideway.privacy import checks, words
from guideway.privacy.found import LEFT, Candidate, stands_alone, starts_alone

EMAIL = (
    rb"[A-Za-z0-9._%+'?\-\x80-\xff]*[A-Za-z0-9_%+?\-\x80-\xff](?:@|%40)[A-Za-z0-9](?:[A-Za-z0-9\-]*\.)+[A-Za-z]{2,24}"
)
URL = rb"[A-Za-z][A-Za-z0-9+.\-]*:(?:\\?/){2}[^\s/@\"'<>:\\?]*:[^\s/@\"'<>\\]+@[A-Za-z0-9.\-\[\]]+(?::[0-9]{1,5})?"
IPV4 = rb"[0-9]{1,3}(?:\.[0-9]{1,3}){3}"
IPV6 = rb"[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?:[0-9A-Fa-f]:[0-9.]{7,15})?"
MAC = (
    rb"[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}|[0-9A-Fa-f]{2}(?:-[0-9A-Fa-f]{2}){5}|[0-9A-Fa-f]{4}(?:\.[0-9A-Fa-f]{4}){2}"
)
DOCUMENT = rb"[A-Za-z]{0,2}[0-9]{6,10}"
COMPANY = rb"[0-9A-HJ-NP-RTUWXYa-hj-np-rtuwxy]{2}[0-9]{6}[0-9A-HJ-NP-RTUWXYa-hj-np-rtuwxy]{10}"
IBAN = rb"[A-Za-z]{2}[0-9]{2}(?:[ \-]?[A-Za-z0-9]){11,30}"
KEY = (
    rb"(?:sk|pk|rk)-[A-Za-z0-9_\-]{20,}|(?:sk|pk|rk|whsec)_(?:live_|test_)?[A-Za-z0-9]{16,}|(?:AKIA|ASIA)[A-Z0-9]{16}"
    rb"|gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{22,}|glpat-[A-Za-z0-9_\-]{20,}|xox[abeoprs]-[A-Za-z0-9\-]{10,}"
    rb"|AIza[A-Za-z0-9_\-]{35}|ya29\.[A-Za-z0-9_\-]{20,}|hf_[A-Za-z0-9]{30,}|npm_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_\-]{40,}"
    rb"|SG\.[A-Za-z0-9_\-]{16,}\.[A-Za-z0-9_\-]{16,}|gw-[A-Za-z0-9_\-]{32,}|LTAI[A-Za-z0-9]{12,}"
    rb"|eyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]*"
    rb"|hooks\.slack\.com/services/[A-Za-z0-9/]{20,}"
)
PRIVATE = (
    rb"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
    rb"(?:[A-Za-z0-9+/=\s\\:,.]|-[^-])*(?:-----END[A-Z0-9 ]*-----)?"
)
NAMED = (
    rb"(?i)(api[_\- ]?key|access[_\- ]?key(?:[_ ]id)?|secret(?:[_\- ]?(?:access[_\- ]?)?key)?"
    rb"|passw(?:or)?d|passwd|pwd|passphrase|(?:auth|access|refresh)?[_\- ]?token|bearer|credential|private[_\- ]?key)"
    rb"[\"'\\]{0,3}(?:[ \t]{0,3}(?:is|:?=>?|:)[ \t]{0,3}|[ \t])[\"'\\]{0,3}([^\s\"'\\,;<>(){}\[\]]{6,})"
)
HAN_WORDS = ("密码", "口令", "密钥", "令牌", "秘钥", "密碼")

_HAN = re.compile(
    r"(?:密码|口令|密钥|令牌|秘钥|密碼)\s?(?:是|为|為|[:=])?\s?[\"'“「]?([^\s\"'\\,;<>(){}\[\]\u0080-\uffff]{6,})"
)
_TAKEN = re.compile(r"[A-Za-z]{4,12}[.!?:]?|[*x.•]+|\$\{?.*|<.*|%.*%|.*\(.*", re.IGNORECASE)
_ACCOUNT = re.compile(LEFT + rf"(?=({IBAN.decode()}))")
_CHINESE_PASSPORT = re.compile(r"E[A-HJ-NP-Za-hj-np-z][0-9]{7}|[EG][0-9]{8}|[DSP]E?[0-9]{7,8}|1[45][0-9]{7}")
_PERMIT = re.compile(r"[HMhm][0-9]{10}")
_AT = re.compile("@|%40")
_TRAILING = ".,;:!?'-"


def read_email(text: str, start: int, end: int) -> Iterator[Candidate]:
    """An address of electronic mail. Letters of other alphabets belong to it, Han does not."""
    at = _AT.search(text, start, end)
    stop = at.start() if at else end
    for place in range(start, stop):
        if not _is_local(text[place]):
            start = place + 1
    if start == stop:
        return
    while start < end and text[start] in ".'%+-":
        start += 1
    escaped = text[max(0, start - 1) : start] == "\\" and text[start] in "nrtbf"
    yield Candidate(start + escaped, end, "email", 65)


def read_url(_text: str, start: int, end: int) -> Iterator[Candidate]:
    """A URL with user and password, to the end of the host."""
    yield Candidate(start, end, "url_credentials", 95)


def read_ipv4(text: str, start: int, end: int) -> Iterator[Candidate]:
    """An address of the internet, version 4; a number of a version is none."""
    around = text[max(0, start - 1) : start], text[end : end + 2]
    dotted = around[0] == "." or (around[1][:1] == "." and around[1][1:].isdigit())
    if dotted or not stands_alone(text, start, end) or words.VERSION.search(words.line_before(text, start)):
        return
    if all(int(part) <= 255 and (part == "0" or part[0] != "0") for part in text[start:end].split(".")):
        yield Candidate(start, end, "ip", 78)


def read_ipv6(text: str, start: int, end: int) -> Iterator[Candidate]:
    """An address of the internet, version 6."""
    token = text[start:end]
    if token.endswith(":") and not token.endswith("::"):
        end, token = end - 1, token[:-1]
    groups = [part for part in token.split(":") if part]
    if len(groups) < 3 and not ("::" in token and len(groups) == 2 and any(map(str.isdigit, token))):
        return
    if stands_alone(text, start, end) and text[max(0, start - 1) : start] != ":" and _is_address(token):
        yield Candidate(start, end, "ip", 78)


def read_mac(text: str, start: int, end: int) -> Iterator[Candidate]:
    """An address of a network card."""
    if stands_alone(text, start, end) and text[end : end + 1] not in {":", "-"}:
        yield Candidate(start, end, "mac", 79)


def read_document(text: str, start: int, end: int) -> Iterator[Candidate]:
    """A passport or a travel permit: by its form where that is enough, else by a word before it."""
    token = text[start:end]
    if not stands_alone(text, start, end):
        return
    said = words.before(text, start)
    if words.PERMIT.search(said) or (len(token) == 11 and _PERMIT.fullmatch(token) and not words.ORDER.search(said)):
        if len(token) >= 8:
            yield Candidate(start, end, "travel_permit", 68)
    elif words.PASSPORT.search(said):
        yield Candidate(start, end, "passport", 68)
    elif token[0].isalpha() and _CHINESE_PASSPORT.fullmatch(token) and not words.ORDER.search(said):
        yield Candidate(start, end, "passport", 45)


def read_company(text: str, start: int, end: int) -> Iterator[Candidate]:
    """A unified social credit code."""
    if text[start:end].isdigit() and words.ORDER.search(words.before(text, start)):
        return
    if stands_alone(text, start, end) and checks.is_company_code(text[start:end]):
        yield Candidate(start, end, "cn_company", 72)


def read_ibans(text: str) -> Iterator[Candidate]:
    """Every account number: what looks like the beginning of one may run over the beginning of the next."""
    for begun in _ACCOUNT.finditer(text):
        yield from read_iban(text, begun.start(), begun.start() + len(begun[1]))


def read_iban(text: str, start: int, end: int) -> Iterator[Candidate]:
    """An account number; what stands behind it in the same run of letters is not part of it."""
    size = checks.IBAN_LENGTHS.get(text[start : start + 2].upper(), 0)
    stop, taken = start, 0
    while taken < size and stop < end:
        taken += text[stop] not in " -"
        stop += 1
    if taken == size > 0 and stands_alone(text, start, stop) and checks.is_iban(re.sub("[ -]", "", text[start:stop])):
        yield Candidate(start, stop, "iban", 88)


def read_key(text: str, start: int, end: int) -> Iterator[Candidate]:
    """A key of a form that its issuer is known by."""
    if starts_alone(text, start):
        yield Candidate(start, end, "secret", 92)


def read_private(_text: str, start: int, end: int) -> Iterator[Candidate]:
    """A private key in PEM, whole or cut off."""
    yield Candidate(start, end, "secret", 99)


def read_named(text: str, start: int, end: int) -> Iterator[Candidate]:
    """What stands behind a word like *password* and looks like one."""
    found = _NAMED.fullmatch(text, start, end)
    if found and _is_secret(found[1], found[2], _TRAILING):
        yield Candidate(found.start(2), found.end(2) - _surplus(found[2]), "secret", 58)


def read_han(text: str) -> Iterator[Candidate]:
    """The same behind a Chinese word."""
    for found in _HAN.finditer(text):
        if _is_secret("password", found[1], _TRAILING):
            yield Candidate(found.start(1), found.end(1) - _surplus(found[1]), "secret", 58)


def _is_local(one: str) -> bool:
    return one != "?" if one.isascii() else one.isalpha() and one < "\u2e80"


def _surplus(token: str) -> int:
    return len(token) - len(token.rstrip(_TRAILING[:-1])) if token[-1] in ".,;:" else 0


def _is_secret(word: str, value: str, trailing: str) -> bool:
    value = value.rstrip(trailing)
    kinds = sum(bool(re.search(kind, value)) for kind in ("[a-z]", "[A-Z]", "[0-9]", "[^A-Za-z0-9]"))
    if len(value) < 6 or _TAKEN.fullmatch(value):
        return False
    if word.lower().startswith(("pass", "pwd")):
        return kinds >= 2 and bool(re.search("[0-9]|[^A-Za-z0-9._-]", value))
    return len(value) >= 12 and kinds >= 2 and checks.entropy(value) >= 2.8 and bool(re.search("[0-9]", value))


def _is_address(token: str) -> bool:
    try:
        ipaddress.IPv6Address(token)
    except ValueError:
        return False
    return True


_NAMED = re.compile(NAMED.decode())
