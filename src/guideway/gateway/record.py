"""What became of one request: filled in on the way, looked at in batches when it is over."""

from __future__ import annotations

from guideway.core.assignment import Exclusion
from guideway.core.outcome import Failure
from guideway.core.route import ApiKey
from guideway.gateway.usage import Usage


class Record:
    """Times are seconds of the worker's clock; 0.0: it never came to that. ``status`` 499: the client left.

    ``failure`` and ``first_status`` tell of the first attempt. ``cache``: hit, shared, miss or bypass. ``pieces``
    counts the events of a stream that were passed on.
    """

    __slots__ = (
        "arm",
        "batch",
        "begun",
        "cache",
        "ended",
        "error",
        "failure",
        "first",
        "first_status",
        "guarded",
        "id",
        "key",
        "masked",
        "model",
        "overhead",
        "path",
        "pieces",
        "release",
        "retried",
        "rollout",
        "sent",
        "share",
        "status",
        "stream",
        "unit",
        "usage",
        "why_not",
    )

    def __init__(self, path: bytes, begun: float, key: ApiKey | None, model: str, stream: bool) -> None:
        self.path, self.begun, self.key, self.model, self.stream = path, begun, key, model, stream
        self.id = b""
        self.sent = begun
        self.first = self.ended = self.overhead = self.share = 0.0
        self.arm = self.release = self.rollout = self.unit = self.cache = self.error = ""
        self.failure: Failure = ""
        self.why_not: Exclusion = ""
        self.batch = self.retried = self.guarded = False
        self.status = self.first_status = self.pieces = 0
        self.masked: tuple[str, ...] = ()
        self.usage: Usage | None = None
