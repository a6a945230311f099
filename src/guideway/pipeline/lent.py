"""How stages name what they borrow. Apart from borrowing itself, which reads rows: a plan needs no database."""

from __future__ import annotations

from collections.abc import Mapping

from guideway.core.protocols import Stage
from guideway.core.spec import Spec

SERVING = "serving"
"""What serves in the environment of the build; nothing at all where nothing does."""
WHOLE = "whole:"
"""Before the name of a release: all of it, and not the trained model."""


def borrows(stage: Stage, spec: Spec) -> Mapping[str, str]:
    """The releases that *stage* reads, by the name of the input, if its module says so in ``borrows(spec)``."""
    found: Mapping[str, str] = getattr(stage, "borrows", lambda spec: {})(spec)
    return found
