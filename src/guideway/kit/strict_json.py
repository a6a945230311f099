"""JSON from strangers: bounded in depth and number of values, each key once, and only finite numbers."""

from __future__ import annotations

import json
import math
from functools import partial
from typing import Any, NoReturn

DEPTH = 64
VALUES = 1_000_000
DIGITS = 19


class NotJson(ValueError):
    """These bytes are not JSON that can be trusted to mean one thing. ``line`` counts from 1, 0 if unknown."""

    def __init__(self, what: str, line: int = 0) -> None:
        super().__init__(what)
        self.what, self.line = what, line


def read_json(data: bytes, *, depth: int = DEPTH, values: int = VALUES, digits: int = DIGITS) -> Any:
    """The value of *data*: at most *depth* brackets deep, with at most *values* values; integers of *digits* digits.

    Raises:
        NotJson: not UTF-8, not JSON, cut off, too deep or too large, a key twice in one object, a number that is
            not finite or too long, or half a surrogate pair.
    """
    text = _text(data)
    if sum(data.count(mark) for mark in (b"[", b"{", b",")) > values:
        raise NotJson(f"more than {values:,} values")
    try:
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_float=_float,
            parse_int=partial(_integer, digits),
        )
    except json.JSONDecodeError as error:
        raise _explained(error, text) from None
    except RecursionError:
        raise NotJson(f"brackets more than {depth} deep") from None
    _check_shape(value, depth, surrogates="\\ud" in text.lower())
    return value


def _text(data: bytes) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NotJson(f"not UTF-8 text (byte {error.start})", data.count(b"\n", 0, error.start) + 1) from None
    if not text.strip():
        raise NotJson("the file is empty")
    return text


def _explained(error: json.JSONDecodeError, text: str) -> NotJson:
    if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string"):
        return NotJson("not JSON: it ends in the middle", error.lineno)
    return NotJson(f"not JSON: {error.msg[0].lower()}{error.msg[1:]}", error.lineno)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise NotJson(f"the key '{twice[:80]}' is in one object twice")
    return value


def _constant(word: str) -> NoReturn:
    raise NotJson(f"'{word}' is not a number")


def _float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise NotJson(f"the number {digits[:20]} is out of range")
    return value


def _integer(most: int, digits: str) -> int:
    if len(digits.lstrip("-")) > most:
        raise NotJson(f"the number {digits[:20]}… is out of range")
    return int(digits)


def _check_shape(value: Any, depth: int, *, surrogates: bool) -> None:
    """Walk without recursion: the parser allows more depth than later code may."""
    waiting: list[tuple[Any, int]] = [(value, 1)]
    while waiting:
        one, level = waiting.pop()
        if isinstance(one, dict | list):
            if level > depth:
                raise NotJson(f"brackets more than {depth} deep")
            inner = one.values() if isinstance(one, dict) else one
            waiting.extend((child, level + 1) for child in inner if isinstance(child, dict | list | str))
            if surrogates and isinstance(one, dict):
                waiting.extend((key, level) for key in one)
        elif surrogates and isinstance(one, str) and any("\ud800" <= letter <= "\udfff" for letter in one):
            raise NotJson("half a surrogate pair in a string")
