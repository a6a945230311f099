"""Options that verbs share, and opening the project that they speak of."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from guideway.cli.hints import asked
from guideway.core.errors import SpecError
from guideway.core.spec import SpecFile, load, state_url
from guideway.kit.user import user_name
from guideway.store.home import Home

Command = TypeVar("Command", bound=Callable[..., Any])


def spec_option(command: Command) -> Command:
    """``-f/--file``: which spec."""
    return click.option(
        "-f",
        "--file",
        "path",
        type=click.Path(path_type=Path),
        default=Path("guideway.yaml"),
        show_default=True,
        callback=asked,
        help="The spec.",
    )(command)


def environment_option(command: Command) -> Command:
    """``-e/--env``: which environment."""
    return click.option(
        "-e",
        "--env",
        "environment",
        default="dev",
        show_default=True,
        callback=asked,
        help="The environment.",
        metavar="NAME",
    )(command)


def json_option(command: Command) -> Command:
    """``--json``: print data for machines."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def by_option(command: Command) -> Command:
    """``--by``: the person whom the ledger names; by default whom the operating system takes us for."""
    return click.option("--by", default=user_name, metavar="NAME", help="Who says so, for the ledger.")(command)


def opened(path: Path, environment: str) -> tuple[SpecFile, Home]:
    """The spec as it holds in *environment*, and the state folder beside it."""
    file = load(path, environment)
    return file, Home.of(file.root, file.spec.state.url)


def state_of(path: Path, environment: str) -> tuple[Home, SpecError | None]:
    """The state folder beside the spec, and what is wrong with the spec: what runs can be seen and stopped without it.

    Raises:
        SpecError: the spec is wrong, and of *environment* nothing is known here, or its rows are elsewhere.
    """
    try:
        return opened(path, environment)[1], None
    except SpecError as error:
        root = path.absolute().parent
        folder = Path(os.environ.get("GUIDEWAY_HOME") or root / ".guideway")
        known = folder if environment == "dev" else folder / "run" / "env" / environment
        if not known.is_dir():
            raise
        from guideway.store.address import Address  # with it comes a library that others need not wait for

        home = Home.of(root, state_url(path, environment))
        if home.noted not in {"", Address.of(home.database).label}:
            raise
        return home, error


def signer_option(command: Command) -> Command:
    """``--as``: whose key signs. Named on purpose: the key of the installation answers for nobody."""
    return click.option("--as", "signer", required=True, metavar="NAME", help="Whose key signs (`guideway signers`).")(
        command
    )


def release_and(words: Sequence[str], what: str) -> tuple[str | None, str]:
    """``[RELEASE] WHAT`` as typed: the release, or None for the newest, and the other word.

    Raises:
        click.UsageError: fewer or more words.
    """
    if len(words) not in (1, 2):
        raise click.UsageError(f"give a {what}, and before it a release if not the newest is meant")
    return (words[0] if len(words) == 2 else None), words[-1]
