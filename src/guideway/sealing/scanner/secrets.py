"""Secrets in any text: each kind by its own shape, and each candidate looked at before it counts.

Checksums inside tokens are not used to let a candidate pass: a wrong guess about one would hide a real secret.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

from guideway.sealing.scanner.source import Bytes

Judge = Callable[[bytes], bool]


class Secret(NamedTuple):
    """What kind of secret was found, and on which line; never the secret."""

    rule: str
    line: int


class Rule(NamedTuple):
    """A kind of secret: its name, letters that its text must hold, its shape, and what its value must be like.

    The value is the group ``value`` of *shape*, or else all of it.
    """

    name: str
    hints: tuple[bytes, ...]
    shape: re.Pattern[bytes]
    real: Judge


def find_secrets(text: str | Bytes) -> list[Secret]:
    """The secrets in *text*, in the order of their lines; bytes may be a mapped file."""
    data: Bytes = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    found = {(match.start(), rule.name) for rule in RULES for match in _matches(rule, data)}
    lines = _Lines(data)
    return list(dict.fromkeys(Secret(name, lines.of(place)) for place, name in sorted(found)))


def _matches(rule: Rule, data: Bytes) -> Iterator[re.Match[bytes]]:
    if rule.hints and not any(data.find(hint) >= 0 for hint in rule.hints):
        return
    for match in rule.shape.finditer(data):
        value = match["value"] if "value" in rule.shape.groupindex else match[0]
        if not _PLACEHOLDER.search(value) and rule.real(value):
            yield match


class _Lines:
    """Counts lines up to places that come in order."""

    def __init__(self, data: Bytes) -> None:
        self._data, self._place, self._line = data, 0, 1

    def of(self, place: int) -> int:
        while (found := self._data.find(b"\n", self._place, place)) >= 0:
            self._place, self._line = found + 1, self._line + 1
        return self._line


_PLACEHOLDER = re.compile(
    rb"(?i)x{4,}|\*{3,}|\.{3}|<|>|\$\{|\{\{|%\(|your|example|placeholder|change.?me|dummy|redacted|replace.?(?:me|with)"
    rb"|secret.?here|insert.?|0{8}|1234567890|0123456789|abcdefgh|sample|_here\b"
)


def entropy(value: bytes) -> float:
    """Bits per character of *value*, from its own letters."""
    counts = Counter(value)
    return -sum(count / len(value) * math.log2(count / len(value)) for count in counts.values())


def _random(bits: float) -> Judge:
    return lambda value: entropy(value) >= bits


def _mixed(value: bytes) -> bool:
    """Letters and digits without order, as no word and no number has them."""
    kinds = (re.search(rb"[a-z]", value), re.search(rb"[A-Z]", value), re.search(rb"\d", value))
    words = re.fullmatch(rb"[A-Za-z]+(?:[_.\-/][A-Za-z0-9]{1,12})*", value)
    return bool(kinds[2]) and bool(kinds[0] or kinds[1]) and not words and entropy(value) >= 3.5


def _token(value: bytes) -> bool:
    """A JSON web token: a header that names an algorithm, and a body that is an object."""
    parts = value.split(b".")
    try:
        header, body = (json.loads(base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))) for part in parts[:2])
    except (ValueError, binascii.Error, RecursionError):
        return False
    return isinstance(header, dict) and "alg" in header and isinstance(body, dict)


def _password(value: bytes) -> bool:
    """Not a variable, and not one of the words that stand for a password in examples."""
    usual = (
        rb"(?i)pass(?:word|wd)?\d*|pw|pwd|secret|user(?:name)?|token|key|foo|bar|baz|test\w*|admin|root|postgres|guest"
    )
    return not re.fullmatch(usual, value) and not value.startswith((b"$", b"{", b"%s", b"[", b"<")) and len(value) >= 5


def _key_text(value: bytes) -> bool:
    """Enough of the body of a key that it is not only spoken of."""
    body = re.sub(rb"\\[rn]|\s", b"", value)
    return len(re.findall(rb"[A-Za-z0-9+/=]", body)) >= 64 and entropy(body) >= 4.0


def _rule(name: str, hints: str, shape: str, real: Judge, *, anchored: bool = True) -> Rule:
    edges = (r"(?<![A-Za-z0-9_])", r"(?![A-Za-z0-9_])") if anchored else ("", "")
    return Rule(
        name, tuple(hint.encode() for hint in hints.split()), re.compile((edges[0] + shape + edges[1]).encode()), real
    )


RULES: tuple[Rule, ...] = (
    _rule(
        "private key",
        "PRIVATE",
        r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----(?P<value>[^-]{64,8192})",
        _key_text,
        anchored=False,
    ),
    _rule("AWS access key", "AKIA ASIA ABIA ACCA", r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}", _random(3.0)),
    _rule(
        "AWS secret key",
        "ecret",
        r"(?:[aA](?i:ws_?secret(?:_?access)?_?key)|[sS](?i:ecret_?access_?key))[\"']?\s{0,4}[:=]\s{0,4}[\"']?(?P<value>[A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])",
        _random(4.0),
        anchored=False,
    ),
    _rule("Google API key", "AIza", r"AIza[0-9A-Za-z_\-]{35}", _random(3.5)),
    _rule("Google client secret", "GOCSPX-", r"GOCSPX-[0-9A-Za-z_\-]{28}", _random(3.5)),
    _rule("Google access token", "ya29.", r"ya29\.[0-9A-Za-z_\-]{30,400}", _random(4.0)),
    _rule(
        "Azure storage key", "AccountKey=", r"AccountKey=(?P<value>[A-Za-z0-9+/]{86}==)", _random(4.5), anchored=False
    ),
    _rule("Azure client secret", "Q~", r"(?P<value>[A-Za-z0-9_~.]{3}\dQ~[A-Za-z0-9_~.\-]{31,34})", _random(4.0)),
    _rule(
        "Azure shared access signature",
        "sig=",
        r"[?&;]sig=(?P<value>[A-Za-z0-9%+/]{43,80}(?:=|%3D))",
        _random(4.0),
        anchored=False,
    ),
    _rule("GitHub token", "ghp_ gho_ ghu_ ghs_ ghr_", r"gh[pousr]_[A-Za-z0-9]{36,255}", _random(3.8)),
    _rule("GitHub token", "github_pat_", r"github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}", _random(4.0)),
    _rule(
        "GitLab token",
        "glpat- gldt- glrt- glcbt- glptt- glft- glimt- glagent- gloas- glsoat-",
        r"gl(?:pat|dt|rt|cbt|ptt|ft|imt|agent|oas|soat)-[0-9A-Za-z_\-.]{20,64}",
        _random(3.5),
    ),
    _rule("Slack token", "xox xapp-", r"(?:xox[abeoprs]|xapp)-[0-9A-Za-z]{1,}-[0-9A-Za-z\-]{10,250}", _random(3.0)),
    _rule(
        "Slack webhook",
        "hooks.slack.com",
        r"hooks\.slack\.com/(?:services|workflows)/T\w{6,12}/\w{6,14}/\w{20,30}",
        _random(3.5),
    ),
    _rule("Hugging Face token", "hf_ api_org_", r"(?:hf_|api_org_)[A-Za-z0-9]{34,40}", _random(3.8)),
    _rule(
        "OpenAI key",
        "T3BlbkFJ",
        r"sk-(?:[a-z]{2,10}-)?[A-Za-z0-9_\-]{20,80}T3BlbkFJ[A-Za-z0-9_\-]{20,80}",
        _random(4.0),
    ),
    _rule("API key (sk-)", "sk-", r"sk-(?:proj-|or-v1-|svcacct-)?[A-Za-z0-9]{32,64}", _random(3.6)),
    _rule("Anthropic key", "sk-ant-", r"sk-ant-[a-z]{3,8}\d\d-[A-Za-z0-9_\-]{80,120}", _random(4.0)),
    _rule("Stripe key", "k_live_", r"[sr]k_live_[0-9A-Za-z]{24,99}", _random(3.5)),
    _rule("npm token", "npm_", r"npm_[A-Za-z0-9]{36}", _random(3.8)),
    _rule("PyPI token", "pypi-AgE", r"pypi-AgE[A-Za-z0-9_\-]{50,250}", _random(4.0)),
    _rule("SendGrid key", "SG.", r"SG\.[A-Za-z0-9_\-]{22}\.[A-Za-z0-9_\-]{43}", _random(4.0)),
    _rule("Telegram bot token", ":AA", r"\d{8,10}:AA[A-Za-z0-9_\-]{33}", _random(4.0)),
    _rule("DigitalOcean token", "_v1_", r"do[opr]_v1_[a-f0-9]{64}", _random(3.0)),
    _rule("Guideway key", "gw-", r"gw-[A-Za-z0-9_\-]{43}", _random(4.0)),
    _rule(
        "JSON web token",
        "eyJ",
        r"(?<![\-.])eyJ[A-Za-z0-9_\-]{8,2048}\.eyJ[A-Za-z0-9_\-]{4,8192}\.[A-Za-z0-9_\-]{16,2048}",
        _token,
    ),
    _rule(
        "password in a URL",
        "://",
        r"(?<![a-zA-Z0-9])[a-zA-Z][a-zA-Z0-9+.\-]{1,20}://[^\s:/@\"'<>\\?#]{1,128}:(?P<value>[^\s:/@\"'<>\\?#]{1,256})@[A-Za-z0-9\[]",
        _password,
        anchored=False,
    ),
    _rule(
        "password or key",
        "",
        r"[aAcCkKpPsStT](?i:(?<=a)pi_?key|(?<=a)pi-key|(?<=a)ccess_?(?:key|token)|(?<=a)uth_?token|(?<=c)lient_?secret|(?<=k)ey_?secret"
        r"|(?<=p)assw(?:or)?d|(?<=p)asswd|(?<=p)rivate_?key|(?<=s)ecret(?:_?key)?|(?<=t)oken)"
        r"[\"']?[ \t]{0,4}(?::|=|:=)[ \t]{0,4}[\"']?(?P<value>[A-Za-z0-9_\-+/.~!@%^]{16,200}=?=?)",
        _mixed,
        anchored=False,
    ),
)
"""All kinds; a text is searched for each whose hints it holds."""
