"""Check a spec without the state: names that name nothing, files that are missing or empty, absent libraries."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from guideway.core.errors import SpecError, Unavailable, did_you_mean
from guideway.core.spec import Spec, SpecFile, build_part
from guideway.engines import engine
from guideway.pipeline.stages import STAGES
from guideway.pipeline.stages.data import foreseen
from guideway.pipeline.stages.formats import check_explained, check_precision, check_programs, check_sizes, format_of
from guideway.pipeline.stages.train import check_libraries
from guideway.standard.overlay import check_compression, clauses_for, level_of
from guideway.targets import TARGETS

Asked = ParamSpec("Asked")
Found = TypeVar("Found")


def check(file: SpecFile) -> None:
    """Check what loading alone cannot: names of engines, targets and clauses, and that files and programs exist.

    Raises:
        SpecError: names the line.
        Unavailable: names the line; a program or a library that the spec needs is not installed.
    """
    spec = file.spec
    located(file, ("serve", "engine"), format_of, spec)
    located(file, ("serve", "engine"), _installed, spec)
    located(file, ("compress", "precision"), check_precision, spec)
    located(file, ("serve", "engine"), check_programs, spec)
    located(file, ("explain",), check_explained, spec)
    located(file, ("train", "recipe"), check_libraries, spec.train)
    if spec.target not in TARGETS:
        raise SpecError(
            f"there is no target called '{spec.target}'",
            where=file.where("target"),
            try_this=did_you_mean(spec.target, TARGETS),
        )
    check_compression(file)
    level_of(file)
    clauses_for(file, build_part(spec))
    check_base(file)
    for keys, stage in (
        (("data", "sources"), "data"),
        (("serve", "prompt"), "package"),
        (("serve", "guardrails", "classifier"), "guard"),
        (("evaluate", "refusals"), "refusals"),
        (("evaluate", "judge"), "judge"),
        (("evaluate", "suites"), "suites"),
        (("serve", "guardrails", "outlier"), "reference"),
    ):
        located(file, keys, STAGES[stage].sources, spec, file.root)
    _check_rows(file)


def check_base(file: SpecFile) -> None:
    """Check the model that training starts from, as far as the spec or its folder tells.

    Raises:
        SpecError: names the line.
    """
    located(file, ("compress", "precision"), check_sizes, file.spec, file.root)
    located(file, base_key(file), STAGES["train"].sources, file.spec, file.root)


def base_key(file: SpecFile) -> tuple[str, str]:
    """Where the spec names the model that training starts from: the teacher goes before the base."""
    return "train", "teacher" if file.spec.train.teacher else "base"


def _check_rows(file: SpecFile) -> None:
    """Refuse sources of which no row can be used: stage data would, after what comes before it."""
    found = foreseen(file.spec, file.root)
    if found:
        raise SpecError(
            found[0],
            where=file.where("data", "sources", found[1]),
            try_this="mend the rows, or the names of the fields in data; leave out a file that is empty",
        )


def _installed(spec: Spec) -> None:
    """Refuse an engine that could not be started here.

    Raises:
        SpecError: something is missing.
    """
    getattr(engine(spec.serve.engine), "installed", lambda: None)()


def located(
    file: SpecFile,
    keys: tuple[str | int, ...],
    work: Callable[Asked, Found],
    *args: Asked.args,
    **named: Asked.kwargs,
) -> Found:
    """What *work* returns; an error about the spec gets the line of *keys*."""
    try:
        return work(*args, **named)
    except (SpecError, Unavailable) as error:
        raise type(error)(error.what, where=file.where(*keys), try_this=error.try_this) from None
