"""``guideway check``."""

from __future__ import annotations

import time
from pathlib import Path

import click
import msgspec

from guideway.cli.project import environment_option, opened, spec_option
from guideway.core.errors import SpecError, Unavailable
from guideway.core.spec import Rollout, SpecFile
from guideway.core.spec.guards import rooted as rooted_guards
from guideway.fleet.ports import check_ports
from guideway.fleet.prompts import load_prompts
from guideway.gateway.exposure import is_on, rooted, warning
from guideway.gateway.soundness import check_options
from guideway.pipeline.check import check
from guideway.rollout.plan import check as check_plan
from guideway.rollout.plan import plan_of
from guideway.store.database import Database
from guideway.store.home import Home


@click.command("check")
@spec_option
@environment_option
def command(path: Path, environment: str) -> None:
    """Check guideway.yaml and everything it names; prints the first error with its line."""
    file, _ = opened(path, environment)
    check(file)
    _check_gateway(file)
    takeover(file)
    click.echo(f"{path} is in order for '{environment}'")


def sound(file: SpecFile) -> None:
    """Refuse options of the gateway that nothing could start or serve with, with the line where they stand.

    Raises:
        SpecError: one of them.
    """
    try:
        check_options(file.spec.gateway, file.spec.policy.masking)
    except SpecError as error:
        where = file.where(*(error.where or "gateway").split("."))
        raise SpecError(error.what, where=where, try_this=error.try_this) from None


def ports_free(file: SpecFile, home: Home, database: Database) -> None:
    """Refuse ports of the gateway that somebody else has, with the line where they stand.

    Raises:
        Unavailable: one of them.
    """
    try:
        check_ports(home, database, file.environment, file.spec.gateway)
    except Unavailable as error:
        where = file.where(*(error.where or "gateway").split("."))
        raise Unavailable(error.what, where=where, try_this=error.try_this) from None


def takeover(file: SpecFile) -> Rollout:
    """How a release takes over in the environment, with paths that begin at the folder of the spec.

    Raises:
        SpecError: the plan cannot be meant, or the golden prompts cannot be read.
    """
    asked = file.spec.rollout
    try:
        check_plan(plan_of(asked))
    except SpecError as error:
        raise SpecError(error.what, where=file.where("rollout"), try_this=error.try_this) from None
    golden = asked.golden
    if golden:
        load_prompts(file.root / golden.file, golden.file)
        golden = msgspec.structs.replace(golden, file=str(file.root / golden.file))
    return msgspec.structs.replace(asked, golden=golden, guards=rooted_guards(asked.guards, file.root))


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
