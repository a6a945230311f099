"""Regular expressions over bytes that are states at the same time: what may follow a byte is an expression again.

Equal expressions are one object, so a state that was seen before is known again, and its steps with it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

NODES = 50_000
"""Expressions that a schema may need."""


class TooLargeError(Exception):
    """The expressions of one answer are too many."""


class Node:
    """An expression. ``nullable``: nothing need follow. ``after`` holds the steps that were taken."""

    __slots__ = ("after", "nullable")

    def __init__(self, *, nullable: bool) -> None:
        self.nullable = nullable
        self.after: dict[int, Node | None] = {}


class One(Node):
    """One byte of *allowed*."""

    __slots__ = ("allowed",)

    def __init__(self, allowed: frozenset[int]) -> None:
        super().__init__(nullable=False)
        self.allowed = allowed


class Seq(Node):
    """*head*, then *tail*. The head is never a sequence."""

    __slots__ = ("head", "tail")

    def __init__(self, head: Node, tail: Node) -> None:
        super().__init__(nullable=head.nullable and tail.nullable)
        self.head, self.tail = head, tail


class Alt(Node):
    """One of *branches*, two or more."""

    __slots__ = ("branches",)

    def __init__(self, branches: frozenset[Node]) -> None:
        super().__init__(nullable=any(branch.nullable for branch in branches))
        self.branches = branches


class Many(Node):
    """*inner*, which is not nullable, *low* to *high* times; a *high* of None is without end."""

    __slots__ = ("high", "inner", "low")

    def __init__(self, inner: Node, low: int, high: int | None) -> None:
        super().__init__(nullable=low == 0)
        self.inner, self.low, self.high = inner, low, high


class Expressions:
    """Makes expressions and takes their steps; ``limit`` is how many there may be, and may be raised.

    All methods that make one raise ``TooLargeError`` when there are too many.
    """

    def __init__(self, limit: int = NODES) -> None:
        self.limit = limit
        self._known: dict[tuple[Any, ...], Node] = {}
        self.empty = Node(nullable=True)

    def one(self, allowed: Iterable[int]) -> Node:
        """One byte of *allowed*."""
        return self._make(One, frozenset(allowed))

    def literal(self, text: bytes) -> Node:
        """Exactly *text*."""
        return self.seq(*(self.one((byte,)) for byte in text))

    def words(self, texts: Collection[bytes]) -> Node:
        """One of *texts*, which part where their bytes do: however many there are, a step stays cheap."""
        first, last = min(texts), max(texts)
        prefix = first[: shared(first, last)]
        rests: dict[int, set[bytes]] = {}
        for text in texts:
            if len(text) > len(prefix):
                rests.setdefault(text[len(prefix)], set()).add(text[len(prefix) + 1 :])
        branches = [self.seq(self.one((byte,)), self.words(rest)) for byte, rest in rests.items()]
        whole = [self.empty] if prefix in texts else []
        return self.seq(self.literal(prefix), self.alt(*whole, *branches))

    def seq(self, *nodes: Node) -> Node:
        """One after the other."""
        made = self.empty
        for node in reversed(nodes):
            made = self._before(node, made)
        return made

    def alt(self, *nodes: Node) -> Node:
        """One of *nodes*."""
        flat = frozenset(one for node in nodes for one in (node.branches if isinstance(node, Alt) else (node,)))
        return next(iter(flat)) if len(flat) == 1 else self._make(Alt, flat)

    def maybe(self, node: Node) -> Node:
        """*node* or nothing."""
        return self.alt(self.empty, node)

    def many(self, inner: Node, low: int = 0, high: int | None = None) -> Node:
        """*inner*, which is not nullable, *low* to *high* times."""
        return self.empty if high == 0 else self._make(Many, inner, low, high)

    def step(self, node: Node, byte: int) -> Node | None:
        """What may follow *byte*; None: it may not come here."""
        try:
            return node.after[byte]
        except KeyError:
            made = node.after[byte] = self._step(node, byte)
            return made

    def _step(self, node: Node, byte: int) -> Node | None:
        match node:
            case One():
                return self.empty if byte in node.allowed else None
            case Seq():
                began = self._then(self.step(node.head, byte), node.tail)
                return self._either([began, self.step(node.tail, byte)]) if node.head.nullable else began
            case Alt():
                return self._either([self.step(branch, byte) for branch in node.branches])
            case Many():
                left = None if node.high is None else node.high - 1
                return self._then(self.step(node.inner, byte), self.many(node.inner, max(node.low - 1, 0), left))
        return None

    def _then(self, began: Node | None, tail: Node) -> Node | None:
        return None if began is None else self._before(began, tail)

    def _either(self, nodes: Collection[Node | None]) -> Node | None:
        possible = [node for node in nodes if node is not None]
        return self.alt(*possible) if possible else None

    def _before(self, head: Node, tail: Node) -> Node:
        if tail is self.empty:
            return head
        heads = []
        while isinstance(head, Seq):
            heads.append(head.head)
            head = head.tail
        if head is not self.empty:
            heads.append(head)
        for one in reversed(heads):
            tail = self._make(Seq, one, tail)
        return tail

    def _make(self, kind: Callable[..., Node], *parts: Any) -> Node:
        found = self._known.get((kind, *parts))
        if found is None:
            if len(self._known) >= self.limit:
                raise TooLargeError
            found = self._known[(kind, *parts)] = kind(*parts)
        return found


def shared(one: bytes, other: bytes) -> int:
    """How many bytes at the beginning are the same."""
    for place, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return place
    return min(len(one), len(other))
