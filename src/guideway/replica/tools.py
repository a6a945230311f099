"""Calls of functions: the answer is held to the form of a call, and its text becomes one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from guideway.replica.constrain.automaton import Expressions, Node
from guideway.replica.constrain.grammar import Json
from guideway.replica.constrain.schema import compiled
from guideway.replica.shapes import ChosenTool, Named, RequestError, Tool
from guideway.replica.text import overlap

MARK, END = "<tool_call>", "</tool_call>"
"""What many templates teach a model to write around a call; without them nobody can tell a call from a text."""
BEFORE, BETWEEN = '{"name": ', ', "arguments": '
"""A call as models write it, around the name of the function."""


class Plan:
    """What is to be done about the tools of one request.

    ``tools`` may be called. ``must``: one of them is; otherwise the model may also answer with a text. ``named``: the
    request says which. ``marked``: the model writes calls between ``MARK`` and ``END``.
    """

    def __init__(self, tools: Sequence[Tool], *, must: bool, named: bool, marked: bool) -> None:
        self.tools, self.must, self.named, self.marked = tools, must, named, marked

    @property
    def behind(self) -> str:
        """What ends a call, behind its arguments."""
        return f"}}\n{END}" if self.marked else "}"

    @property
    def trigger(self) -> str:
        """What the model writes before a call that is its own choice; empty when there must be one."""
        return "" if self.must else MARK

    def form(self, make: Expressions, values: Json) -> Node:
        """The form of a call, from behind ``trigger``."""
        start = make.literal(MARK.encode()) if self.marked and self.must else make.empty
        call = make.alt(*(self._call(tool, make, values) for tool in self.tools))
        return make.seq(start, make.maybe(make.one(b"\n")), call) if self.marked else call

    def _call(self, tool: Tool, make: Expressions, values: Json) -> Node:
        schema = tool.function.parameters or {"type": "object", "additionalProperties": False}
        name = make.literal((BEFORE + json.dumps(tool.function.name) + BETWEEN).encode())
        return make.seq(name, compiled(schema, make, values), make.literal(self.behind.encode()))


def plan_of(tools: Sequence[Tool] | None, choice: str | ChosenTool | None, *, marked: bool) -> Plan | None:
    """What to do about *tools*; None: nothing, the answer is a text.

    Raises:
        RequestError: the choice is not one that we can keep to.
    """
    wanted = choice if choice is not None else "auto" if tools else "none"
    if wanted == "none" or (wanted == "auto" and not tools):
        return None
    if not tools:
        raise _refusal("tool_choice asks for a call and there are no tools", "invalid_request")
    if isinstance(wanted, ChosenTool):
        return Plan([_named(tools, wanted.function)], must=True, named=True, marked=marked)
    if wanted == "auto" and not marked:
        raise _refusal(
            f"tool_choice 'auto' is not supported: this model's template does not mark calls with {MARK}; "
            "name a function, or say 'required' or 'none'",
            "unsupported_value",
        )
    return Plan(tools, must=wanted == "required", named=False, marked=marked)


class Call:
    """Reads a call out of the text that a model writes, piece by piece.

    ``name`` is the function once it is known; as long as it is None there may be no call at all.
    """

    def __init__(self, plan: Plan) -> None:
        self.name: str | None = None
        self._behind, self._mark = plan.behind, plan.trigger
        self._within = plan.must
        self._text = self._arguments = ""

    def push(self, text: str, finish: str | None = None) -> tuple[str, str]:
        """The further text before a call, and the further arguments, that *text* brings.

        What may still become a mark or the end of a call waits. *finish* tells why nothing follows: ``stop`` is
        behind a whole call.
        """
        self._text += text
        said = "" if self._within else self._before_mark()
        if self._within and self.name is None:
            self._find_name()
        if self.name is not None:
            return said, self._further(finish)
        if finish is None:
            return said, ""
        rest = (self._mark if self._within else "") + self._text  # it was no call after all
        return said + ("" if self._within and not self._mark else rest), ""

    def _before_mark(self) -> str:
        said, found, rest = self._text.partition(self._mark)
        if found:
            self._within, self._text = True, rest
            return said
        keep = overlap(self._text, self._mark)
        said, self._text = self._text[: len(self._text) - keep], self._text[len(self._text) - keep :]
        return said

    def _find_name(self) -> None:
        head, between, rest = self._text.partition(BETWEEN)
        if between:
            try:
                self.name = json.loads(head.partition(BEFORE)[2])
            except ValueError:
                return
            self._text = rest

    def _further(self, finish: str | None) -> str:
        end = len(self._text) - len(self._behind)
        if finish == "length":
            end = _end_of_json(self._arguments + self._text) - len(self._arguments)
        further, self._text = self._text[: max(end, 0)], self._text[max(end, 0) :]
        self._arguments += further
        return further


def told(call: str, name: str | None, arguments: str) -> dict[str, Any]:
    """A call, or a piece of one, as the API tells it; only the first piece has the *name*."""
    if name is None:
        return {"function": {"arguments": arguments}}
    return {"id": call, "type": "function", "function": {"name": name, "arguments": arguments}}


def _named(tools: Sequence[Tool], wanted: Named) -> Tool:
    found = next((tool for tool in tools if tool.function.name == wanted.name), None)
    if found is None:
        raise _refusal(f"tool_choice names '{wanted.name}', which is not in tools", "invalid_request")
    return found


def _end_of_json(text: str) -> int:
    """Where the value ends with which *text* begins; its whole length if it is cut off."""
    try:
        return json.JSONDecoder().raw_decode(text)[1]
    except ValueError:
        return len(text)


def _refusal(message: str, code: str) -> RequestError:
    return RequestError(400, message, code=code, param="tool_choice")
