"""Chat templates: Jinja in a sandbox, with bounds on what a template may cost."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NoReturn

from jinja2 import Template, TemplateError
from jinja2.exceptions import SecurityError, TemplateSyntaxError
from jinja2.ext import Extension
from jinja2.meta import find_undeclared_variables
from jinja2.nodes import Node
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from guideway.core.errors import SpecError

TEMPLATE_LIMIT = 256 * 1024
"""Characters of a template."""
TEXT_LIMIT = 4 * 1024 * 1024
"""Characters of a rendered conversation."""
LOOP_LIMIT = 100_000
"""Numbers that all ``range`` of one rendering may count together."""
PADDING = frozenset({"center", "ljust", "rjust", "zfill", "expandtabs", "format", "format_map"})
"""Ways to make a huge text out of a small number."""


class ChatTemplateError(SpecError):
    """A conversation that the template refuses, or a template that does not work."""


class _Generation(Extension):
    """``{% generation %}`` marks what the assistant says, which matters to some trainers; here it changes nothing."""

    tags = frozenset({"generation"})  # type: ignore[assignment]

    def parse(self, parser: Parser) -> list[Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Sandbox(ImmutableSandboxedEnvironment):
    """Templates as models bring them, without the ways to spend the memory of the host."""

    intercepted_binops = frozenset({"*", "**"})

    def __init__(self) -> None:
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _Generation])
        self.globals.clear()
        self.globals.update(dict=dict, namespace=Namespace, raise_exception=_raise)
        self.filters["tojson"] = _to_json
        for name in PADDING | {"indent", "wordwrap", "pprint", "xmlattr"}:
            self.filters.pop(name, None)

    def wrap_str_format(self, value: Any) -> Any:
        return None  # so that ``format`` is looked at as an attribute, like the others

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        return not (isinstance(obj, str) and attr in PADDING) and super().is_safe_attribute(obj, attr, value)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        size = math.prod(side if isinstance(side, int | float) else len(side) for side in (left, right))
        if operator != "*" or size > LOOP_LIMIT:
            raise SecurityError(f"'{operator}' would make too much")
        return super().call_binop(context, operator, left, right)


def render_chat(
    template: str,
    messages: Sequence[Mapping[str, Any]],
    system: str = "",
    *,
    add_generation_prompt: bool = True,
    special: Mapping[str, str] | None = None,
    tools: Sequence[Mapping[str, Any]] | None = None,
) -> str:
    """The text that a model reads for a conversation.

    Args:
        template: text of a Jinja chat template.
        messages: ``{"role": ..., "content": ...}`` each, in order.
        system: put first, unless the messages bring a system message of their own.
        add_generation_prompt: end where the assistant begins to speak.
        special: the tokenizer's ``bos_token``, ``eos_token`` and the like, which some templates write.
        tools: what the assistant may use; see ``knows_tools``.

    Raises:
        ChatTemplateError: the template is broken, too costly, or refuses these messages.
    """
    turns = [dict(message) for message in messages]
    if system and not any(turn.get("role") == "system" for turn in turns):
        turns.insert(0, {"role": "system", "content": system})
    values = {"messages": turns, "add_generation_prompt": add_generation_prompt, "range": _counted_range()}
    if tools:
        values["tools"] = [dict(tool) for tool in tools]
    try:
        return _bounded(_compiled(template).generate(**(special or {}), **values))
    except (TemplateError, TypeError, ValueError, KeyError, RecursionError, ArithmeticError, AttributeError) as error:
        place = f"line {error.lineno}" if isinstance(error, TemplateSyntaxError) else None
        raise ChatTemplateError(f"the chat template says: {error}", where=place) from None


@lru_cache(maxsize=16)
def knows_tools(template: str) -> bool:
    """Does *template* write which tools there are?"""
    try:
        return "tools" in find_undeclared_variables(_Sandbox().parse(template))
    except TemplateError:
        return False


@lru_cache(maxsize=16)
def _compiled(template: str) -> Template:
    if not template:
        raise ValueError("there is none")
    if len(template) > TEMPLATE_LIMIT:
        raise ValueError(f"it has more than {TEMPLATE_LIMIT} characters")
    return _Sandbox().from_string(template)


def _bounded(pieces: Any) -> str:
    text, size = [], 0
    for piece in pieces:
        size += len(piece)
        if size > TEXT_LIMIT:
            raise ValueError(f"the text has more than {TEXT_LIMIT} characters")
        text.append(piece)
    return "".join(text)


def _counted_range() -> Any:
    left = LOOP_LIMIT

    def counted(*numbers: int) -> range:
        nonlocal left
        result = range(*numbers)
        left -= len(result)
        if left < 0:
            raise SecurityError(f"it counts further than {LOOP_LIMIT}")
        return result

    return counted


def _to_json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=min(indent, 8) if indent else None)


def _raise(message: str) -> NoReturn:
    raise TemplateError(message)
