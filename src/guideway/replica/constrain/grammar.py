"""The grammar of JSON as expressions over bytes.

Between two parts of an array or object there may be one space: without a bound a model could write white space
until its tokens are used up. Numbers have bounded digits for the same reason. Strings are valid UTF-8.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from guideway.replica.constrain.automaton import Expressions, Node

DEPTH = 16
"""How deep a value may be nested where nothing else is said."""
DIGITS = 17
"""Digits behind the first one of a number, and behind its point."""
QUOTE, ESCAPE = ord('"'), ord("\\")
TAIL = range(0x80, 0xC0)


class Member(NamedTuple):
    """A name in an object and what it may have as its value."""

    name: str
    value: Node
    required: bool


class Json:
    """Expressions for values, made by *make*."""

    def __init__(self, make: Expressions) -> None:
        self._make = make
        self.char = _char(make)
        self._space = make.maybe(make.one(b" "))
        self._quote = make.one((QUOTE,))
        digit, sign = make.one(b"0123456789"), make.maybe(make.one(b"-"))
        whole = make.alt(make.one(b"0"), make.seq(make.one(b"123456789"), make.many(digit, 0, DIGITS)))
        part = make.seq(make.one(b"."), make.many(digit, 1, DIGITS))
        power = make.seq(make.one(b"eE"), make.maybe(make.one(b"+-")), make.many(digit, 1, 2))
        self.integer = make.seq(sign, whole)
        self.number = make.seq(sign, whole, make.maybe(part), make.maybe(power))
        self.null = make.literal(b"null")
        self.boolean = make.alt(make.literal(b"true"), make.literal(b"false"))
        self.value = lru_cache(maxsize=None)(self._value)

    def text(self, node: Node) -> Node:
        """A whole text that is *node*. One space before it is how some tokenizers begin."""
        return self._make.seq(self._space, node)

    def constant(self, value: object) -> Node:
        """Exactly *value*, without spaces."""
        return self.constants([value])

    def constants(self, values: Iterable[object]) -> Node:
        """One of *values*, without spaces."""
        return self._make.words({json.dumps(one, ensure_ascii=False, separators=(",", ":")).encode() for one in values})

    def string(self, low: int = 0, high: int | None = None) -> Node:
        """A string of *low* to *high* characters."""
        return self._make.seq(self._quote, self._make.many(self.char, low, high), self._quote)

    def array(self, item: Node, low: int = 0, high: int | None = None) -> Node:
        """An array of *low* to *high* items."""
        if high == 0:
            return self._wrapped(b"[]", self._make.empty)
        more = self._make.many(self._make.seq(self._comma, item), max(low - 1, 0), None if high is None else high - 1)
        items = self._make.seq(item, more)
        return self._wrapped(b"[]", items if low else self._make.maybe(items))

    def object(self, members: Sequence[Member]) -> Node:
        """An object with *members* in their order; those that are not required may be left out."""
        comes, follows = self._make.empty, self._make.empty  # the rest, as first member and behind another one
        for member in reversed(members):
            here = self._make.seq(self.constant(member.name), self._colon, member.value)
            first, later = self._make.seq(here, follows), self._make.seq(self._comma, here, follows)
            comes = first if member.required else self._make.alt(first, comes)
            follows = later if member.required else self._make.alt(later, follows)
        return self._wrapped(b"{}", comes)

    def map(self, value: Node) -> Node:
        """An object with any names, each with a *value*."""
        member = self._make.seq(self.string(), self._colon, value)
        members = self._make.seq(member, self._make.many(self._make.seq(self._comma, member)))
        return self._wrapped(b"{}", self._make.maybe(members))

    def _value(self, depth: int = DEPTH) -> Node:
        """Any value, nested at most *depth* deep."""
        flat = (self.string(), self.number, self.boolean, self.null)
        if depth == 0:
            return self._make.alt(*flat)
        inner = self.value(depth - 1)
        return self._make.alt(*flat, self.array(inner), self.map(inner))

    @property
    def _comma(self) -> Node:
        return self._make.seq(self._make.one(b","), self._space)

    @property
    def _colon(self) -> Node:
        return self._make.seq(self._make.one(b":"), self._space)

    def _wrapped(self, pair: bytes, inside: Node) -> Node:
        return self._make.seq(self._make.one(pair[:1]), self._space, inside, self._space, self._make.one(pair[1:]))


def _char(make: Expressions) -> Node:
    """One character of a string: plain, escaped, or of several bytes. No half of a surrogate pair."""
    plain = make.one(set(range(0x20, 0x80)) - {QUOTE, ESCAPE})
    hexa = make.one(b"0123456789abcdefABCDEF")
    whole = make.seq(make.one(b"0123456789abcefABCEF"), hexa, hexa, hexa)
    low = make.seq(make.one(b"dD"), make.one(b"01234567"), hexa, hexa)
    code = make.seq(make.one(b"u"), make.alt(whole, low))
    escaped = make.seq(make.one((ESCAPE,)), make.alt(make.one(b'"\\/bfnrt'), code))
    return make.alt(plain, escaped, *_wide(make))


def _wide(make: Expressions) -> Iterable[Node]:
    """The characters of two to four bytes, as Unicode's table of well-formed sequences has them."""
    tail = make.one(TAIL)
    yield make.seq(make.one(range(0xC2, 0xE0)), tail)
    yield make.seq(make.one((0xE0,)), make.one(range(0xA0, 0xC0)), tail)
    yield make.seq(make.one((*range(0xE1, 0xED), 0xEE, 0xEF)), tail, tail)
    yield make.seq(make.one((0xED,)), make.one(range(0x80, 0xA0)), tail)
    yield make.seq(make.one((0xF0,)), make.one(range(0x90, 0xC0)), tail, tail)
    yield make.seq(make.one(range(0xF1, 0xF4)), tail, tail, tail)
    yield make.seq(make.one((0xF4,)), make.one(range(0x80, 0x90)), tail, tail)
