"""What became of one request: the record that a worker leaves for the rollout and for usage."""

from __future__ import annotations

from typing import Literal

import msgspec

from guideway.core.assignment import ArmName, Exclusion

Failure = Literal["", "connect", "broken", "status", "garbage", "time-out", "no replica", "client left"]


class Outcome(msgspec.Struct, frozen=True, array_like=True):
    """One request, without a word of what was asked or answered. Fields are only ever added, at the end.

    ``at`` is in seconds since 1970; times are in milliseconds, None where there was none. ``arm``, ``share`` and
    ``failure`` tell of the *first* attempt, even if a retry rescued the request (``retried``, and ``status`` is what
    the client got; ``first_status`` what the first attempt brought, 0: nothing). ``unit`` is the digest of the caller,
    empty in request mode, and ``caller`` the same in every mode; ``why_not`` says why the request is no unit.
    ``exceeded`` holds the limits, in milliseconds, that it ran past: an answer that never comes runs past them too.
    ``same``: a shadow's answer equals the real one. ``other_language``: the answer is in another script than its
    prompt, None where nobody can tell.

    ``overdue`` is "running" in an early record, left while the request still runs past a limit of its rollout: it
    says which limits ran out, and must not be counted as a request. The record of its end follows, with "over".
    """

    at: float
    environment: str
    rollout: str
    arm: ArmName
    share: float
    request: str
    key: str = ""
    unit: str = ""
    why_not: Exclusion = ""
    status: int = 0
    first_status: int = 0
    failure: Failure = ""
    retried: bool = False
    latency: float | None = None
    first_token: float | None = None
    per_token: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    finish_reason: str = ""
    exceeded: tuple[float, ...] = ()
    cached: Literal["", "hit", "shared", "corrected"] = ""
    refused: bool = False
    guarded: bool = False
    stream: bool = False
    release: str = ""
    same: bool | None = None
    other_language: bool | None = None
    overdue: Literal["", "running", "over"] = ""
    caller: str = ""


def exceeded(latency: float, limits: tuple[float, ...]) -> tuple[float, ...]:
    """Which *limits* a request ran past that took *latency*, or has waited so long in vain; all in milliseconds."""
    return tuple(limit for limit in limits if latency > limit)
