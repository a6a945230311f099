"""Replicas that say what they are told, and a gateway before them, for golden prompts."""

from __future__ import annotations

from gateway_paper import PaperReplica, completion, http
from gateway_rig import CANDIDATE, MODEL, OPTIONS, STABLE, TERMS, Loop

from guideway.core.launch import Probe
from guideway.core.route import Arm, Endpoint, Route
from guideway.core.spec.golden import Golden as Settings
from guideway.fleet.replay import Replay
from guideway.rollout.golden import Prompt

SETTINGS = Settings(file="golden.jsonl", score="exact", timeout=5.0)
PROMPT = Prompt("p", ("yes",), "Is it?")


class Service:
    """A loop with replicas on it, and the route to them."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.made: list[PaperReplica] = []
        self.route: Route | None = None

    def replica(self, answer=None, port: int = 0) -> PaperReplica:
        self.made.append(PaperReplica(self.loop, answer, port))
        return self.made[-1]

    def serve(self, stable, candidate, terms=(TERMS, TERMS), probe: Probe | None = None) -> None:
        """Route to replicas, one or several an arm."""

        def arm(release, replicas, asks) -> Arm:
            replicas = replicas if isinstance(replicas, list) else [replicas]
            return Arm(release, tuple(Endpoint("127.0.0.1", one.port) for one in replicas), asks, probe)

        arms = arm(STABLE, stable, terms[0]), arm(CANDIDATE, candidate, terms[1])
        self.route = Route("dev", MODEL, 1, 1, *arms, weight=0.1, rollout="r1")

    def replay(self, settings=SETTINGS, options=OPTIONS) -> Replay:
        return Replay(settings, options, lambda: self.route, STABLE, CANDIDATE)

    def close(self) -> None:
        for one in self.made:
            one.die()
        self.loop.close()


def says(text: str) -> bytes:
    """The whole answer of a replica that says *text*, for `raw`."""
    return http(completion(text))
