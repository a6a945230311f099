"""``guideway status``."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.text import Text

from guideway.cli.canary import blocks as canary_blocks
from guideway.cli.canary import known_of, summary
from guideway.cli.draw import print_json
from guideway.cli.fit import Block, fit
from guideway.cli.hints import addressed
from guideway.cli.project import environment_option, json_option, spec_option, state_of
from guideway.cli.steps import duration
from guideway.cli.tables import table_lines
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
            if as_json:
                _as_json(database, found, one_line=watch)
            elif watch and sys.stdout.isatty():
                lines = fit(blocks(home, database, found), *_screen())
                click.clear()
                click.echo("\n".join(lines))
            else:
                for block in blocks(home, database, found):
                    for line in block.lines:
                        click.echo(line)
            if not watch:
                return
            time.sleep(1)


def _screen() -> tuple[int, int]:
    """Columns and rows of the terminal, the last one left out, in which the cursor waits."""
    size = shutil.get_terminal_size()
    return size.columns, size.lines - 1


def _as_json(database: Database, found: Looked, *, one_line: bool) -> None:
    known = known_of(database, found.rollout)
    shown = {**_without_prompts(msgspec.to_builtins(found)), "canary": summary(found.rollout, known)}
    if one_line:
        click.echo(msgspec.json.encode(shown).decode())
    else:
        print_json(shown)


def _without_prompts(found: dict[str, Any]) -> dict[str, Any]:
    """*found* without what releases ask of the gateway: their system prompts are secrets of theirs."""
    arms = [arm for arm in (found["route"] or {}).items() if arm[0] in ("stable", "candidate") and arm[1]]
    for one in [*(arm for _, arm in arms), *found["replicas"]]:
        one.pop("terms", None)
    return found


def blocks(home: Home, database: Database, found: Looked) -> list[Block]:
    """What people see of one environment, what matters most first: a small terminal cuts from the end."""
    if found.state is None:
        said = addressed(f"nothing was ever shipped to '{found.environment}'; `guideway up` does it")
        return [Block((said,), 1)]
    head = tuple(_head(home, database, found, found.state))
    known = known_of(database, found.rollout)
    canary = canary_blocks(found.rollout, known) if found.rollout and known else []
    return [Block(head, len(head)), *canary, _replicas(database, found)]


def _head(home: Home, database: Database, found: Looked, state: EnvironmentState) -> Iterator[str]:
    """Where it is, what serves, and the rollout that runs, or the last one."""
    yield f"environment  {found.environment} ({'up' if state.up else 'down'})   state in {home.path}"
    listens = url(state.gateway.host, state.port, state.gateway.tls) if found.gateway else "not running"
    yield f"gateway      {listens}"
    yield addressed(f"controller   {_controller(found)}")
    if found.route and found.route.stable:
        yield f"stable       {_name(database, found.route.stable.release)}  model '{found.route.model}'"
        if candidate := found.route.candidate:
            what = "of the requests, as copies" if found.route.shadow else "of the requests"
            yield f"candidate    {_name(database, candidate.release)}  {found.route.weight:.0%} {what}"
    yield from _scaling(database, state)
    if rollout := found.rollout:
        title = "last rollout" if rollout.phase.final else "rollout     "
        reason = f": {rollout.reason}" if rollout.reason else ""
        what = f"{rollout.id} {rollout.kind} to {_name(database, rollout.release)}: {rollout.phase}{reason}"
        yield addressed(f"{title} {what}")


def _replicas(database: Database, found: Looked) -> Block:
    """The replicas, those that are not well first."""
    now = time.time()
    ordered = sorted(found.replicas, key=lambda one: one.state == "ready" and one.id in found.alive)
    rows = [
        [
            one.id,
            _name(database, one.release),
            one.state if one.id in found.alive else f"{one.state}, process gone",
            str(one.port),
            str(one.process.pid),
            duration(now - one.since),
            f"{found.memory.get(one.id, 0) / 1e6:.0f} MB",
        ]
        for one in ordered
    ]
    columns = ("REPLICA", "RELEASE", "STATE", "PORT", "PID", "SINCE", "MEMORY")
    table = table_lines(columns, [[Text(cell) for cell in row] for row in rows], empty="no replica runs")
    return Block(("", *table), 4, "replicas")


def _controller(found: Looked) -> str:
    """Does it act? One that lives may stand still."""
    if not found.controller:
        alone = "; traffic goes on without it" if found.gateway else ""
        return f"not running (the next command starts it, and so does `guideway controller`{alone})"
    if found.halted:
        return f"running, but does nothing here: {found.halted}"
    age = found.round_age or 0.0
    return f"running, but its last round was {duration(age)} ago" if age > LATE else "running"


def _scaling(database: Database, state: EnvironmentState) -> Iterator[str]:
    """How many replicas the load asks for, and why."""
    if state.scale is None:
        return
    known = canaries.scaling(database, state.name, Scaling)
    why = f"{known.state.wanted}, {known.rule}: {known.reason}" if known else "not decided yet"
    yield f"scale        {state.scale.min} to {state.scale.max} replicas, now {why}"


def _name(database: Database, digest: str) -> str:
    release = releases.by_digest(database, digest)
    return releases.label(release) if release else short(digest)
