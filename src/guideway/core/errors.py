"""The one error that people see, and its kinds: what, where, what to do, and the exit code."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class GuidewayError(Exception):
    """Something went wrong that a person can mend. The command line prints it as one line.

    Args:
        what: what is wrong, as half a sentence without a full stop.
        where: ``file:line``, a folder, a blob or a URL.
        try_this: the next step that mends it.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str | None = None, try_this: str | None = None) -> None:
        super().__init__(what)
        self.what, self.where, self.try_this = what, where, try_this

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        advice = f" ({self.try_this})" if self.try_this else ""
        return f"{place}{self.what}{advice}"


class SpecError(GuidewayError):
    """The spec, or an argument, says something that cannot be meant."""

    exit_code = 2


class Refused(GuidewayError):
    """A gate said no: proof is missing, failed or about something else."""

    exit_code = 3


class Corrupt(GuidewayError):
    """Bytes are not what their digest or their signature says."""

    exit_code = 4


class Unavailable(GuidewayError):
    """The machine lacks something: a port, disk, a library, a running controller."""

    exit_code = 5


EXIT_CODES = {
    0: "done",
    1: "the work failed (a stage, a replica, a rollout)",
    2: "the spec or the arguments are wrong",
    3: "refused by a gate: proof is missing or failed",
    4: "corrupt: bytes do not match their digest or signature",
    5: "unavailable: port, disk, library, server or permission",
    130: "interrupted (Ctrl-C)",
}


FAILURES = frozenset({kind.exit_code for kind in (GuidewayError, SpecError, Refused, Corrupt, Unavailable)})
"""Codes with which work ends that failed."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Advice for a mistyped name: the nearest known one, or all of them."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    return f"did you mean '{near[0]}'?" if near else "known: " + ", ".join(names)
