"""Which arm a request goes to, with what probability, and whether it may be counted: pure, the same on every host."""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec

ArmName = Literal["stable", "candidate"]

Exclusion = Literal["", "no rollout", "seen before", "batch", "golden", "warm-up", "shadow", "corrected"]
"""Why a request is no unit; empty: it is one. Decided before the arm and without regard to it."""

_RESOLUTION = 1 << 53
"""As many steps as a float holds below one, so that no draw rounds up to 1.0."""


class Assignment(msgspec.Struct, frozen=True):
    """The arm of one request.

    ``share`` is the probability, known before the draw, with which it was to be the candidate; ``key`` is the digest
    of the caller in caller mode, empty where the request was drawn by itself. A retry keeps the assignment of the
    first attempt.
    """

    arm: ArmName
    share: float
    key: str = ""
    why_not: Exclusion = ""

    @property
    def unit(self) -> bool:
        """May the request be counted? Whether its caller still may is for the reader to say, who sees all workers."""
        return not self.why_not


def assign(rollout: str, weight: float, *, key: str, uniform: float, why_not: Exclusion = "") -> Assignment:
    """The arm for a request while the candidate has *weight*.

    Args:
        key: what :func:`caller_key` gave; empty: the request is drawn by *uniform*, from [0, 1).
        why_not: why the request is no unit; no arm depends on it.
    """
    drawn = fixed_uniform(rollout, key) if key else uniform
    if not rollout or weight <= 0.0:
        why_not = why_not or "no rollout"
    return Assignment("candidate" if drawn < weight else "stable", weight, key, why_not)


def caller_key(pepper: bytes, tenant: str, caller: str) -> str:
    """The digest of one caller of one tenant; empty for the anonymous, who are drawn per request.

    *caller* is what the body's ``user`` says, else the session header. The key of the API alone is nobody: behind it
    stand all users of an application. *pepper* is the same on all hosts, and keeps whoever reads the digest, but not
    the pepper, from trying names.
    """
    if not caller:
        return ""
    owner = tenant.encode()
    text = b"%d:%b%b" % (len(owner), owner, caller.encode(errors="surrogatepass"))
    return hashlib.blake2b(text, digest_size=16, key=pepper[:64]).hexdigest()


def fixed_uniform(rollout: str, key: str) -> float:
    """The number in [0, 1) of a caller in a rollout: it never changes, so a rising weight only adds callers."""
    digest = hashlib.sha256(b"%b\0%b" % (rollout.encode(), key.encode())).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / _RESOLUTION


def share_given(weight: float, stable_at: float | None) -> float:
    """The probability that a caller is the candidate's at *weight*, given that it was stable at *stable_at*, or new.

    A caller that was once scored on the candidate has nothing left to tell, and must not be asked for here.
    """
    if stable_at is None:
        return weight
    return (weight - stable_at) / (1.0 - stable_at) if weight > stable_at else 0.0
