"""The process that runs one stage: ``python -m guideway.pipeline.worker JOB.json VOICE``.

It speaks JSON lines on the file descriptor VOICE and ends when its builder does: standard input closes.
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from guideway.core.errors import FAILURES, GuidewayError, Unavailable
from guideway.core.evidence import Evidence, Interval

EXTRAS = {
    "bitsandbytes": "qlora",
    "captum": "explain",
    "hyperopt": "tune",
    "opacus": "private",
    "optuna": "tune",
    "ray": "ray",
    "shap": "explain",
}
"""Which extra of the distribution brings a library, where it is not ``train``."""


class JobFile(msgspec.Struct, frozen=True):
    """What the builder asks for: the stage, and the module that is it. Folders are absolute; inputs are read only."""

    stage: str
    module: str
    params: dict[str, Any]
    inputs: dict[str, str]
    root: str
    out: str
    resume: str
    recalled: tuple[Evidence, ...] = ()
    runner: dict[str, Any] = {}


class Measured(msgspec.Struct, frozen=True, tag="measured"):
    """One fact; ``about`` and ``source`` name an input or ``out``. The builder turns it into evidence."""

    metric: str
    value: float
    unit: str
    about: str
    n: int = 0
    interval: Interval | None = None
    slice: str = ""
    source: str | None = None
    repeatable: bool = True


class Told(msgspec.Struct, frozen=True, tag="told"):
    """One short figure for people."""

    text: str


class Moved(msgspec.Struct, frozen=True, tag="moved"):
    """How far the work is."""

    done: float
    total: float
    note: str = ""


class Broke(msgspec.Struct, frozen=True, tag="broke"):
    """The stage failed; the same fields as the error."""

    what: str
    where: str | None
    try_this: str | None
    exit_code: int


Message = Measured | Told | Moved | Broke


def error_of(broke: Broke, before: str = "") -> GuidewayError:
    """What *broke* in another process as an error here, with *before* put first.

    A code that no error of ours has is 1: what another process says must not make a failure look like a success.
    """
    error = GuidewayError(f"{before}{broke.what}", where=broke.where, try_this=broke.try_this)
    error.exit_code = broke.exit_code if broke.exit_code in FAILURES else GuidewayError.exit_code
    return error


class StageJob:
    """The ``Job`` that a stage sees; *say* passes on what it says."""

    def __init__(self, asked: JobFile, say: Callable[[Message], object]) -> None:
        self.say = say
        self.params: Mapping[str, Any] = asked.params
        self.inputs: Mapping[str, Path] = {name: Path(folder) for name, folder in asked.inputs.items()}
        self.root, self.out, self.resume = Path(asked.root), Path(asked.out), Path(asked.resume)
        self.recalled: Sequence[Evidence] = asked.recalled
        self.runner: Mapping[str, Any] = asked.runner

    def progress(self, done: float, total: float, note: str = "") -> None:
        """Say how far it is."""
        self.say(Moved(done, total, note))

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
        """Leave a fact.

        Raises:
            KeyError: it is about no input of this stage.
        """
        for name in (about, source):
            if name not in (None, "out", *self.inputs):
                raise KeyError(f"evidence '{metric}' is about '{name}', which is no input of this stage")
        self.say(Measured(metric, value, unit, about, n, interval, slice, source, repeatable))

    def fact(self, text: str) -> None:
        """Leave a figure for people."""
        self.say(Told(text))


def main(argv: list[str]) -> int:
    """Run the stage that the job file *argv[0]* asks for, speaking on descriptor *argv[1]*; the exit code."""
    _end_with_builder()
    asked = msgspec.json.decode(Path(argv[0]).read_bytes(), type=JobFile)
    voice = int(argv[1])
    job = StageJob(asked, lambda message: os.write(voice, msgspec.json.encode(message) + b"\n"))
    try:
        importlib.import_module(asked.module).run(job)
    except Exception as error:
        traceback.print_exc()
        cause = _explained(error, asked)
        job.say(Broke(cause.what, cause.where, cause.try_this, cause.exit_code))
        return cause.exit_code
    return 0


def _explained(error: Exception, asked: JobFile) -> GuidewayError:
    """What people are told; the trace is in the log."""
    if any(isinstance(one, OSError) and one.errno in (errno.ENOSPC, errno.EDQUOT) for one in _causes(error)):
        return Unavailable("the disk is full", where=asked.out, try_this="free some space and run it again")
    if isinstance(error, GuidewayError):
        return error
    if isinstance(error, MemoryError):
        return Unavailable("not enough memory", try_this="a smaller batch or model")
    if isinstance(error, ModuleNotFoundError) and error.name:
        library = error.name.partition(".")[0]
        extra = EXTRAS.get(library, "train")
        return Unavailable(f"{library} is not installed", try_this=f"pip install 'guideway[{extra}]'")
    first = str(error).splitlines()[0] if str(error) else ""
    return GuidewayError(f"{type(error).__name__}: {first}", try_this="the log has the whole story")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """*error* and what led to it: a library may have wrapped the true cause."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _end_with_builder() -> None:
    """A stage whose builder was killed must not go on: nobody would keep its result."""

    def watch() -> NoReturn:
        while os.read(0, 1024):
            pass
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
