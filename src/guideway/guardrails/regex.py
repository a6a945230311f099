"""Patterns as trees: which text could still become a match, and which pattern would cost an engine that backtracks."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import re2

_REPEAT = re.compile(r"\{(\d+)(,(\d*))?\}")
_ESCAPE = re.compile(
    r"\\(?:Q.*?(?:\\E|$)|[pP](?:\{[^}]*\}|.)|x\{[0-9A-Fa-f]+\}|x[0-9A-Fa-f]{2}|[0-7]{1,3}|.)", re.DOTALL
)
_OPEN = re.compile(r"\((?:\?(?P<flags>[imsU-]*)(?P<end>[:)])|\?P?<(?P<name>\w+)>|(?P<plain>(?!\?)))")
_ANCHORS = frozenset({"^", "$", r"\b", r"\B", r"\A", r"\z", r"\Z"})


class Node(msgspec.Struct, frozen=True):
    """A piece of a pattern: its text, and what is inside when it is a group (alternatives of sequences).

    ``least`` and ``most`` say how often it stands there, ``most`` None being without end.
    """

    text: str
    inside: tuple[tuple[Node, ...], ...] = ()
    flags: str = ""
    least: int = 1
    most: int | None = 1


def compiled(pattern: str) -> Any:
    """*pattern* for RE2, whatever the case of letters, quiet about errors.

    Raises:
        ValueError: RE2 does not take it.
    """
    options = re2.Options()
    options.log_errors = False
    options.case_sensitive = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        raise ValueError("not a pattern of RE2") from error


def beginnings(pattern: str) -> Any | None:
    """A pattern that finds where the end of a text could begin a match of *pattern*; None: nobody can tell."""
    try:
        return compiled(f"(?:{_begun(parse(pattern))})\\z")
    except (ValueError, RecursionError):
        return None


def costly(pattern: str) -> bool:
    """Could an engine that backtracks need very long for *pattern*? Also True when nobody can tell."""
    try:
        tree = parse(pattern)
        compiled(pattern)
    except (ValueError, RecursionError):
        return True
    return _nested(tree, inside=False) or _endless(tree) > 10


def parse(pattern: str) -> tuple[tuple[Node, ...], ...]:
    """The alternatives of *pattern*, each a sequence.

    Raises:
        ValueError: the pattern uses what is not understood here.
    """
    alternatives, at = _alternatives(pattern, 0, 0)
    if at != len(pattern):
        raise ValueError("a bracket too many")
    return alternatives


def _alternatives(pattern: str, at: int, depth: int) -> tuple[tuple[tuple[Node, ...], ...], int]:
    if depth > 20:
        raise ValueError("nested too deeply")
    done: list[tuple[Node, ...]] = []
    sequence: list[Node] = []
    while at < len(pattern) and pattern[at] != ")":
        if pattern[at] == "|":
            done.append(tuple(sequence))
            sequence, at = [], at + 1
            continue
        node, at = _one(pattern, at, depth)
        least, most, at = _times(pattern, at)
        sequence.append(msgspec.structs.replace(node, least=least, most=most))
    return (*done, tuple(sequence)), at


def _one(pattern: str, at: int, depth: int) -> tuple[Node, int]:
    char = pattern[at]
    if char == "\\":
        found = _ESCAPE.match(pattern, at)
    elif char == "[":
        end = _class_end(pattern, at)
        return Node(pattern[at:end]), end
    elif char == "(":
        return _group(pattern, at, depth)
    else:
        return Node(char), at + 1
    if found is None:
        raise ValueError("ends in a backslash")
    return Node(found[0]), found.end()


def _group(pattern: str, at: int, depth: int) -> tuple[Node, int]:
    found = _OPEN.match(pattern, at)
    if found is None:
        raise ValueError("a group that is not understood")
    if found["end"] == ")":
        return Node(found[0], least=0), found.end()
    inside, end = _alternatives(pattern, found.end(), depth + 1)
    if end >= len(pattern):
        raise ValueError("a bracket is not closed")
    return Node("", inside, f"(?{found['flags'] or ''}:"), end + 1


def _class_end(pattern: str, at: int) -> int:
    """The index after the class of characters that begins at *at*."""
    end = at + 1
    if pattern[end : end + 1] == "^":
        end += 1
    first = end
    while end < len(pattern):
        if pattern[end] == "\\":
            end += 2
        elif pattern.startswith("[:", end):
            end = pattern.index(":]", end) + 2
        elif pattern[end] == "]" and end > first:
            return end + 1
        else:
            end += 1
    raise ValueError("a class is not closed")


def _times(pattern: str, at: int) -> tuple[int, int | None, int]:
    """How often what stands before *at* is repeated, and where the pattern goes on."""
    char = pattern[at : at + 1]
    found = _REPEAT.match(pattern, at) if char == "{" else None
    least: int
    most: int | None
    if found is not None:
        least = int(found[1])
        most = least if found[2] is None else int(found[3]) if found[3] else None
        at = found.end()
    elif char and char in "*+?":
        least, most, at = int(char == "+"), 1 if char == "?" else None, at + 1
    else:
        return 1, 1, at
    return least, most, at + (pattern[at : at + 1] == "?")


def _begun(alternatives: tuple[tuple[Node, ...], ...]) -> str:
    """A pattern for every beginning of a match, the empty one included."""
    return "|".join(_begun_sequence(sequence) for sequence in alternatives)


def _begun_sequence(sequence: tuple[Node, ...]) -> str:
    text = ""
    for node in reversed(sequence):
        if node.flags == "" and node.text.startswith("("):  # flags for the rest of the group
            text = node.text + text
            continue
        if node.text in _ANCHORS:
            continue  # whether it holds is not known before the next character
        more = f"{_whole(node)}(?:{text})" if text else _whole(node)
        text = f"(?:{_partly(node)}|{more})"
    return text


def _partly(node: Node) -> str:
    """Some whole repetitions of *node*, then a beginning of one more."""
    inner = f"{node.flags}{_begun(node.inside)})" if node.inside else f"(?:{node.text})?"
    if node.most is not None and node.most < 2:
        return inner
    most = "" if node.most is None else node.most - 1
    return f"(?:{_once(node)}){{0,{most}}}{inner}"


def _whole(node: Node) -> str:
    if node.least == node.most == 1:
        return _once(node)
    return f"(?:{_once(node)}){{{node.least},{'' if node.most is None else node.most}}}"


def _once(node: Node) -> str:
    if not node.inside:
        return node.text
    return f"{node.flags}{'|'.join(''.join(map(_plain, sequence)) for sequence in node.inside)})"


def _plain(node: Node) -> str:
    if node.text in _ANCHORS:
        return ""
    return node.text if node.flags == "" and node.text.startswith("(") else _whole(node)


def _nested(alternatives: tuple[tuple[Node, ...], ...], *, inside: bool) -> bool:
    """Does something repeated hold what can itself be long or short, or a choice?"""
    for sequence in alternatives:
        for node in sequence:
            many = node.most is None or node.most > 16
            choice = len(node.inside) > 1 or any(one.least != one.most for part in node.inside for one in part)
            if (many and choice) or (inside and many) or _nested(node.inside, inside=inside or many):
                return True
    return False


def _endless(alternatives: tuple[tuple[Node, ...], ...]) -> int:
    return sum((node.most is None) + _endless(node.inside) for sequence in alternatives for node in sequence)
