"""What one request may ask of a model server: how much, how often, and in which shape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from guideway.gateway.errors import ApiError, bad_body
from guideway.guardrails.regex import costly

MAX_TOKENS = 131_072
CHOICES = 8
LOGPROBS = 20
GRAMMAR = 16 * 1024
"""Characters of a grammar, bytes of a schema."""
PATTERN = 1024
PROMPTS = 2048
"""Texts in one request."""
CHOICE_WORDS = 1024
DEPTH = 32

_NUMBERS = {
    "max_tokens": MAX_TOKENS,
    "max_completion_tokens": MAX_TOKENS,
    "min_tokens": MAX_TOKENS,
    "n": CHOICES,
    "best_of": CHOICES,
    "top_logprobs": LOGPROBS,
    "prompt_logprobs": LOGPROBS,
}
_SCHEMAS = frozenset({"guided_json", "json_schema", "json", "schema"})
_PATTERNS = frozenset({"guided_regex", "regex", "guided_whitespace_pattern", "whitespace_pattern"})
_GRAMMARS = frozenset({"guided_grammar", "grammar", "ebnf"})
_LISTS = frozenset({"guided_choice", "choice"})
SHAPES = _SCHEMAS | _PATTERNS | _GRAMMARS | _LISTS | {"response_format", "structured_outputs", "structural_tag"}
"""Fields of a request that tell the shape of its answer."""


def out_of_bounds(body: Mapping[str, Any]) -> ApiError | None:
    """Why the wishes of a request are refused, or None."""
    for name, most in _NUMBERS.items():
        value = body.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most):
            return bad_body(f"{name} is a whole number of at most {most}", name)
    for name in ("stop", "logit_bias"):
        value = body.get(name)
        if isinstance(value, list | dict) and len(value) > 1024:
            return bad_body(f"{name} has too many entries", name)
    for name in ("prompt", "input"):
        value = body.get(name)
        if isinstance(value, list) and len(value) > PROMPTS and not isinstance(value[0], int):
            return bad_body(f"{name} has more than {PROMPTS} texts", name)
    for name in SHAPES & body.keys():
        problem = _shape(name, body[name], 0)
        if problem:
            return bad_body(problem, name)
    for function in _functions(body):
        problem = _schema(function.get("parameters"))
        if problem:
            return bad_body(problem, "tools")
    return None


def _shape(name: str, value: Any, depth: int) -> str | None:
    """What is wrong with *value*, which tells the shape of the answer under *name*."""
    if value is None:
        return None
    if name in _PATTERNS:
        return _pattern(value)
    if name in _GRAMMARS and isinstance(value, str):
        return _grammar(value)
    if name in _LISTS and isinstance(value, list):
        return "there are too many choices" if len(value) > CHOICE_WORDS else _size(value)
    if name in _SCHEMAS:
        return _schema(value)
    if isinstance(value, dict) and depth < 4:
        inner = (_shape(str(key), one, depth + 1) for key, one in value.items())
        return _size(value) or next(filter(None, inner), None)
    return _size(value)


def _schema(value: Any) -> str | None:
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except (msgspec.DecodeError, RecursionError):
            return "the schema is not JSON"
    return _size(value) or next(filter(None, _in_schema(value, 0)), None)


def _in_schema(value: Any, depth: int) -> Iterator[str | None]:
    """Problems of the patterns, counts and depth of a schema."""
    if depth > DEPTH:
        yield f"the schema is nested more than {DEPTH} deep"
        return
    if isinstance(value, list):
        for one in value:
            yield from _in_schema(one, depth + 1)
    if not isinstance(value, dict):
        return
    for key, one in value.items():
        if key == "pattern" and isinstance(one, str):
            yield _pattern(one)
        elif key == "patternProperties" and isinstance(one, dict):
            yield from (_pattern(pattern) for pattern in one)
        elif key in {"minItems", "maxItems", "minLength", "maxLength"} and isinstance(one, int) and one > MAX_TOKENS:
            yield f"{key} is larger than {MAX_TOKENS}"
        yield from _in_schema(one, depth + 1)


def _pattern(value: Any) -> str | None:
    if not isinstance(value, str) or len(value) > PATTERN:
        return f"a pattern is a text of at most {PATTERN} characters"
    if costly(value):
        return (
            "this pattern could take very long: no repeated choices, nothing repeated inside a repetition, RE2's syntax"
        )
    return None


def _grammar(value: str) -> str | None:
    if len(value) > GRAMMAR:
        return f"the grammar has more than {GRAMMAR} characters"
    depth = deepest = 0
    for char in value:
        depth += (char in "([{") - (char in ")]}")
        deepest = max(deepest, depth)
    return f"the grammar is nested more than {DEPTH} deep" if deepest > DEPTH else None


def _size(value: Any) -> str | None:
    try:
        size = len(msgspec.json.encode(value))
    except (RecursionError, msgspec.EncodeError):
        return "the shape is nested too deeply"
    return f"the shape of the answer takes more than {GRAMMAR} bytes" if size > GRAMMAR else None


def _functions(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for key in ("tools", "functions"):
        listed = body.get(key)
        for one in listed if isinstance(listed, list) else ():
            inner = one.get("function", one) if isinstance(one, dict) else None
            if isinstance(inner, dict):
                yield inner
