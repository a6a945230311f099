"""``guideway status``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click
import msgspec

from guideway.cli.canary import known_of, show, summary
from guideway.cli.draw import duration, print_json, table
from guideway.cli.project import environment_option, json_option, spec_option, state_of
from guideway.core.artifact import short
from guideway.core.rollout import EnvironmentState
from guideway.fleet.look import Looked, look
from guideway.fleet.scaler import Scaling
from guideway.gateway.exposure import url
from guideway.store import canaries, releases
from guideway.store.database import Database
from guideway.store.home import Home

LATE = 15.0
"""Seconds without a round after which a controller is said to stand still."""


@click.command("status")
@click.option("-w", "--watch", is_flag=True, help="Look again every second, until Ctrl-C.")
@spec_option
@environment_option
@json_option
def command(watch: bool, path: Path, environment: str, as_json: bool) -> None:
    """What runs in an environment, where, and who gets it."""
    home, broken = state_of(path, environment)
    if broken:
        click.echo(f"warning: {broken}; what runs does not depend on it, but nothing can be shipped", err=True)
    with Database(home.database) as database:
        while True:
            found = look(home, database, environment)
            if watch and not as_json:
                click.clear()
            if as_json:
                known = known_of(database, found.rollout)
                shown = {**_without_prompts(msgspec.to_builtins(found)), "canary": summary(found.rollout, known)}
                if watch:  # one line a look
                    click.echo(msgspec.json.encode(shown).decode())
                else:
                    print_json(shown)
            else:
                _show(home, database, found)
            if not watch:
                return
            time.sleep(1)


def _without_prompts(found: dict[str, Any]) -> dict[str, Any]:
    """*found* without what releases ask of the gateway: their system prompts are secrets of theirs."""
    arms = [arm for arm in (found["route"] or {}).items() if arm[0] in ("stable", "candidate") and arm[1]]
    for one in [*(arm for _, arm in arms), *found["replicas"]]:
        one.pop("terms", None)
    return found


def _show(home: Home, database: Database, found: Looked) -> None:
    if found.state is None:
        click.echo(f"nothing was ever shipped to '{found.environment}'; `guideway up` does it")
        return
    click.echo(f"environment  {found.environment} ({'up' if found.state.up else 'down'})   state in {home.path}")
    options = found.state.gateway
    gateway = url(options.host, found.state.port, options.tls) if found.gateway else "not running"
    click.echo(f"gateway      {gateway}")
    click.echo(f"controller   {_controller(found)}")
    if found.route and found.route.stable:
        click.echo(f"stable       {_name(database, found.route.stable.release)}  model '{found.route.model}'")
        if candidate := found.route.candidate:
            what = "of the requests, as copies" if found.route.shadow else "of the requests"
            click.echo(f"candidate    {_name(database, candidate.release)}  {found.route.weight:.0%} {what}")
    _rollout(database, found)
    click.echo()
    now = time.time()
    rows: list[tuple[Any, ...]] = [
        (
            one.id,
            _name(database, one.release),
            one.state if one.id in found.alive else f"{one.state}, process gone",
            str(one.port),
            str(one.process.pid),
            duration(now - one.since),
            f"{found.memory.get(one.id, 0) / 1e6:.0f} MB",
        )
        for one in found.replicas
    ]
    table(("REPLICA", "RELEASE", "STATE", "PORT", "PID", "SINCE", "MEMORY"), rows, empty="no replica runs")


def _controller(found: Looked) -> str:
    """Does it act? One that lives may stand still."""
    if not found.controller:
        alone = "; traffic goes on without it" if found.gateway else ""
        return f"not running (the next command starts it, and so does `guideway controller`{alone})"
    if found.halted:
        return f"running, but does nothing here: {found.halted}"
    age = found.round_age or 0.0
    return f"running, but its last round was {duration(age)} ago" if age > LATE else "running"


def _rollout(database: Database, found: Looked) -> None:
    """The rollout that runs, or the last one; and why there are as many replicas as there are."""
    rollout = found.rollout
    if found.state:
        _scaling(database, found.state)
    if rollout is None:
        return
    title = "last rollout" if rollout.phase.final else "rollout     "
    reason = f": {rollout.reason}" if rollout.reason else ""
    click.echo(f"{title} {rollout.id} {rollout.kind} to {_name(database, rollout.release)}: {rollout.phase}{reason}")
    known = known_of(database, rollout)
    if known:
        show(rollout, known)


def _scaling(database: Database, state: EnvironmentState) -> None:
    """How many replicas the load asks for, and why."""
    if state.scale is None:
        return
    known = canaries.scaling(database, state.name, Scaling)
    why = f"{known.state.wanted}, {known.rule}: {known.reason}" if known else "not decided yet"
    click.echo(f"scale        {state.scale.min} to {state.scale.max} replicas, now {why}")


def _name(database: Database, digest: str) -> str:
    release = releases.by_digest(database, digest)
    return releases.label(release) if release else short(digest)
