"""What became of one request: filled in on the way, looked at in batches when it is over."""

from __future__ import annotations

import msgspec

from guideway.core.assignment import Exclusion
from guideway.core.outcome import Failure
from guideway.core.route import ApiKey
from guideway.gateway.limits.key_lease import Reservation
from guideway.gateway.opening import Beginning, Opening
from guideway.gateway.said import Said
from guideway.gateway.traces import Trace
from guideway.gateway.usage import Usage

FREE = frozenset({"hit", "shared", "corrected"})
"""How an answer came that cost no model a token: the words of ``Record.cache``."""


class Record(msgspec.Struct, gc=False):
    """Times are seconds of the worker's clock; 0.0: it never came to that. ``status`` 499: the client left.

    ``failure`` and ``first_status`` tell of the first attempt. ``cache``: hit, shared, miss, bypass or corrected.
    ``pieces`` counts the events of a stream that were passed on. ``free``: its key has no limits, so nothing was
    reserved. ``prompt`` is the masked one, if the policy wants it in the log. ``said`` is the answer as far as it
    came, while its tokens may have to be counted. ``outlier`` is the share of ordinary requests that are at least as
    unusual, and ``flagged`` says that this is told; ``corrected`` are the names of the corrections that were applied.

    ``kind`` says of which kind an error is, for counters. Of a unit of a rollout: ``limits`` are those of its route,
    in milliseconds, of which ``overdue`` were told to have run out before the end; ``opening`` is how the answer
    begins, and ``asked`` the body that it answers. ``finish`` is why the answer ended.
    """

    path: bytes
    begun: float
    sent: float
    key: ApiKey | None
    model: str
    stream: bool = False
    id: bytes = b""
    first: float = 0.0
    ended: float = 0.0
    overhead: float = 0.0
    status: int = 0
    arm: str = ""
    release: str = ""
    cache: str = ""
    error: str = ""
    usage: Usage | None = None
    pieces: int = 0
    body_bytes: int = 0
    retried: bool = False
    first_status: int = 0
    failure: Failure = ""
    rollout: str = ""
    share: float = 0.0
    unit: str = ""
    caller: str = ""
    why_not: Exclusion = ""
    batch: bool = False
    free: bool = False
    reservation: Reservation | None = None
    guarded: bool = False
    masked: tuple[str, ...] = ()
    trace: Trace | None = None
    prompt: str | None = None
    said: Said | None = None
    kind: str = ""
    finish: str = ""
    opening: Opening | Beginning | None = None
    asked: bytes = b""
    outlier: float | None = None
    flagged: bool = False
    corrected: set[str] | None = None
    limits: tuple[float, ...] = ()
    overdue: int = 0
