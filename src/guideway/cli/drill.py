"""``guideway drill``."""

from __future__ import annotations

import contextlib
import datetime
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import click
import msgspec

from guideway.cli.draw import drawn, print_json
from guideway.cli.project import environment_option, json_option, opened, spec_option
from guideway.cli.state import catch_up
from guideway.cli.steps import duration
from guideway.cli.tables import table
from guideway.core.errors import GuidewayError, SpecError
from guideway.core.spec import SpecFile
from guideway.fleet.drills.hold import DRILLS, Held, applies, hold
from guideway.fleet.drills.site import Asked
from guideway.pipeline.workshop import open_workshop
from guideway.standard.overlay import level_of
from guideway.store.home import Home

_HELP = {
    "rollback": "Roll back under load and forward again: seconds, failed requests, broken streams (REL-03).",
    "replica": "Kill a replica under load: failed requests, seconds until it is replaced (OPS-06).",
    "controller": "Kill the controller under load: failed requests, and whether the next one adopts all (OPS-06).",
    "overload": "Offer twice what the service can answer: goodput, refusals, recovery (OPS-05 with --peak, OPS-06).",
    "cache": "Lose the cache under load: failed requests, and whether it fills again (OPS-06).",
}


@click.group("drill")
def command() -> None:
    """Do it for real in an environment, under a small load, and leave signed evidence of how it went.

    What a drill changes it puts back, also on Ctrl-C. It calls with a key of its own, which it revokes at the end.
    Exit code 1 when a criterion does not hold.
    """


def _verb(name: str) -> click.Command:
    @click.command(name, help=_HELP[name], short_help=_HELP[name].partition(":")[0] + ".")
    @click.option("--rate", type=click.FloatRange(min=1, max=1000), default=20, show_default=True, help="Requests/s.")
    @click.option("--prompt", default="", help="What is asked; default: the question that probes the release.")
    @click.option("--yes", is_flag=True, help="Do not ask before a drill where the level is prod.")
    @spec_option
    @environment_option
    @json_option
    def verb(*, yes: bool, path: Path, environment: str, as_json: bool, **asked: Any) -> None:
        file, home = opened(path, environment)
        _drill(name, file, home, Asked(**asked), yes=yes, as_json=as_json)

    if name != "overload":
        return verb
    peak = click.option("--peak", type=click.FloatRange(min=0), default=0, help="Requests/s expected at the peak.")
    within = click.option(
        "--within", type=click.FloatRange(min=0.1), default=10, show_default=True, help="Seconds: later is of no use."
    )
    return peak(within(verb))


for _name in DRILLS:
    command.add_command(_verb(_name))


def _drill(name: str, file: SpecFile, home: Home, asked: Asked, *, yes: bool, as_json: bool) -> None:
    shop = open_workshop(home)
    if why := applies(shop, file, name):
        said = f"the drill does not apply to '{file.environment}': {why}; no evidence is left"
        print_json({"applies": False, "why": why}) if as_json else click.echo(said)
        return
    _confirm(name, file, yes=yes, quiet=as_json)
    with _ended_alike(), drawn(as_json=as_json) as emit:
        held = hold(shop, file, name, asked, emit)
    catch_up(shop.database, home)
    if as_json:
        print_json(_plain(held))
    else:
        _show(held, shop.signer.name)
    if not held.drilled.passed:
        raise GuidewayError(f"the drill failed: {held.drilled.failures}", where=file.environment)


def _confirm(name: str, file: SpecFile, *, yes: bool, quiet: bool) -> None:
    """Say what will be done; where the level is prod, ask.

    Raises:
        SpecError: nobody is there who could be asked.
        click.Abort: the answer is no.
    """
    serious = level_of(file) == "prod" and not yes
    if not quiet or serious:
        for said in DRILLS[name].says:
            click.echo(f"› will {said}", err=quiet)
    if not serious:
        return
    if quiet or not sys.stdin.isatty():
        raise SpecError(f"'{file.environment}' is judged as prod, and nobody can be asked", try_this="--yes")
    click.confirm(f"do it in '{file.environment}' now?", abort=True)


@contextlib.contextmanager
def _ended_alike() -> Iterator[None]:
    """SIGTERM and SIGHUP end a drill as Ctrl-C does: what it changed is put back."""
    before = {number: signal.signal(number, _interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _show(held: Held, signer: str) -> None:
    drilled = held.drilled
    rows = [(one.what, f"{one.value:.4g} {one.unit}".rstrip(), one.limit, one.verdict) for one in drilled.criteria]
    table(("CRITERION", "MEASURED", "LIMIT", "VERDICT"), rows, empty="")
    for note in drilled.notes:
        click.echo(note)
    until = min(fact.valid_until or 0.0 for fact in held.facts)
    day = datetime.datetime.fromtimestamp(until).astimezone().date()
    click.echo(
        f"drill {drilled.drill} in '{drilled.environment}': {'PASS' if drilled.passed else 'FAIL'} "
        f"in {duration(drilled.seconds)}; {len(held.facts)} facts, signed by {signer}, hold until {day} "
        f"(`guideway assess -e {drilled.environment}`)"
    )


def _plain(held: Held) -> dict[str, Any]:
    drilled: dict[str, Any] = msgspec.to_builtins(held.drilled)
    for plain, one in zip(drilled["criteria"], held.drilled.criteria, strict=True):
        plain["verdict"] = one.verdict
    facts = [msgspec.to_builtins(one) for one in held.facts]
    return {**drilled, "passed": held.drilled.passed, "envelope": held.envelope, "evidence": facts}
