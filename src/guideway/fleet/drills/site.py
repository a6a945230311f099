"""Where a drill happens: an environment that serves, a key of the drill's own, and the question that is asked."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from guideway.core.artifact import short
from guideway.core.errors import SpecError, Unavailable
from guideway.core.events import Event, Note
from guideway.core.launch import Replica
from guideway.core.protocols import Clock
from guideway.core.rollout import EnvironmentState
from guideway.core.route import Arm, Route
from guideway.core.spec import Spec
from guideway.core.spec.gateway import Limits
from guideway.fleet import orders
from guideway.fleet.drills.answers import Answer
from guideway.fleet.drills.load import Load, Question, once
from guideway.gateway.exposure import development_certificate, is_on, url
from guideway.kit.process import is_alive
from guideway.standard.clauses import Clause
from guideway.store import fleet
from guideway.store.database import Database
from guideway.store.home import Home

KEY_LASTS = 3600.0
"""Seconds until the key of a drill expires by itself, should nobody live to revoke it."""
FOLLOWED_WITHIN = 10.0
"""Seconds until workers must know the key and answer."""
LOOK = 0.02
"""Seconds between two looks at the rows."""
TOKENS = 16
"""The longest answer that the load asks for."""

Emit = Callable[[Event], None]


class Asked(msgspec.Struct, frozen=True):
    """What a person chose: requests a second, the prompt (empty: the one that probes the release), the
    requests a second that are expected at the peak (0: unknown), and the seconds in which an answer is of use."""

    rate: float = 20.0
    prompt: str = ""
    peak: float = 0.0
    within: float = 10.0


class Site(msgspec.Struct, frozen=True):
    """An environment under drill.

    ``pause`` waits so many seconds; ``wall`` counts from 1970, ``clock`` is monotonic.
    """

    home: Home
    database: Database
    spec: Spec
    environment: str
    question: Question
    asked: Asked
    clauses: tuple[Clause, ...]
    emit: Emit
    start_controller: Callable[[Home], None] = orders.ensure_controller
    wall: Clock = time.time
    clock: Clock = time.monotonic
    pause: Callable[[float], None] = time.sleep

    def say(self, text: str) -> None:
        """Tell people what happens now."""
        self.emit(Note(text))

    def load(self, *, cached: bool = False, rate: float = 0.0, **more: Any) -> Load:
        """A load on this environment at the rate that was chosen, or at *rate*; *more* is for `Load`."""
        question = msgspec.structs.replace(self.question, cached=cached)
        return Load(question, rate or self.asked.rate, clock=self.clock, **more)

    def until(self, condition: Callable[[], Any], seconds: float) -> float:
        """Wait until *condition* holds; how many seconds that took, infinite when it did not within *seconds*."""
        began = self.clock()
        while not condition():
            if self.clock() - began > seconds:
                return math.inf
            self.pause(LOOK)
        return self.clock() - began

    def must(self, condition: Callable[[], Any], seconds: float, lacks: str) -> None:
        """Wait until *condition* holds, before anything is done to the service.

        Raises:
            Unavailable: it did not within *seconds*.
        """
        if math.isinf(self.until(condition, seconds)):
            raise Unavailable(f"{lacks} within {seconds:g} s", where=self.environment, try_this="`guideway status`")

    @property
    def state(self) -> EnvironmentState:
        """What should run here."""
        state = fleet.environment(self.database, self.environment)
        assert state
        return state

    @property
    def route(self) -> Route:
        """Who gets the traffic now."""
        route = fleet.route(self.database, self.environment)
        assert route
        return route

    @property
    def stable(self) -> Arm:
        """The release that has the traffic, and where."""
        arm = self.route.stable
        assert arm
        return arm

    def ready(self) -> list[Replica]:
        """The replicas of the release that serves which live and are ready."""
        return [
            one
            for one in fleet.replicas(self.database, self.environment)
            if one.release == self.stable.release
            and one.state == "ready"
            and is_alive(one.process.pid, one.process.started)
        ]


def survey(database: Database, environment: str) -> tuple[EnvironmentState, Route]:
    """What serves in *environment*, if a drill can be held there.

    Raises:
        SpecError: nothing serves there, or a rollout is under way, which a drill would disturb.
    """
    state, route = fleet.environment(database, environment), fleet.route(database, environment)
    if state is None or not state.up or route is None or route.stable is None or not route.stable.endpoints:
        raise SpecError(f"nothing serves in '{environment}'", try_this="`guideway up`")
    if route.candidate or fleet.rollouts(database, environment, running=True):
        raise SpecError(f"a rollout is under way in '{environment}'", try_this="wait for its end, then drill")
    return state, route


@contextlib.contextmanager
def on_site(
    home: Home,
    database: Database,
    spec: Spec,
    environment: str,
    *,
    drill: str,
    asked: Asked,
    clauses: tuple[Clause, ...],
    emit: Emit,
    wall: Clock = time.time,
    **hands: Any,
) -> Iterator[Site]:
    """The environment with a key of the drill's own, which is revoked at the end, whatever that is.

    Raises:
        SpecError: see `survey`.
        Unavailable: the service does not answer before anything was done to it.
    """
    state, route = survey(database, environment)
    expires = wall() + KEY_LASTS
    label = f"drill {drill}"
    key = orders.make_key(home, database, environment, label, clock=wall, limits=Limits(), expires=expires)
    try:
        question = question_for(home, state, route, key, asked.prompt)
        site = Site(home, database, spec, environment, question, asked, clauses, emit, wall=wall, **hands)
        _must_answer(site)
        yield site
    finally:
        orders.revoke_key(home, database, environment, orders.id_of(home, key), clock=wall)


def question_for(home: Home, state: EnvironmentState, route: Route, key: str, prompt: str) -> Question:
    """The question that the release is probed with, as a client would ask it; with *prompt* in its place if given.

    Raises:
        SpecError: the release has no probe that could be asked.
    """
    probe = route.stable.probe if route.stable else None
    if probe is None:
        raise SpecError("the release that serves says no question to ask", where=route.environment)
    body = {**msgspec.json.decode(probe.body, type=dict[str, Any]), "model": route.model, "max_tokens": TOKENS}
    if prompt and "messages" in body:
        body["messages"] = [{"role": "user", "content": prompt}]
    elif prompt:
        body["prompt"] = prompt
    options = state.gateway
    address = url(options.host, state.port, options.tls).removesuffix(f":{state.port}/v1").partition("//")[2]
    own = development_certificate(home.environment(state.name))
    return Question(
        host=address.strip("[]"),
        port=state.port,
        path=probe.path,
        body=body,
        key=key,
        tls=is_on(options.tls),
        certificate=str(own) if options.tls.development else options.tls.certificate,
    )


def _must_answer(site: Site) -> None:
    """Return when the service answers the drill's own key: workers follow it within a moment."""
    last: list[Answer] = []

    def answers() -> bool:
        last[:] = [once(site.question, clock=site.clock)]
        return last[0].good

    if math.isinf(site.until(answers, FOLLOWED_WITHIN)):
        raise Unavailable(
            f"the service does not answer as it should: {last[0].why or f'status {last[0].status}'}",
            where=f"{site.question.host}:{site.question.port}",
            try_this="`guideway status`; a question that it answers: --prompt",
        )
    site.say(f"{short(site.stable.release)} answers; the drill begins")
