"""One number of a Prometheus server, now: or why it is not known. Nothing that a server does raises an error here.

What speaks for a candidate is only a fresh, finite number. An empty answer, two series, nan, an infinite value, a
warning (part of the data may be missing), an old answer, a redirect and a web page are all *unknown*.
"""

from __future__ import annotations

import math
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec

from guideway.core.artifact import Digest
from guideway.core.promql import filled
from guideway.core.spec.guards import Guard
from guideway.kit.call import Answer, NoAnswer, call, request

SECONDS = 10.0
"""Until an answer must be there; less for a guard that is asked more often."""
LIMIT = 1 << 20
"""Bytes of an answer. One number is some hundred."""
OLDEST = 60.0
"""Seconds between the server's clock and ours beyond which its answer is not of now."""
TOKEN_LIMIT = 16 * 1024
WORDS = 200
"""Characters of what a server says of an error that are repeated."""


class Subject(msgspec.Struct, frozen=True):
    """What placeholders of a query stand for."""

    environment: str
    rollout: str
    stable: Digest
    candidate: Digest

    @property
    def values(self) -> dict[str, str]:
        """By placeholder; the release that is on its way is the candidate."""
        return {**msgspec.structs.asdict(self), "release": self.candidate}


class Measured(msgspec.Struct, frozen=True):
    """What a guard says. ``value`` None: it is not known, and ``why`` says why not."""

    name: str
    value: float | None
    limit: float
    stops: bool = False
    why: str = ""


class _Unknown(Exception):
    """Why there is no number, as half a sentence."""


def measure(
    guard: Guard,
    subject: Subject,
    *,
    now: Callable[[], float] = time.time,
    given_up: Callable[[], bool] = lambda: False,
) -> Measured:
    """Ask for the number of *guard* now. *now* is the time of day in seconds, *given_up* ends the question early."""
    token = ""
    try:
        token = _token(guard.token_file)
        value, why = _number(_asked(guard, subject, token, given_up), now()), ""
    except _Unknown as reason:
        value, why = None, str(reason)
    except NoAnswer as reason:
        value, why = None, f"Prometheus at {_place(guard)}: {reason}"
    if token:
        why = why.replace(token, "…")
    return Measured(guard.name, value, guard.at_most, guard.stops, why)


def unknown(guard: Guard, why: str) -> Measured:
    """There is no number for *guard*."""
    return Measured(guard.name, None, guard.at_most, guard.stops, why)


def _asked(guard: Guard, subject: Subject, token: str, given_up: Callable[[], bool]) -> Answer:
    parts = urlsplit(guard.prometheus)
    host, seconds = parts.hostname or "", min(SECONDS, guard.every)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    form = {"query": filled(guard.query, subject.values), "timeout": f"{seconds:g}s"}
    headers = [("Content-Type", "application/x-www-form-urlencoded"), ("Accept", "application/json")]
    headers += [("Authorization", f"Bearer {token}")] if token else []
    target, body = f"{parts.path.rstrip('/')}/api/v1/query", urlencode(form).encode()
    data = request("POST", target, parts.netloc, body, tuple(headers))
    tls = _tls(guard.ca_file) if parts.scheme == "https" else None
    return call((host, port), data, seconds=seconds, limit=LIMIT, tls=tls, given_up=given_up)


def _place(guard: Guard) -> str:
    return urlsplit(guard.prometheus).netloc


def _token(file: str) -> str:
    """Read anew for each question, because tokens are renewed."""
    if not file:
        return ""
    try:
        with Path(file).open("rb") as opened:
            text = opened.read(TOKEN_LIMIT + 1).strip()
    except OSError as error:
        raise _Unknown(f"the token in {file} cannot be read: {error.strerror}") from None
    if not text or len(text) > TOKEN_LIMIT or not all(33 <= byte <= 126 for byte in text):
        raise _Unknown(f"{file} holds no token: one line without spaces is needed")
    return text.decode("ascii")


def _tls(file: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=file or None)
    except (ssl.SSLError, OSError):
        raise _Unknown(f"there is no certificate in {file}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


# What the answer says.


class _Sample(msgspec.Struct):
    value: tuple[float, str] | None = None


class _Data(msgspec.Struct):
    resultType: str
    result: msgspec.Raw


class _Said(msgspec.Struct):
    status: str
    data: _Data | None = None
    error: str = ""
    warnings: list[str] = []


def _number(answer: Answer, now: float) -> float:
    said = _said(answer)
    if said.status != "success" or said.data is None:
        raise _Unknown(f"Prometheus refuses the query: {_words(said.error) or f'status {answer.status}'}")
    if said.warnings:
        raise _Unknown(f"the answer may lack data: {_words(said.warnings[0])}")
    at, text = _sample(said.data)
    if not abs(now - at) <= OLDEST:
        raise _Unknown(f"the answer is {abs(now - at):.0f} s {'old' if at < now else 'ahead'} by our clock")
    try:
        value = float(text)
    except ValueError:
        raise _Unknown("the value is no number") from None
    if not math.isfinite(value):
        raise _Unknown(f"the value is {_words(text)}: does the query divide by zero?")
    return value


def _said(answer: Answer) -> _Said:
    if 300 <= answer.status < 400:
        raise _Unknown("the server sends us elsewhere, which is not followed: name the right URL")
    if answer.status in {401, 403}:
        raise _Unknown(f"Prometheus does not let us ask (status {answer.status}): is the token right?")
    try:
        return msgspec.json.decode(answer.body, type=_Said)
    except (msgspec.DecodeError, RecursionError):
        raise _Unknown(f"what answers (status {answer.status}) is not the API of Prometheus") from None


def _sample(data: _Data) -> tuple[float, str]:
    """Time and value of the only sample."""
    if data.resultType == "scalar":
        scalar: tuple[float, str] = _converted(data.result, tuple[float, str])
        return scalar
    if data.resultType != "vector":
        raise _Unknown(f"the query gives a {_words(data.resultType)}, and one number is needed")
    samples: list[_Sample] = _converted(data.result, list[_Sample])
    if not samples:
        raise _Unknown("the query gives no data")
    if len(samples) > 1:
        raise _Unknown(f"the query gives {len(samples):,} series, and one is needed: sum() or max() makes one")
    if samples[0].value is None:
        raise _Unknown("the query gives a histogram, and one number is needed")
    return samples[0].value


def _converted(raw: msgspec.Raw, kind: Any) -> Any:
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, RecursionError):
        raise _Unknown("the result has no known form") from None


def _words(text: str) -> str:
    """What a stranger says, fit for one line of ours."""
    shown = "".join(letter if letter.isprintable() else " " for letter in text[: WORDS + 1])
    return shown if len(shown) <= WORDS else shown[:WORDS] + "…"
