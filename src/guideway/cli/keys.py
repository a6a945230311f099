"""``guideway keys``."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from guideway.cli.draw import print_json
from guideway.cli.project import environment_option, json_option, spec_option, state_of
from guideway.cli.state import writing
from guideway.cli.tables import table
from guideway.core.errors import SpecError
from guideway.core.route import ApiKey
from guideway.core.spec.gateway import Limits
from guideway.fleet import orders
from guideway.store import api_keys, usage
from guideway.store.database import Database

Command = TypeVar("Command", bound=Callable[..., Any])
_DAY = 86_400
_SECONDS = {"m": 60, "h": 3600, "d": _DAY, "w": 7 * _DAY}
_MOST = 10**15
_LIMITS = Limits.__struct_fields__


@click.group("keys")
def command() -> None:
    """Make, list and revoke the keys that clients call with."""


def limit_options(command: Command) -> Command:
    """``--requests-per-minute`` and its five siblings."""
    for name in reversed(_LIMITS):
        kind = click.FloatRange(min=0) if name.startswith("money") else click.IntRange(min=0)
        option = click.option(
            f"--{name.replace('_', '-')}", name, type=kind, metavar="N", help=f"{name.replace('_', ' ').capitalize()}."
        )
        command = option(command)
    return command


@command.command("new")
@click.option("--label", default="", help="Whose key it is.")
@click.option("--tenant", default="", help="Whose data its requests are; none: the key is a tenant of its own.")
@click.option("--role", type=click.Choice(["user", "operator", "admin"]), default="user", show_default=True)
@click.option("--model", "models", multiple=True, metavar="NAME", help="A model it may call (repeatable); none: all.")
@click.option("--expires", default="", metavar="30d", help="How long it is good: a number and m, h, d or w.")
@limit_options
@spec_option
@environment_option
@json_option
def new(
    *,
    label: str,
    tenant: str,
    role: str,
    models: tuple[str, ...],
    expires: str,
    path: Path,
    environment: str,
    as_json: bool,
    **limits: float | None,
) -> None:
    """Make a key. It is shown once; only a peppered digest is kept.

    With any limit of its own it has only those, not the ones of the environment; 0 is no limit.
    """
    if "" in models:
        raise SpecError("a model needs a name", where="--model", try_this="leave --model out: the key may call all")
    now = time.time()
    terms: dict[str, Any] = {"tenant": tenant, "role": role, "models": models, "limits": _limits(limits)}
    terms["expires"] = now + _seconds(expires) if expires else None
    home, _ = state_of(path, environment)
    with writing(home) as database:
        key = orders.make_key(home, database, environment, label, clock=time.time, **terms)
    id = orders.id_of(home, key)
    if as_json:
        print_json({"key": key, "id": id, "label": label})
        return
    click.echo(key)
    click.echo(f"its id, to list and revoke it: {id}", err=True)


def _limits(given: Mapping[str, float | None]) -> Limits | None:
    named = {name: value for name, value in given.items() if value is not None}
    wrong = next((name for name, value in named.items() if not value <= _MOST), None)
    if wrong is not None:
        raise SpecError(f"{named[wrong]} is no limit", where=f"--{wrong.replace('_', '-')}", try_this="0 is no limit")
    return msgspec.convert(named, Limits) if named else None


def _seconds(text: str) -> int:
    found = re.fullmatch(r"([1-9][0-9]{0,5})([mhdw])", text)
    if found is None:
        raise SpecError(f"'{text}' is no time span", where="--expires", try_this="a number and m, h, d or w, as in 30d")
    return int(found[1]) * _SECONDS[found[2]]


@command.command("list")
@spec_option
@environment_option
@json_option
def list_(path: Path, environment: str, as_json: bool) -> None:
    """List the keys of an environment, and what each used today (UTC)."""
    now = time.time()
    home, _ = state_of(path, environment)
    with Database(home.database) as database:
        found = api_keys.all_of(database, environment)
        used = usage.of_day(database, int(now // _DAY))
    if as_json:
        print_json([_told(key, used.get(key.id, usage.Use())) for key in found])
        return
    columns = ("ID", "LABEL", "TENANT", "ROLE", "MODELS", "REQUESTS", "TOKENS", "MONEY", "")
    rows = [_row(key, used.get(key.id, usage.Use()), now) for key in found]
    table(columns, rows, empty="no key yet; `guideway keys new` makes one")


def _told(key: ApiKey, use: usage.Use) -> dict[str, Any]:
    """What is known of a key, but for its digest."""
    known: dict[str, Any] = msgspec.to_builtins(key)
    del known["digest"]
    return {**known, "today": {**use._asdict(), "money": use.money / usage.NANO}}


def _row(key: ApiKey, use: usage.Use, now: float) -> tuple[str, ...]:
    tokens = str(use.input_tokens + use.output_tokens)
    models = " ".join(key.models) or "all"
    used = (str(use.requests), tokens, f"{use.money / usage.NANO:.4f}")
    return (key.id, key.label, key.tenant, key.role, models, *used, _standing(key, now))


def _standing(key: ApiKey, now: float) -> str:
    if key.revoked:
        return "revoked"
    if key.expires is None:
        return ""
    if key.expires <= now:
        return "expired"
    return f"until {datetime.fromtimestamp(key.expires, UTC):%Y-%m-%d %H:%M}Z"


@command.command("revoke")
@click.argument("id")
@spec_option
@environment_option
def revoke(id: str, path: Path, environment: str) -> None:
    """Make the key ID worthless."""
    home, _ = state_of(path, environment)
    with writing(home) as database:
        orders.revoke_key(home, database, environment, id, clock=time.time)
    click.echo(f"key {id} is revoked")
