"""What happened lately and is written nowhere: who died, what was refused, what is waited for. Gone with us."""

from __future__ import annotations

from collections.abc import Callable

from guideway.core.artifact import Digest
from guideway.core.route import Route
from guideway.fleet.view import Death

FADE = 60.0
"""Seconds without another death after which earlier ones no longer count."""
REFUSED_FOR = 30.0
"""Seconds until a release that must not run is looked at again: somebody may have repaired it."""


class Lately:
    """Of all environments; *steady* is a clock that never jumps: a back-off or a refusal must not last for an hour
    because somebody set the time back. ``waits`` says why a replica is not ready, by id.
    """

    def __init__(self, steady: Callable[[], float]) -> None:
        self._steady, self._began = steady, steady()
        self.waits: dict[str, str] = {}
        self._deaths: dict[tuple[str, str], Death] = {}
        self._refused: dict[tuple[str, Digest], tuple[str, float]] = {}
        self._routed: dict[str, tuple[int, int, float]] = {}

    def died(self, environment: str, what: str, words: str) -> None:
        """A replica of the release *what*, or the ``gateway``, ended unasked and said *words*."""
        before = self._deaths.get((environment, what))
        self._deaths[environment, what] = Death(before.count + 1 if before else 1, self._steady(), words)

    def refuse(self, environment: str, release: Digest, why: str) -> None:
        """*release* must not run in *environment*."""
        self._refused[environment, release] = (why, self._steady())

    def forget(self, environment: str, *what: str) -> None:
        """What died so far does not count any more."""
        for one in what:
            self._deaths.pop((environment, one), None)

    def allow(self, environment: str, release: Digest) -> None:
        """Whoever asks for *release* again is not answered by an earlier refusal."""
        self._refused.pop((environment, release), None)

    def fade(self) -> None:
        """Deaths of long ago do not count."""
        now = self._steady()
        self._deaths = {what: death for what, death in self._deaths.items() if now <= death.at + FADE}

    def deaths(self, environment: str) -> dict[str, Death]:
        """Who died in *environment*: by release, or under ``gateway``."""
        return {what: death for (where, what), death in self._deaths.items() if where == environment}

    def refused(self, environment: str) -> dict[Digest, str]:
        """What must not run in *environment*, and why."""
        now = self._steady()
        found = self._refused.items()
        return {what: why for (where, what), (why, at) in found if where == environment and now < at + REFUSED_FOR}

    def routed(self, route: Route | None) -> float:
        """Since when workers can follow *route*; now, if it was not projected yet."""
        if route is None:
            return self._began
        epoch, revision, since = self._routed.get(route.environment, (0, 0, 0.0))
        return since if (epoch, revision) == (route.epoch, route.revision) else self._steady()

    def projected(self, route: Route) -> None:
        """The file that workers follow says *route*, for the first time or still."""
        self._routed[route.environment] = (route.epoch, route.revision, self.routed(route))
