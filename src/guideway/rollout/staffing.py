"""How many places a load needs so that few requests wait long: Erlang's formula for queues, and nothing else.

The load of a service is its mean number of requests under way if nobody waited (in erlangs: arrivals per second times
seconds per request). More places than that are needed, because requests come unevenly; how many more, relative to the
load, falls as the load grows.
"""

from __future__ import annotations

import math


def replicas_for(load: float, places: int, *, within: float, late: float, service: float | None, most: int) -> int:
    """The fewest replicas of *places* requests each at which at most the share *late* waits longer than *within*.

    *load* is in erlangs, *within* and *service* (the mean time of a request) in seconds; with *service* None any wait
    counts as too long. Between 0 (no load) and *most*, which may be too few.
    """
    if load <= 0.0:
        return 0
    first = max(1, math.ceil(load / places))
    for replicas in range(first, most):
        if late_share(load, replicas * places, within, service) <= late:
            return replicas
    return most


def late_share(load: float, places: int, within: float, service: float | None) -> float:
    """The share of requests that wait longer than *within* seconds at *places* places (M/M/n, Erlang C).

    Between 0 and 1; 1 where the load is more than the places. *service* as in `replicas_for`.
    """
    if load >= places:
        return 1.0
    blocked = 1.0
    for count in range(1, places + 1):  # Erlang B by its recursion, which neither overflows nor cancels
        blocked = load * blocked / (count + load * blocked)
    waits = blocked / (1.0 - load / places * (1.0 - blocked))
    return waits * math.exp(-(places - load) * within / service) if service else waits
