"""``guideway ship``."""

from __future__ import annotations

import time
from pathlib import Path

import click
import msgspec

from guideway.cli.check import sound
from guideway.cli.draw import Emit, drawn
from guideway.cli.project import environment_option, json_option, opened, spec_option
from guideway.core.events import Note
from guideway.core.release import Release
from guideway.core.rollout import Rollout
from guideway.core.spec import SpecFile
from guideway.fleet import orders
from guideway.gateway.exposure import rooted, warning
from guideway.pipeline.admission import admitted
from guideway.pipeline.workshop import Workshop, open_workshop
from guideway.store import fleet, releases

LOOK = 0.02
"""Seconds between two looks at a running rollout."""


@click.command("ship")
@click.argument("release", required=False)
@spec_option
@environment_option
@json_option
def command(release: str | None, path: Path, environment: str, as_json: bool) -> None:
    """Admit RELEASE (default: the newest) into an environment and move all traffic to it.

    The release that served before stays warm for `rollout.bake` seconds, so that a rollback is instant.
    """
    file, home = opened(path, environment)
    shop = open_workshop(home)
    found = releases.find(shop.database, release) if release else releases.newest(shop.database, file.spec.name)
    with drawn(as_json=as_json) as emit:
        ship(file, shop, found, emit)


def ship(file: SpecFile, shop: Workshop, release: Release, emit: Emit) -> bool:
    """Admit and ship *release*, and wait until it serves. False when it served already."""
    environment = file.environment
    route = fleet.route(shop.database, environment)
    if route is None or route.stable is None or route.stable.release != release.digest:
        admitted(shop, file, release, emit)
    sound(file)
    options = rooted(file.spec.gateway, file.root)
    if said := warning(options):
        emit(Note(f"warning: {said}"))
    wanted = msgspec.structs.replace(file.spec, gateway=options)
    rollout = orders.ship(shop.database, wanted, environment, release, clock=shop.clock)
    orders.ensure_controller(shop.home)
    if rollout is None:
        emit(Note(f"{releases.label(release)} serves in '{environment}' already"))
        return False
    follow(shop, rollout, emit)
    emit(Note(f"{releases.label(release)} serves in '{environment}'", {"release": release.digest}))
    return True


def follow(shop: Workshop, rollout: Rollout, emit: Emit) -> Rollout:
    """Wait for *rollout*, saying every phase."""

    def changed(now: Rollout) -> None:
        emit(Note(f"rollout {now.id}: {now.phase}" + (f" ({now.reason})" if now.reason else "")))

    return orders.follow(shop.database, rollout, pause=lambda: time.sleep(LOOK), changed=changed)
