"""Chat templates: read by Jinja's parser, never rendered. What reaches for Python behind a value is refused.

A template is judged as if it were going to be rendered outside a sandbox, because some servers do that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from guideway.sealing.scanner.findings import shown

if TYPE_CHECKING:
    from jinja2 import nodes
    from jinja2.parser import Parser

LIMIT = 256 * 1024
"""Characters of a template; the replica renders no longer one."""
LOOP = 1_000_000
"""A number that no chat template counts to or repeats by."""
MARKS = re.compile(r"\{%[-+]?\s*(?:for|if|set|macro|call|filter|block|include|import|from|extends|do)\b|\{\{")
"""What makes a text a template."""

REACHES = frozenset(
    {
        "mro", "func_globals", "func_code", "func_defaults", "func_closure", "im_func", "im_self", "im_class",
        "gi_frame", "gi_code", "gi_yieldfrom", "cr_frame", "cr_code", "cr_await", "ag_frame", "ag_code", "f_globals",
        "f_locals", "f_builtins", "f_back", "f_code", "tb_frame", "tb_next", "co_code", "co_consts", "format_map"
    }
)  # fmt: skip
"""Attributes that lead from a value to the interpreter, though they begin with no underscore."""
GLOBALS = frozenset(
    {
        "lipsum", "cycler", "joiner", "self", "config", "request", "session", "g", "url_for", "get_flashed_messages",
        "open", "eval", "exec", "compile", "getattr", "setattr", "globals", "locals", "vars", "dir", "input",
        "breakpoint", "importlib", "builtins", "os", "sys", "subprocess"
    }
)  # fmt: skip
"""Names that a chat template has no use for, and payloads do."""
CALLS = frozenset(
    {
        "popen", "Popen", "system", "exec", "eval", "check_output", "getoutput", "import_module", "load_module"
    }
)  # fmt: skip
"""Methods that no value of a conversation has."""
FILTERS = frozenset({"attr"})
BY_ATTRIBUTE = frozenset({"map", "selectattr", "rejectattr", "groupby", "sum", "sort", "unique", "min", "max"})
"""Filters that take the name of an attribute, or of another filter."""
BUILDERS = frozenset({"join", "format", "replace"})
"""Filters and methods that make a text out of pieces; as a subscript they hide a name."""
_DUNDER = re.compile(r"(?<![a-zA-Z0-9])__[a-zA-Z]|[a-zA-Z]__(?![a-zA-Z0-9])")


def faults(text: str) -> list[tuple[str, str]]:
    """Rule and words for everything wrong with the template *text*; runs nothing of it."""
    if not MARKS.search(text) and "{%" not in text and "{#" not in text:
        return []
    if len(text) > LIMIT:
        return [("template", f"is a template of more than {LIMIT} characters")]
    try:
        return [("template", what) for what in dict.fromkeys(_judged(_parsed(text)))]
    except ImportError:
        return [("template-unread", "is a template that cannot be judged without jinja2")]
    except Unreadable as error:
        return [("template", str(error))]


def parses(text: str) -> bool:
    """Would Jinja take *text* for a template? False too when Jinja is not installed."""
    try:
        _parsed(text[: LIMIT + 1])
    except (ImportError, Unreadable):
        return False
    return True


class Unreadable(ValueError):
    """A text that Jinja does not read."""


def _parsed(text: str) -> nodes.Template:
    """The syntax tree of *text*, with the extensions that the replica knows."""
    from jinja2.exceptions import TemplateError
    from jinja2.ext import Extension
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """``{% generation %}`` marks what the assistant says."""

        tags = frozenset({"generation"})  # type: ignore[assignment]

        def parse(self, parser: Parser) -> Any:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    extensions: list[Any] = ["jinja2.ext.loopcontrols", "jinja2.ext.do", Generation]
    try:
        return ImmutableSandboxedEnvironment(extensions=extensions).parse(text)
    except TemplateError as error:
        raise Unreadable(f"is a template that cannot be read: {shown(str(error))}") from None
    except (RecursionError, MemoryError, ValueError, AssertionError, KeyError, TypeError):
        raise Unreadable("is a template that cannot be read") from None


def _judged(tree: nodes.Template) -> Iterator[str]:
    built, own = _built_names(tree), _own_names(tree)
    joined: set[int] = set()
    for node in _walk(tree):
        kind = type(node).__name__
        if kind in ("Concat", "Add") and id(node) not in joined:
            yield from _joined(node, joined)
        if kind in _JUDGES and not (kind == "Name" and node.name in own):
            yield from _JUDGES[kind](node, built)


def _walk(tree: nodes.Node) -> Iterator[Any]:
    """All nodes, without recursion: a stranger chooses the depth."""
    todo = [tree]
    while todo:
        node = todo.pop()
        yield node
        todo.extend(node.iter_child_nodes())


def _attribute(name: Any) -> Iterator[str]:
    """What is wrong with reaching for the attribute *name*."""
    if isinstance(name, str) and (name.startswith("_") or name in REACHES):
        yield f"has a template that reaches for '{shown(name)}'"


def _getattr(node: Any, _built: frozenset[str]) -> Iterator[str]:
    yield from _attribute(node.attr)


def _getitem(node: Any, built: frozenset[str]) -> Iterator[str]:
    key = node.arg
    kind = type(key).__name__
    if kind == "Const":
        yield from _attribute(key.value)
    elif (kind == "Name" and key.name in built) or (kind not in ("Name", "Slice") and _builds(key)):
        yield "has a template that builds a name out of pieces and looks it up"


def _name(node: Any, _built: frozenset[str]) -> Iterator[str]:
    if node.ctx == "load" and (node.name in GLOBALS or node.name.startswith("__")):
        yield f"has a template that uses '{shown(node.name)}'"


def _filter(node: Any, _built: frozenset[str]) -> Iterator[str]:
    if node.name in FILTERS:
        yield f"has a template that uses the filter '{node.name}'"
    if node.name not in BY_ATTRIBUTE:
        return
    named = list(node.args[:1]) if node.name in ("map", "selectattr", "rejectattr", "groupby") else []
    named += [pair.value for pair in node.kwargs if pair.key == "attribute"]
    for argument in named:
        value = getattr(argument, "value", None)
        if type(argument).__name__ != "Const":
            yield f"has a template whose filter '{node.name}' takes a name that is not written out"
        elif value in FILTERS or (isinstance(value, str) and any(list(_attribute(part)) for part in value.split("."))):
            yield f"has a template that reaches for '{shown(value)}'"
    if node.dyn_args is not None or node.dyn_kwargs is not None:
        yield f"has a template whose filter '{node.name}' takes names that are not written out"


def _const(node: Any, _built: frozenset[str]) -> Iterator[str]:
    if isinstance(node.value, str) and _DUNDER.search(node.value):
        yield f"has a template that spells '{shown(node.value, 40)}'"


def _call(node: Any, _built: frozenset[str]) -> Iterator[str]:
    called = getattr(node.node, "attr", None) or getattr(node.node, "name", None)
    if type(node.node).__name__ == "Getattr" and called in CALLS:
        yield f"has a template that calls '{called}'"
    if called == "range" and any(_number(argument) > LOOP for argument in node.args):
        yield "has a template that counts without end"


def _times(node: Any, _built: frozenset[str]) -> Iterator[str]:
    if type(node).__name__ == "Pow" or max(_number(node.left), _number(node.right)) > LOOP:
        yield "has a template that computes without end"


def _joined(tree: Any, joined: set[int]) -> Iterator[str]:
    """What a chain of ``~`` and ``+`` spells where its parts are written out; its links are noted in *joined*."""
    parts: list[str] = []
    todo = [tree]
    while todo:
        node = todo.pop()
        kind = type(node).__name__
        joined.add(id(node))
        if kind in ("Concat", "Add"):
            todo.extend(reversed(node.nodes if kind == "Concat" else (node.left, node.right)))
        else:
            parts.append(str(node.value) if kind == "Const" else "\n")
    spelled = _DUNDER.search("".join(parts))
    if spelled:
        yield f"has a template that builds '{shown(spelled.string[max(0, spelled.start() - 8) :], 40)}'"


def _loads(node: Any, _built: frozenset[str]) -> Iterator[str]:
    yield f"has a template that loads another ({type(node).__name__.lower()})"


_JUDGES: dict[str, Any] = {
    "Getattr": _getattr,
    "Getitem": _getitem,
    "Name": _name,
    "Filter": _filter,
    "Const": _const,
    "Call": _call,
    "Mul": _times,
    "Pow": _times,
    "Include": _loads,
    "Import": _loads,
    "FromImport": _loads,
    "Extends": _loads,
}
"""What is asked of each kind of node."""


def _number(node: Any) -> float:
    value = getattr(node, "value", None)
    return abs(value) if isinstance(value, int | float) else 0


def _builds(tree: Any) -> bool:
    """Does *tree* put a text together?"""
    for node in _walk(tree):
        kind = type(node).__name__
        if kind == "Concat" or (kind == "Mod" and isinstance(getattr(node.left, "value", None), str)):
            return True
        if kind == "Add" and any(isinstance(getattr(one, "value", None), str) for one in (node.left, node.right)):
            return True
        if kind == "Filter" and node.name in BUILDERS:
            return True
        if kind == "Call" and getattr(node.node, "attr", None) in BUILDERS:
            return True
    return False


def _built_names(tree: Any) -> frozenset[str]:
    """Variables that are given a text that is put together, in an expression, a loop or a block."""
    found: set[str] = set()
    for node in _walk(tree):
        kind = type(node).__name__
        if kind == "AssignBlock" or (
            kind in ("Assign", "For") and _builds(node.node if kind == "Assign" else node.iter)
        ):
            found |= _names(node.target)
        elif kind == "With" and any(_builds(value) for value in node.values):
            found |= {name for target in node.targets for name in _names(target)}
    return frozenset(found)


def _own_names(tree: Any) -> frozenset[str]:
    """Variables that the template itself makes, whatever they are called."""
    return frozenset(node.name for node in _walk(tree) if type(node).__name__ == "Name" and node.ctx != "load")


def _names(target: Any) -> set[str]:
    return {node.name for node in _walk(target) if type(node).__name__ == "Name"}
