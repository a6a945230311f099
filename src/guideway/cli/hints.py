"""Advice that names one of our verbs, said for the spec and the environment that the person asked for."""

from __future__ import annotations

import re
import shlex
from typing import Any

import click

_ASKED = "guideway.asked"
_VERB = re.compile(r"`guideway ([^`]+)`")


def asked(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    """The callback of an option that advice must repeat: remembers a *value* that is not the default."""
    if value != parameter.default:
        context.meta.setdefault(_ASKED, {})[parameter.name] = str(value)
    return value


def addressed(text: str) -> str:
    """*text*, in which every verb between backticks got the options that were given, if it takes and lacks them."""
    return _VERB.sub(lambda found: f"`{command_line(found[1])}`", text)


def command_line(words: str) -> str:
    """``guideway`` and *words*, a verb and what it is given, with the options that it needs to mean the same place."""
    context = click.get_current_context(silent=True)
    given = context.meta.get(_ASKED) if context else None
    if context is None or not given:
        return f"guideway {words}"
    rest = words.split()
    command: click.Command | None = context.find_root().command
    while isinstance(command, click.Group) and rest:
        command = command.get_command(context, rest.pop(0))
    missing = [
        f" {option.opts[0]} {shlex.quote(given[option.name])}"
        for option in (command.params if command else ())
        if option.name in given and not {*option.opts} & {*rest}
    ]
    return f"guideway {words}{''.join(missing)}"
