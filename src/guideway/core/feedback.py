"""What one client says of one answer."""

from __future__ import annotations

from typing import Literal

import msgspec


class Judgement(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one key said of one request. ``release``: the first ten digits of its digest, empty where there was none."""

    request: str
    key: str
    owner: str
    environment: str
    release: str
    arm: str
    at: float
    thumb: Literal["up", "down"] | None = None
    label: str | None = None
    correction: str | None = None
    comment: str | None = None
