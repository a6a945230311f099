"""Check a spec without the state: names that name nothing, and files that are missing."""

from __future__ import annotations

from collections.abc import Callable

from guideway.core.errors import SpecError, Unavailable, did_you_mean
from guideway.core.spec import Spec, SpecFile, build_part
from guideway.engines import engine
from guideway.pipeline.stages import STAGES
from guideway.pipeline.stages.formats import check_explained, check_precision, check_programs, check_sizes, format_of
from guideway.standard.overlay import check_compression, clauses_for, level_of
from guideway.targets import TARGETS


def check(file: SpecFile) -> None:
    """Check what loading alone cannot: names of engines, targets and clauses, and that files and programs exist.

    Raises:
        SpecError: names the line.
        Unavailable: names the line of the engine; a program that it needs is not installed.
    """
    spec = file.spec
    _located(file, ("serve", "engine"), lambda: format_of(spec))
    _located(file, ("serve", "engine"), lambda: _installed(spec))
    _located(file, ("compress", "precision"), lambda: check_precision(spec))
    _located(file, ("serve", "engine"), lambda: check_programs(spec))
    _located(file, ("explain",), lambda: check_explained(spec))
    _located(file, ("compress", "precision"), lambda: check_sizes(spec, file.root))
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
        (("evaluate", "refusals"), "refusals"),
        (("evaluate", "judge"), "judge"),
        (("evaluate", "suites"), "suites"),
        (("serve", "guardrails", "outlier"), "reference"),
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
    except (SpecError, Unavailable) as error:
        raise type(error)(error.what, where=file.where(*keys), try_this=error.try_this) from None
