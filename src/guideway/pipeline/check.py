"""Check a spec without the state: names that name nothing, and files that are missing."""

from __future__ import annotations

from collections.abc import Callable

from guideway.core.errors import SpecError, did_you_mean
from guideway.core.spec import Spec, SpecFile, build_part
from guideway.engines import engine
from guideway.pipeline.stages import STAGES
from guideway.pipeline.stages.formats import check_precision, format_of
from guideway.standard.overlay import check_compression, clauses_for, level_of
from guideway.targets import TARGETS


def check(file: SpecFile) -> None:
    """Check what loading alone cannot: names of engines, targets and clauses, and that every file exists.

    Raises:
        SpecError: names the line.
    """
    spec = file.spec
    _located(file, ("serve", "engine"), lambda: format_of(spec))
    _located(file, ("serve", "engine"), lambda: _installed(spec))
    _located(file, ("compress", "precision"), lambda: check_precision(spec))
    if spec.target not in TARGETS:
        raise SpecError(
            f"there is no target called '{spec.target}'",
            where=file.where("target"),
            try_this=did_you_mean(spec.target, TARGETS),
        )
    check_compression(file)
    level_of(file)
    clauses_for(file, build_part(spec))
    for keys, stage in (
        (("data", "sources"), "data"),
        (("train", "base"), "train"),
        (("serve", "prompt"), "package"),
        (("serve", "guardrails", "classifier"), "guard"),
    ):
        _located(file, keys, lambda stage=stage: STAGES[stage].sources(spec, file.root))  # type: ignore[misc]


def _installed(spec: Spec) -> None:
    """Refuse an engine that could not be started here.

    Raises:
        SpecError: something is missing.
    """
    getattr(engine(spec.serve.engine), "installed", lambda: None)()


def _located(file: SpecFile, keys: tuple[str | int, ...], work: Callable[[], object]) -> None:
    """Do *work*; an error about the spec gets the line of *keys*."""
    try:
        work()
    except SpecError as error:
        raise SpecError(error.what, where=file.where(*keys), try_this=error.try_this) from None
