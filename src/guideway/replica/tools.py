"""Calls of functions: the answer is held to the form of a call, and its text becomes one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from guideway.replica.constrain.automaton import Expressions, Node
from guideway.replica.constrain.constraint import Form
from guideway.replica.constrain.grammar import Json
from guideway.replica.constrain.schema import compiled
from guideway.replica.shapes import ChosenTool, RequestError, Tool

BEFORE, BETWEEN, BEHIND = '{"name":', ',"arguments":', "}"
"""A call as the model writes it, around the name of the function and its arguments."""


def chosen(tools: Sequence[Tool] | None, choice: str | ChosenTool | None) -> list[Tool]:
    """The functions of which one must be called; none: the answer is text.

    Raises:
        RequestError: the choice is not one that we can keep to.
    """
    wanted = choice if choice is not None else "auto" if tools else "none"
    if wanted == "none":
        return []
    if isinstance(wanted, ChosenTool):
        found = [tool for tool in tools or () if tool.function.name == wanted.function.name]
        if not found:
            raise _refusal(f"tool_choice names '{wanted.function.name}', which is not in tools", "invalid_request")
        return found[:1]
    if wanted != "required":
        raise _refusal(
            "tool_choice 'auto' is not supported here: name a function, or say 'required' or 'none'",
            "unsupported_value",
        )
    if not tools:
        raise _refusal("tool_choice is 'required' and there are no tools", "invalid_request")
    return list(tools)


def form_of_call(tools: Sequence[Tool]) -> Form:
    """The form of a call of one of *tools*, with arguments as its schema says."""

    def form(make: Expressions, values: Json) -> Node:
        def call(tool: Tool) -> Node:
            schema = tool.function.parameters or {"type": "object", "additionalProperties": False}
            name = make.literal((BEFORE + json.dumps(tool.function.name) + BETWEEN).encode())
            return make.seq(name, compiled(schema, make, values), make.literal(BEHIND.encode()))

        return make.alt(*(call(tool) for tool in tools))

    return form


class Call:
    """Reads a call out of the text that a model writes, piece by piece."""

    def __init__(self) -> None:
        self.name: str | None = None
        self._text = ""

    def push(self, text: str, finish: str | None = None) -> str:
        """The further arguments that *text* brings. The end of the call is no part of them, so one character waits.

        *finish* tells why nothing follows: ``stop`` is behind a whole call.
        """
        self._text += text
        if self.name is None:
            head, between, rest = self._text.lstrip().partition(BETWEEN)
            if not between:
                return ""
            self.name, self._text = json.loads(head.removeprefix(BEFORE)), rest
        arguments = self._text if finish == "length" else self._text[: -len(BEHIND)]
        self._text = self._text[len(arguments) :]
        return arguments


def told(call: str, name: str | None, arguments: str) -> dict[str, Any]:
    """A call, or a piece of one, as the API tells it; only the first piece has the *name*."""
    if name is None:
        return {"function": {"arguments": arguments}}
    return {"id": call, "type": "function", "function": {"name": name, "arguments": arguments}}


def _refusal(message: str, code: str) -> RequestError:
    return RequestError(400, message, code=code, param="tool_choice")
