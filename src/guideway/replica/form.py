"""What form a request wants its answer to have."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from guideway.replica.constrain.automaton import Expressions, Node, TooLargeError
from guideway.replica.constrain.constraint import Constraint, Form, Triggered
from guideway.replica.constrain.grammar import DEPTH, Json
from guideway.replica.constrain.schema import SchemaError, compiled
from guideway.replica.shapes import RequestError
from guideway.replica.spelling import Spelling


def form_of(wanted: dict[str, Any] | None) -> Form | None:
    """The form that a ``response_format`` asks for; None: any text.

    Raises:
        RequestError: it is none that we know.
    """
    kind = None if wanted is None else wanted.get("type")
    match kind:
        case None if not wanted:
            return None
        case "text":
            return None
        case "json_object":
            return _any_object
        case "json_schema":
            assert wanted is not None
            return _by_schema(wanted.get("json_schema"))
    raise RequestError(
        400, "response_format.type must be text, json_object or json_schema", code="unsupported_value",
        param="response_format",
    )  # fmt: skip


def constraint_of(form: Form, spelling: Spelling, stop_ids: Collection[int], trigger: str = "") -> Constraint:
    """What holds one answer to *form*, from its beginning or from behind *trigger*.

    Raises:
        RequestError: the schema or the tokenizer does not allow it.
    """
    if spelling.tokens is None:
        message = "no answer can be held to a form with the tokenizer of this model"
        raise RequestError(400, message, code="unsupported_parameter")
    try:
        if trigger:
            made: Constraint = Triggered(spelling.tokens, form, stop_ids, trigger.encode())
        else:
            made = Constraint(spelling.tokens, form, stop_ids)
        made.prepare()
        return made
    except SchemaError as error:
        raise RequestError(400, f"the schema cannot be kept to: {error}", code="unsupported_schema") from None
    except (TooLargeError, RecursionError):
        raise too_large() from None


def too_large() -> RequestError:
    """The answer cannot be held to its form: to find out what may come next takes longer than others should wait."""
    message = "the schema cannot be kept to: too many ways are open at one place (fewer alternatives, or shorter ones)"
    return RequestError(400, message, code="unsupported_schema")


def _any_object(_: Expressions, json: Json) -> Node:
    return json.map(json.value(DEPTH - 1))


def _by_schema(described: object) -> Form:
    schema = described.get("schema") if isinstance(described, dict) else None
    if schema is None:
        message = "response_format.json_schema must be an object with a schema"
        raise RequestError(400, message, code="invalid_request", param="response_format")
    return lambda make, json: compiled(schema, make, json)
