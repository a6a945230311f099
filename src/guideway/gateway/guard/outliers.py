"""How unusual a request is, and what becomes of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from guideway.core.guardrails import Outlier
from guideway.core.outliers import Reference, is_beyond
from guideway.gateway.errors import ApiError
from guideway.gateway.guard.newest import newest


class Unusual(ApiError, frozen=True):
    """A refusal of a request, and the share of ordinary ones that are as unusual."""

    share: float = 1.0


class Weighed(NamedTuple):
    """One request: the share of ordinary ones that are at least as unusual, and whether that is told.

    None: it has no text that could be looked at.
    """

    share: float | None = None
    flagged: bool = False


class Outliers:
    """The rule of one release at work, with its reference of ordinary prompts."""

    __slots__ = ("_reference", "_rule")

    def __init__(self, rule: Outlier, reference: Reference) -> None:
        self._rule, self._reference = rule, reference

    @property
    def refuses(self) -> bool:
        """May a request be refused? What cannot be looked at is then refused too."""
        return self._rule.refuse is not None

    def weigh(self, body: Mapping[str, Any], refusal: str) -> Weighed | Unusual:
        """How unusual *body* is; or that it is refused, in the words of *refusal*."""
        share = self._reference.strangest(newest(body))
        return Weighed() if share is None else judged(self._rule, share, refusal)


def judged(rule: Outlier, share: float, refusal: str) -> Weighed | Unusual:
    """What becomes by *rule* of a request that has this *share*; a refusal is in the words of *refusal*."""
    if rule.refuse is not None and is_beyond(share, rule.refuse):
        return Unusual(400, refusal, code="content_filter", kind="outlier", share=share)
    return Weighed(share, rule.flag is not None and is_beyond(share, rule.flag))
