"""Queries of Prometheus with placeholders: what can be said of one without a server, and how it is filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from guideway.core.errors import did_you_mean

NAMES = ("release", "stable", "candidate", "environment", "rollout")
"""What ``$name`` inside a string stands for; ``release`` and ``candidate`` are both the candidate's digest."""
LONGEST = 4096
"""Characters of a query."""

_TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
      | (?P<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`[^`]*`)
      | (?P<quote>["'`])
      | (?P<bracket>[()\[\]{}])
      | (?P<name>\$[A-Za-z_]\w*)
      | (?P<other>[=!]~|.)""",
    re.VERBOSE | re.DOTALL,
)
_NAME = re.compile(r"\$([A-Za-z_]\w*)")
_PAIRS = {")": "(", "]": "[", "}": "{"}
_PATTERN = re.compile(r"[\\.+*?()|\[\]{}^$]")
_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


class Piece(msgspec.Struct, frozen=True):
    """Text of a query as it stands, or the *name* to be put there: into a string, as a *pattern* where one is meant."""

    text: str
    name: str = ""
    pattern: bool = False


def pieces(query: str) -> tuple[Piece, ...]:
    """The parts of *query*.

    Raises:
        ValueError: it cannot be one: empty, a bracket or string without an end, or an unknown placeholder.
    """
    if len(query) > LONGEST:
        raise ValueError(f"the query is longer than {LONGEST} characters")
    found: list[Piece] = []
    open_ones: list[str] = []
    operator, says = "", False
    for token in _TOKEN.finditer(query):
        kind, text = token.lastgroup, token[0]
        if kind == "string":
            found += _string(text, pattern=operator in {"=~", "!~"})
        elif kind == "quote":
            raise ValueError(f"the query has a string that begins with {text} and does not end")
        elif kind == "name":
            raise ValueError(f'{text} stands outside a string: write "{text}"')
        else:
            found.append(Piece(text))
            _nest(open_ones, text if kind == "bracket" else "")
        if kind != "space":
            operator, says = text, True
    if open_ones:
        raise ValueError(f"the query has a '{open_ones[-1]}' that is never closed")
    if not says:
        raise ValueError("the query is empty")
    return tuple(found)


def filled(query: str, values: Mapping[str, str]) -> str:
    """*query* with *values* in the place of its placeholders, so that each is one text and nothing more.

    Raises:
        ValueError: it is no query, as in :func:`pieces`.
    """
    return "".join(_put(values[piece.name], piece.pattern) if piece.name else piece.text for piece in pieces(query))


def _nest(open_ones: list[str], bracket: str) -> None:
    if bracket in _PAIRS.values():
        open_ones.append(bracket)
    elif bracket and (not open_ones or open_ones.pop() != _PAIRS[bracket]):
        raise ValueError(f"the query has a '{bracket}' that closes nothing")


def _string(text: str, *, pattern: bool) -> list[Piece]:
    found, at = [], 0
    for match in _NAME.finditer(text):
        name = match[1]
        if name not in NAMES:
            advice = did_you_mean(name, NAMES)
            raise ValueError(f"there is no placeholder ${name}: {advice}; a group of a pattern is written ${{{name}}}")
        if text[0] == "`":
            raise ValueError(f"${name} stands between backticks, where nothing can be escaped: use double quotes")
        found += [Piece(text[at : match.start()]), Piece(match[0], name, pattern)]
        at = match.end()
    return [*found, Piece(text[at:])]


def _put(value: str, pattern: bool) -> str:
    """*value* inside a string of either kind of quotes."""
    literal = _PATTERN.sub(r"\\\g<0>", value) if pattern else value
    return "".join(_escaped(letter) for letter in literal)


def _escaped(letter: str) -> str:
    if letter in _ESCAPES:
        return _ESCAPES[letter]
    return f"\\u{ord(letter):04x}" if letter < " " or letter in "\"'\x7f" else letter
