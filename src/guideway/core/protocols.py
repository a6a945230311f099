"""The four extension points. Built-ins are listed in one dict per folder; outsiders come by entry points."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from guideway.core.evidence import Evidence, Interval
from guideway.core.gate import Judgement
from guideway.core.launch import Launch, Process
from guideway.core.release import ServeSettings
from guideway.core.spec import Spec


class Job(Protocol):
    """What a stage is given: parameters, input folders (read only), an empty output folder, and two voices.

    ``resume`` outlives a stage that is killed: whoever runs the very same step next finds there what it left. The
    folder is made by the stage that needs it, and is gone when the step is done. ``recalled`` are the earlier facts,
    the oldest first, of the metrics that the module of the stage gives in ``recalls(params)``, if it has that function.
    ``runner`` is what it gives in ``runs_on(spec)``, if it has that one: where to work, which changes no result.
    """

    params: Mapping[str, Any]
    inputs: Mapping[str, Path]
    root: Path
    out: Path
    resume: Path
    recalled: Sequence[Evidence]
    runner: Mapping[str, Any]

    def progress(self, done: float, total: float, note: str = "") -> None:
        """Say how far the work is; cheap enough to call at every step."""

    def measure(
        self,
        metric: str,
        value: float,
        unit: str,
        *,
        about: str,
        n: int = 0,
        interval: Interval | None = None,
        slice: str = "",
        source: str | None = None,
        repeatable: bool = True,
    ) -> None:
        """Leave one fact as evidence. ``about`` and ``source`` name an input, or ``out`` for the stage's own result."""

    def fact(self, text: str) -> None:
        """Leave one short figure for people, shown when the step finishes."""


class Stage(Protocol):
    """One step of the work: a pure function of its inputs and parameters. A module meets this as it stands.

    Six more names may be there: ``wanted(spec)`` says whether a spec has the stage at all, ``uses`` names stages
    whose results are inputs where the spec has them, ``code`` names modules that the result depends on,
    ``brings(spec)`` names libraries that only some specs need, ``runs_on(spec)`` says where the work is done, which is
    no part of its key, and ``environment``, or ``environment(spec)``, is a requirements file with hashes: the stage
    runs with what that file locks.
    """

    name: str
    needs: tuple[str, ...]
    libraries: tuple[str, ...]

    def params(self, spec: Spec) -> Mapping[str, Any]:
        """The part of the spec that the result depends on, and nothing more."""

    def sources(self, spec: Spec, root: Path) -> Sequence[Path]:
        """The files outside the store that the stage reads; their bytes are part of its key."""

    def run(self, job: Job) -> None:
        """Do the work in a process of its own; heavy libraries are imported here and not above."""


class Engine(Protocol):
    """How a model server is started. Starts nothing itself. ``format`` is the model format that it serves.

    A function ``installed()`` may be there: it raises an error where this machine lacks what a build for the engine
    needs; and ``servable()``, which raises one where it lacks what a replica needs.
    """

    name: str
    format: str

    def launch(self, folder: Path, settings: ServeSettings, *, port: int, threads: int) -> Launch:
        """The process that serves the release in *folder* on 127.0.0.1:*port*."""


class Target(Protocol):
    """Where a launch runs. Knows no flags of any engine."""

    name: str

    def start(self, launch: Launch, log: Path) -> Process:
        """Start the process; its output goes to *log*. It outlives the caller."""

    def alive(self, process: Process) -> bool:
        """Is it still the same process, and running?"""

    def stop(self, process: Process, grace: float) -> None:
        """Ask it to end, and after *grace* seconds make it. Returns when it is gone."""

    def rest(self) -> None:
        """Nothing is wanted here any more: let go of what was kept warm."""


class Gate(Protocol):
    """Evidence in, verdict out; the same for a build and for live traffic."""

    def judge(self, evidence: Sequence[Evidence]) -> Judgement:
        """PASS, FAIL, or UNKNOWN when nothing in *evidence* answers."""


Clock = Callable[[], float]
"""Seconds since 1970, UTC; a test passes its own."""
