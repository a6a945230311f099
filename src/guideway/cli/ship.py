"""``guideway ship``."""

from __future__ import annotations

import time
from pathlib import Path

import click
import msgspec

from guideway.cli.canary import Teller
from guideway.cli.check import sound, takeover
from guideway.cli.draw import Emit, drawn
from guideway.cli.project import Command, by_option, environment_option, json_option, opened, spec_option
from guideway.core.errors import Unavailable
from guideway.core.events import Note
from guideway.core.release import Release
from guideway.core.rollout import Rollout
from guideway.core.spec import Gateway, SpecFile
from guideway.core.spec.rollout import Strategy
from guideway.fleet import orders
from guideway.fleet.ports import check_ports
from guideway.gateway.exposure import rooted, warning
from guideway.pipeline.admission import admitted
from guideway.pipeline.workshop import Workshop, open_workshop
from guideway.standard.overlay import strategy_of
from guideway.store import fleet, releases

LOOK = 0.02
"""Seconds between two looks at a running rollout."""


TELL = 0.5
"""Seconds between two lines of progress of a canary."""


def no_wait_option(command: Command) -> Command:
    """``--no-wait``: begin a rollout and leave it to the controller."""
    said = "Do not wait until it is over: `guideway status -w` shows it."
    return click.option("--no-wait", is_flag=True, help=said)(command)


@click.command("ship")
@click.argument("release", required=False)
@click.option(
    "--strategy",
    type=click.Choice(["canary", "shadow", "all-at-once"]),
    help="How it takes over [default: `rollout.strategy`; canary where the environment counts as prod].",
)
@click.option("--afresh", metavar="WHY", help="Forget the evidence of an earlier canary of this release.")
@no_wait_option
@by_option
@spec_option
@environment_option
@json_option
def command(
    *,
    release: str | None,
    strategy: Strategy | None,
    afresh: str | None,
    no_wait: bool,
    by: str,
    path: Path,
    environment: str,
    as_json: bool,
) -> None:
    """Admit RELEASE (default: the newest) into an environment and move traffic to it.

    A canary gets a small share first, and more as long as nothing speaks against it; it gets all traffic once it was
    shown to be no worse. In shadow it answers copies. The release that served before stays warm for `rollout.bake`
    seconds, so that a rollback is instant. The same release once more is a retry, which keeps its evidence.
    """
    if afresh is not None and not afresh.strip():
        raise click.UsageError("--afresh needs a reason, for the ledger")
    file, home = opened(path, environment)
    shop = open_workshop(home)
    found = releases.find(shop.database, release) if release else releases.newest(shop.database, file.spec.name)
    if strategy:  # admission judges what is done, not what is written
        asked = msgspec.structs.replace(file.spec.rollout, strategy=strategy)
        file = msgspec.structs.replace(file, spec=msgspec.structs.replace(file.spec, rollout=asked))
    with drawn(as_json=as_json) as emit:
        ship(file, shop, found, emit, afresh=f"{by}: {afresh}" if afresh else "", wait=not no_wait)


def ship(
    file: SpecFile,
    shop: Workshop,
    release: Release,
    emit: Emit,
    *,
    afresh: str = "",
    wait: bool = True,
) -> bool:
    """Admit and ship *release* in the way that the environment asks for, and wait until it serves.

    False when it served already.
    """
    environment = file.environment
    ports_free(file, shop)
    route = fleet.route(shop.database, environment)
    if route is None or route.stable is None or route.stable.release != release.digest:
        admitted(shop, file, release, emit)
    sound(file)
    wanted = msgspec.structs.replace(file.spec, gateway=_options(file, emit), rollout=takeover(file))
    running = fleet.rollouts(shop.database, environment, running=True, limit=1)
    rollout = orders.ship(
        shop.database, wanted, environment, release, clock=shop.clock, strategy=strategy_of(file), afresh=afresh
    )
    orders.ensure_controller(shop.home)
    for one in running if rollout else ():
        paused = ", which was paused" if one.paused else ""
        emit(Note(f"warning: this takes the place of rollout {one.id} ({one.phase}){paused}"))
    if rollout is None:
        emit(Note(f"{releases.label(release)} serves in '{environment}' already"))
        return False
    if not wait:
        begun = f"rollout {rollout.id} of {releases.label(release)} has begun: {rollout.strategy}"
        emit(Note(f"{begun}; `guideway status -w` shows it"))
        return True
    follow(shop, rollout, emit)
    emit(Note(f"{releases.label(release)} serves in '{environment}'", {"release": release.digest}))
    return True


def ports_free(file: SpecFile, shop: Workshop) -> None:
    """Refuse ports of the gateway that somebody else has, with the line where they stand.

    Raises:
        Unavailable: one of them.
    """
    try:
        check_ports(shop.home, shop.database, file.environment, file.spec.gateway)
    except Unavailable as error:
        where = file.where(*(error.where or "gateway").split("."))
        raise Unavailable(error.what, where=where, try_this=error.try_this) from None


def _options(file: SpecFile, emit: Emit) -> Gateway:
    options = rooted(file.spec.gateway, file.root)
    if said := warning(options):
        emit(Note(f"warning: {said}"))
    return options


def follow(shop: Workshop, rollout: Rollout, emit: Emit) -> Rollout:
    """Wait for *rollout*, saying every phase. Whoever interrupts it leaves the rollout to the controller."""
    teller, told = Teller(shop.database, emit), time.monotonic()

    def pause(now: Rollout) -> None:
        nonlocal told
        time.sleep(LOOK)
        if now.phase.beside and time.monotonic() > told + TELL:
            told = time.monotonic()
            teller.look(now)

    def changed(now: Rollout) -> None:
        emit(Note(f"rollout {now.id}: {now.phase}" + (f" ({now.reason})" if now.reason else "")))

    try:
        return orders.follow(shop.database, rollout, pause=pause, changed=changed)
    except KeyboardInterrupt:
        emit(Note("nothing was stopped: the rollout goes on; `guideway status -w` shows it, `guideway abort` ends it"))
        raise
