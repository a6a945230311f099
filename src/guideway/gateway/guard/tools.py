"""Which functions the model may call: none but those that the release allows and the request declares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from guideway.gateway.errors import ApiError, bad_body

T = TypeVar("T")


def declared(body: Mapping[str, Any]) -> frozenset[str] | None:
    """The functions that a request declares; None: it declares none.

    Raises:
        ValueError: a declaration has no name.
    """
    tools, functions = body.get("tools"), body.get("functions")
    if not tools and not functions:
        return None
    named = [tool.get(tool.get("type", "function")) or tool for tool in _mappings(tools)]
    names = [one.get("name") for one in (*_mappings(named), *_mappings(functions))]
    known = frozenset(name for name in names if isinstance(name, str) and name)
    if not all(name in known for name in names):
        raise ValueError("a function without a name")
    return known


def undeclarable(body: Mapping[str, Any], allowed: frozenset[str] | None) -> ApiError | None:
    """Why the functions of a request are refused, or None."""
    try:
        names = declared(body)
    except (ValueError, AttributeError, TypeError):
        return bad_body("every function needs a name", "tools")
    outside = sorted(names - allowed) if names and allowed is not None else []
    if outside:
        message = f"the function {outside[0][:80]!r} cannot be called here"
        return ApiError(400, message, param="tools", code="tool_not_allowed")
    return None


class ToolGate:
    """Passes calls of allowed functions, whole or in pieces, and drops all others. One for each answer."""

    __slots__ = ("_allowed", "_passed", "dropped")

    def __init__(self, allowed: frozenset[str] | None) -> None:
        self._allowed = allowed
        self._passed: dict[tuple[int, Any], bool] = {}
        self.dropped = 0

    def choice(self, choice: dict[str, Any]) -> bool:
        """Take what is not allowed out of *choice*, of a whole answer or of an event; True: something was taken.

        A choice that ends in calls, all of which were dropped, ends with ``content_filter`` instead.

        Raises:
            ValueError: it has another form than choices have, so that nobody can say what it calls.
        """
        if self._allowed is None:
            return False
        number, before = _of_type(choice.get("index", 0), int), self.dropped
        for part in (choice.get("message"), choice.get("delta")):
            if part is not None:
                self._calls(number, _of_type(part, dict))
                self._old_call(number, part)
        dropped = self.dropped - before
        ended = _text(choice.get("finish_reason"))
        if ended in {"tool_calls", "function_call"} and not self._any(number):
            choice["finish_reason"] = "content_filter"
            return True
        return dropped > 0

    def _calls(self, number: int, part: dict[str, Any]) -> None:
        calls = part.get("tool_calls")
        if calls is None:
            return
        kept = [call for at, call in enumerate(_of_type(calls, list)) if self._passes(*_place(number, at, call))]
        self.dropped += len(calls) - len(kept)
        if kept:
            part["tool_calls"] = kept
        else:
            del part["tool_calls"]

    def _old_call(self, number: int, part: dict[str, Any]) -> None:
        call = part.get("function_call")
        if call is not None and not self._passes((number, None), _of_type(call, dict)):
            self.dropped += 1
            del part["function_call"]

    def _passes(self, place: tuple[int, Any], function: Mapping[str, Any]) -> bool:
        """A name comes once, whole: one that is continued later would become another."""
        assert self._allowed is not None
        name = _text(function.get("name"))
        if place not in self._passed:
            self._passed[place] = name in self._allowed
        elif name:
            self._passed[place] = False
        return self._passed[place]

    def _any(self, number: int) -> bool:
        return any(passed for place, passed in self._passed.items() if place[0] == number)


def _place(number: int, at: int, call: Any) -> tuple[tuple[int, int], Mapping[str, Any]]:
    """The place of a call, and the part of it that has the name, for functions and for custom tools."""
    index = _of_type(call, dict).get("index")
    found = call.get("function", call.get("custom"))
    return (number, at if index is None else _of_type(index, int)), {} if found is None else _of_type(found, dict)


def _text(value: Any) -> str:
    return "" if value is None else _of_type(value, str)


def _of_type(value: Any, kind: type[T]) -> T:
    if not isinstance(value, kind):
        raise ValueError("the choices of the model server have no known form")
    return value


def _mappings(value: Sequence[Any] | None) -> list[Mapping[str, Any]]:
    found = list(value or ())
    if not all(isinstance(one, dict) for one in found):
        raise ValueError("not a declaration")
    return found
