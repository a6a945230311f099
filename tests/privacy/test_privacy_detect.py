"""What is found in a text, what is not, and that no disguise helps."""

from __future__ import annotations

import base64
import subprocess
import sys

import pytest

from guideway.privacy.detect import find, suspicious

FOUND = [
    ("write to jo.doe+x@mail.example.com today", "jo.doe+x@mail.example.com", "email"),
    ("邮箱zhang.san@example.com.cn请查收", "zhang.san@example.com.cn", "email"),
    ("пишите иван.petrov@example.com", "иван.petrov@example.com", "email"),
    ("mail jоhn@example.com", "jоhn@example.com", "email"),
    ("写信给“jo@example.com”吧", "jo@example.com", "email"),
    ("call +49 151 23456789 now", "+49 151 23456789", "phone"),
    ("call (212) 555-0187 now", "(212) 555-0187", "phone"),
    ("ring 212-555-0187.", "212-555-0187", "phone"),
    ("电话13812345678，谢谢", "13812345678", "phone"),
    ("电话+86 138 1234 5678，谢谢", "+86 138 1234 5678", "phone"),
    ("座机010-62781234转", "010-62781234", "phone"),
    ("pay with 4111 1111 1111 1111 please", "4111 1111 1111 1111", "card"),
    ("卡号6222021234567890128，", "6222021234567890128", "card"),
    ("amex 378282246310005 ok", "378282246310005", "card"),
    ("身份证11010519491231002X。", "11010519491231002X", "cn_id"),
    ("身份证号码 130503670401001 的", "130503670401001", "cn_id"),
    ("代码91350100M000100Y43", "91350100M000100Y43", "cn_company"),
    ("护照E12345678到期", "E12345678", "passport"),
    ("my passport is 512345678 and", "512345678", "passport"),
    ("通行证H1234567890", "H1234567890", "travel_permit"),
    ("to DE89 3704 0044 0532 0130 00, thanks", "DE89 3704 0044 0532 0130 00", "iban"),
    ("IBAN GB82WEST12345698765432.", "GB82WEST12345698765432", "iban"),
    ("SSN 536-22-8145", "536-22-8145", "us_ssn"),
    ("my ssn is 536228145", "536228145", "us_ssn"),
    ("from 192.168.17.4 to", "192.168.17.4", "ip"),
    ("from 2001:db8::8a2e:370:7334 to", "2001:db8::8a2e:370:7334", "ip"),
    ("card 00:1B:44:11:3A:B7 here", "00:1B:44:11:3A:B7", "mac"),
    ("use postgres://al:s3cr3t@db.example.com:5432/x", "postgres://al:s3cr3t@db.example.com:5432", "url_credentials"),
    ("key sk-proj-abcdefghijklmnop1234567890 leaked", "sk-proj-abcdefghijklmnop1234567890", "secret"),
    ("key sk-ant-api03-abcdefghijklmnop1234 leaked", "sk-ant-api03-abcdefghijklmnop1234", "secret"),
    ("AKIAIOSFODNN7EXAMPLE is aws", "AKIAIOSFODNN7EXAMPLE", "secret"),
    ("ghp_abcdefghijklmnopqrstuvwxyz0123456789", "ghp_abcdefghijklmnopqrstuvwxyz0123456789", "secret"),
    ("gw-abcdefghijklmnopqrstuvwxyz0123456789", "gw-abcdefghijklmnopqrstuvwxyz0123456789", "secret"),
    ("password: hunter2!!x and", "hunter2!!x", "secret"),
    ("密码是Hunter2!!x，", "Hunter2!!x", "secret"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "value", "entity"), FOUND, ids=[f"{entity}-{value[:12]}" for _, value, entity in FOUND]
)
def test_personal_data_is_found_whole(text: str, value: str, entity: str) -> None:
    assert [(text[one.start : one.end], one.entity) for one in find(text)] == [(value, entity)]
    assert suspicious(text)


def test_a_private_key_is_found_with_all_its_lines() -> None:
    key = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\nabcd==\n-----END RSA PRIVATE KEY-----"
    found = find(f"here:\n{key}\nthanks")
    assert [(one.start, one.end, one.entity) for one in found] == [(6, 6 + len(key), "secret")]


@pytest.mark.parametrize(
    "text",
    [
        "order 4111111111111112 was sent",
        "order no. 4111111111111111 was sent",
        "订单号13812345678901234",
        "订单号：13812345678",
        "at 1700000000 or 1700000000123 it was",
        "2026-11-25 18:35:16",
        "on 20261125183516 it was",
        "version 10.2.3.4 is out",
        "身份证110105194912310021",
        "IBAN DE89 3704 0044 0532 0130 01",
        "666-12-3456 is no number",
        "3.14159265358979",
        "the ratio 0.13812345678",
        "commit 4b825dc642cb6eb9a060e54bf8d69288fbee4904",
        "f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
        "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15",
        "pip install a==1.2.3; x@y",
        "password reset is easy, the token expires",
        "std::vector<int> a::b",
        "邮箱@example.com or ??@example.com",
    ],
)
def test_what_only_looks_alike_is_left(text: str) -> None:
    assert find(text) == []


DISGUISES = {
    "full-width": lambda text: "".join(chr(ord(one) + 0xFEE0) if "!" <= one <= "~" else one for one in text),
    "zero-width": "\u200b".join,
    "joiners": "\u2060".join,
    "soft hyphens": "\u00ad".join,
    "base64": lambda text: base64.b64encode(f"it is {text} ok".encode()).decode(),
    "base64 for URLs": lambda text: base64.urlsafe_b64encode(f"它是 {text} 。".encode()).decode().rstrip("="),
    "base64 twice": lambda text: base64.b64encode(base64.b64encode(f"it is {text} ok".encode())).decode(),
    "escapes": lambda text: "".join(f"\\u{ord(one):04x}" for one in text),
    "foreign digits": lambda text: text.translate({ord(str(digit)): chr(0x660 + digit) for digit in range(10)}),
    "between Han": lambda text: f"中{text}文",
}


@pytest.mark.catalogue("B33")
@pytest.mark.parametrize("disguise", DISGUISES)
def test_a_disguise_hides_nothing(disguise: str) -> None:
    values = {
        "jo.doe@example.com": "email", "13812345678": "phone", "+49 151 23456789": "phone", "536-22-8145": "us_ssn",
        "4111 1111 1111 1111": "card", "11010519491231002X": "cn_id", "DE89370400440532013000": "iban",
        "ghp_abcdefghijklmnopqrstuvwxyz0123456789": "secret", "192.168.17.4": "ip",
    }  # fmt: skip
    missed = []
    for value, entity in values.items():
        hidden = DISGUISES[disguise](value)
        text = f"see {hidden} there"
        found = [one for one in find(text) if one.entity == entity]
        spans = [text[one.start : one.end] for one in found]
        if not spans or (disguise != "between Han" and hidden.strip("=") not in spans[0]):
            missed.append((value, spans))
    assert missed == []


def test_of_two_that_overlap_the_surer_one_stays() -> None:
    text = "https://jo:13812345678@example.com/x"
    assert [(one.entity, text[one.start : one.end]) for one in find(text)] == [
        ("url_credentials", "https://jo:13812345678@example.com")
    ]


def test_only_the_kinds_that_are_asked_for_are_told() -> None:
    text = "jo@example.com 192.168.17.4"
    assert [one.entity for one in find(text, {"ip"})] == ["ip"]
    assert find(text, set()) == []


EVIL = {
    "long number after a plus": "+1" + "2" * 20000 + "x",
    "groups after a plus": "+1 23 45" * 4000,
    "open account": "AA00" + "a" * 20000 + "!",
    "digits and spaces": "1 " * 20000,
    "brackets": "(1" * 20000,
    "at signs": "a@" * 20000,
    "colons": "::" * 20000,
    "half a URL": "http://" + "a:" * 20000,
    "passwords": "password " * 5000,
    "beginnings of keys": "-----BEGIN PRIVATE KEY-----" * 1500,
    "dotted": "1.1.1.1." * 5000,
    "escapes": "\\u0031" * 8000,
}


def test_no_text_makes_a_reader_hang() -> None:
    script = "import sys; from guideway.privacy.detect import find; print(len(find(sys.stdin.read())) >= 0)"
    everything = "\n".join(EVIL.values())
    done = subprocess.run(
        [sys.executable, "-c", script], input=everything, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "True\n"
