"""What a client is told whose key has used up what it may use."""

from __future__ import annotations

import math

from guideway.gateway.errors import ApiError
from guideway.gateway.limits.amounts import NANO, UNLIMITED, Amounts, Budget
from guideway.gateway.limits.messages import Refuse
from guideway.gateway.limits.windows import brief

NAMES = ("requests", "tokens", "money")
CODE = "rate_limit_exceeded"
NEVER = b"x-should-retry: false\r\n"
"""What keeps the official client from trying again what cannot succeed."""
UNAVAILABLE = ApiError(
    503,
    "limits cannot be checked now; try again",
    "server_error",
    code="limits_unavailable",
    lines=b"Retry-After: 1\r\n",
)


def beyond(budget: Budget, need: Amounts) -> ApiError:
    """One request needs more than its key may ever use in a minute or a day: waiting would not help."""
    number, period = next(
        (number, period)
        for number in range(len(NAMES))
        for period, limits in zip(("minute", "day"), budget, strict=True)
        if need[number] > limits[number]
    )
    limit = _shown(NAMES[number], (budget.minute if period == "minute" else budget.day)[number])
    message = f"this request may use more {NAMES[number]} than this key has a {period}: {limit}"
    return ApiError(429, message, NAMES[number], code=CODE, lines=NEVER, kind=f"{NAMES[number]} a {period}")


def used_up(budget: Budget, refuse: Refuse) -> ApiError:
    """The key has not enough left; says of what, and when it may come again."""
    name, limits = NAMES[refuse.short], budget.minute if refuse.period == "minute" else budget.day
    limit = _shown(name, limits[refuse.short])
    again = f"try again in {brief(refuse.retry)}"
    message = f"the limit of {limit} {name} a {refuse.period} of this key is reached; {again}"
    return ApiError(429, message, name, code=CODE, lines=_lines(limits, refuse), kind=f"{name} a {refuse.period}")


def _lines(limits: Amounts, refuse: Refuse) -> bytes:
    """``Retry-After`` in whole seconds, and the header lines that the OpenAI API has for each amount."""
    lines = b"Retry-After: %d\r\n" % max(1, math.ceil(refuse.retry))
    for name, limit, remaining in zip(NAMES, limits, refuse.remaining, strict=True):
        if limit == UNLIMITED:
            continue
        for what, value in (("limit", _shown(name, limit)), ("remaining", _shown(name, min(remaining, limit)))):
            lines += f"x-ratelimit-{what}-{name}: {value}\r\n".encode()
        lines += f"x-ratelimit-reset-{name}: {brief(refuse.left)}\r\n".encode()
    return lines


def _shown(name: str, amount: int) -> str:
    return f"{amount / NANO:.9f}".rstrip("0").rstrip(".") if name == "money" else str(amount)
