"""What became of one request: filled in on the way, looked at in batches when it is over."""

from __future__ import annotations

from guideway.core.route import ApiKey
from guideway.gateway.usage import Usage


class Record:
    """Times are seconds of the worker's clock. ``status`` 499: the client left before the end."""

    __slots__ = (
        "arm",
        "begun",
        "ended",
        "error",
        "first",
        "id",
        "key",
        "model",
        "overhead",
        "release",
        "retried",
        "sent",
        "status",
        "stream",
        "usage",
    )

    def __init__(self, id: bytes, begun: float, key: ApiKey | None, model: str, stream: bool) -> None:
        self.id, self.begun, self.key, self.model, self.stream = id, begun, key, model, stream
        self.sent = begun
        self.first = self.ended = self.overhead = 0.0
        self.arm = self.release = self.error = ""
        self.retried = False
        self.status = 0
        self.usage: Usage | None = None
