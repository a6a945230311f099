"""``guideway check``."""

from __future__ import annotations

import os
import time
from pathlib import Path

import click
import msgspec

from guideway.cli.project import environment_option, opened, spec_option
from guideway.core.errors import SpecError
from guideway.core.spec import Rollout, Spec, SpecFile, is_import
from guideway.core.spec.guards import rooted as rooted_guards
from guideway.fleet.prompts import load_prompts
from guideway.gateway.exposure import is_on, rooted, warning
from guideway.gateway.soundness import check_options
from guideway.kit.machine import machine, speed
from guideway.pipeline.check import check
from guideway.pipeline.laid import laid
from guideway.pipeline.preflight import preflight, require, told
from guideway.pipeline.stages.train.places import is_folder
from guideway.rollout.plan import check as check_plan
from guideway.rollout.plan import plan_of
from guideway.store.home import Home


@click.command("check")
@spec_option
@environment_option
def command(path: Path, environment: str) -> None:
    """Check guideway.yaml and everything it names; prints the first error with its line."""
    file, home = opened(path, environment)
    check(file)
    _check_gateway(file)
    takeover(file)
    with laid(file, home) as seen:
        click.echo(f"{path} is in order for '{environment}'")
        _fits(seen, home)


def _fits(file: SpecFile, home: Home) -> None:
    """Say what the plan needs of this machine.

    Raises:
        Unavailable: it can never have it.
    """
    flight = preflight(file.spec, file.root, machine(home.path), speed())
    if flight is None:
        click.echo(f"what it needs of this machine is not known {_unknown(file.spec)}")
        return
    click.echo(told(flight))
    require(flight)
    if flight.tight:
        click.echo(f"warning: that is more than is free now; {flight.advice}", err=True)


def _unknown(spec: Spec) -> str:
    """Why nobody can tell what a plan needs."""
    if is_import(spec):
        return "for a model that is imported"
    base = str(spec.train.base)
    return "as the base does not tell its size" if is_folder(base) else f"before {base} is here"


def sound(file: SpecFile) -> None:
    """Refuse what an environment asks for and nothing could start or serve with, with the line where it stands.

    Raises:
        SpecError: one of them.
    """
    try:
        check_options(file.spec.gateway, file.spec.policy.masking)
        check_plan(plan_of(file.spec.rollout))
    except SpecError as error:
        where = file.where(*_keys(error.where or "gateway"))
        raise SpecError(error.what, where=where, try_this=error.try_this) from None
    _check_size(file)
    _check_guards(file)
    _check_corrections(file)


def takeover(file: SpecFile) -> Rollout:
    """How a release takes over in the environment, with paths that begin at the folder of the spec.

    Raises:
        SpecError: the golden prompts cannot be read.
    """
    asked = file.spec.rollout
    golden = asked.golden
    if golden:
        load_prompts(file.root / golden.file, golden.file)
        golden = msgspec.structs.replace(golden, file=str(file.root / golden.file))
    return msgspec.structs.replace(asked, golden=golden, guards=rooted_guards(asked.guards, file.root))


def _keys(dotted: str) -> list[str | int]:
    """``rollout.steps.0`` as keys."""
    return [int(key) if key.isdigit() else key for key in dotted.split(".")]


def _check_size(file: SpecFile) -> None:
    """With ``scale`` the load decides: a number to begin with that was written beside it must lie within."""
    replicas, scale = file.spec.replicas, file.spec.scale
    if scale and not scale.min <= replicas <= scale.max and file.level("replicas") >= file.level("scale"):
        raise SpecError(
            f"{replicas} replicas contradict scale, which allows {scale.min} to {scale.max}",
            where=file.where("replicas"),
            try_this="remove `replicas`, or begin with a number that scale allows",
        )


def _check_guards(file: SpecFile) -> None:
    """A guard whose files cannot be read would hold every canary for ever."""
    for number, guard in enumerate(file.spec.rollout.guards):
        for key in ("token_file", "ca_file"):
            path = getattr(guard, key)
            if path and not os.access(file.root / path, os.R_OK):
                raise SpecError(
                    f"guard '{guard.name}': the {key} {path} cannot be read",
                    where=file.where("rollout", "guards", number, key),
                    try_this=f"its path begins at {file.root}",
                )


def _check_corrections(file: SpecFile) -> None:
    """Corrections that cannot be read would correct nothing, and nobody would notice."""
    path = file.spec.gateway.corrections
    if not path:
        return
    from guideway.gateway.corrections import read_corrections  # with it comes a library that others need not wait for

    try:
        read_corrections((file.root / path).read_bytes())
    except OSError as error:
        where, advice = file.where("gateway", "corrections"), f"its path begins at {file.root}"
        raise SpecError(f"{path} cannot be read: {error.strerror}", where=where, try_this=advice) from None
    except ValueError as error:
        advice = 'a line is {"name": ..., "on": "prompt" or "answer", "exact" or "pattern": ..., "answer": ..., '
        advice += '"author": ..., "reason": ..., "expires": "2027-12-31"}'
        raise SpecError(f"no correction: {error}", where=path, try_this=advice) from None


def _check_gateway(file: SpecFile) -> None:
    """A certificate that cannot be used is an error here already; keys that will travel in clear are a warning."""
    options = rooted(file.spec.gateway, file.root)
    sound(file)
    where = file.where("gateway", "tls")
    try:
        has_files = is_on(options.tls) and not options.tls.development
    except SpecError as error:
        raise SpecError(error.what, where=where, try_this=error.try_this) from None
    if has_files:
        from guideway.gateway import certificate  # with it comes a library that others need not wait for

        shown = Path(options.tls.certificate)
        certificate.load(certificate.Pair(shown, Path(options.tls.key or shown)), time.time())
    said = warning(options)
    if said:
        click.echo(f"warning: {file.where('gateway', 'host')}: {said}", err=True)
