"""Budgets begin anew with each minute and each day of UTC: fixed windows, the same for every worker and host.

A window is known by its number since 1970. A clock that jumps, ahead or back, leads into the window that it names,
and the rows know what was taken there: no jump gives the same window's budget out twice.
"""

from __future__ import annotations

from typing import Literal

MINUTE_SECONDS = 60
MINUTES_A_DAY = 1440

Period = Literal["minute", "day"]


def minute_of(wall: float) -> int:
    """The number of the minute of *wall*, seconds since 1970."""
    return int(wall // MINUTE_SECONDS)


def day_of(minute: int) -> int:
    """The number of the day that a minute belongs to."""
    return minute // MINUTES_A_DAY


def left(period: Period, wall: float) -> float:
    """Seconds until the window that *wall* lies in ends."""
    length = MINUTE_SECONDS if period == "minute" else MINUTE_SECONDS * MINUTES_A_DAY
    return length - wall % length


def brief(seconds: float) -> str:
    """A duration as clients of this API read it: ``250ms``, ``6s``, ``1m30s``, ``2h0m0s``."""
    if seconds < 1:
        return f"{max(0, round(seconds * 1000))}ms"
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole % 3600 // 60, whole % 60
    if hours:
        return f"{hours}h{minutes}m{rest}s"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
