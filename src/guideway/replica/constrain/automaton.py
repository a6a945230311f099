"""Regular expressions over bytes that are states at the same time: what may follow a byte is an expression again.

Equal expressions are one object, so a state that was seen before is known again, and its steps with it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import reduce
from operator import or_
from typing import Any

NODES = 50_000
"""Expressions that a schema may need."""
WORK = 200_000
"""Steps that may be taken, and branches that may be put together, while the expression of a schema is made."""
FILTERED = 16
"""Branches that are passed over, because the byte may not come there, in the time of one step."""


class TooLargeError(Exception):
    """The expressions of one answer are too many, or too many of them are possible at one place."""


class Node:
    """An expression. ``nullable``: nothing need follow. ``after`` holds the steps that were taken.

    ``first`` has a bit for every byte that may come, so that most of what may not is seen without a step.
    """

    __slots__ = ("after", "first", "nullable")

    def __init__(self, first: int, *, nullable: bool) -> None:
        self.first, self.nullable = first, nullable
        self.after: dict[int, Node | None] | None = None


class One(Node):
    """One byte of *allowed*."""

    __slots__ = ("allowed",)

    def __init__(self, allowed: frozenset[int]) -> None:
        super().__init__(sum(1 << byte for byte in allowed), nullable=False)
        self.allowed = allowed


class Seq(Node):
    """*head*, then *tail*. The head is never a sequence."""

    __slots__ = ("head", "tail")

    def __init__(self, head: Node, tail: Node) -> None:
        first = head.first | tail.first if head.nullable else head.first
        super().__init__(first, nullable=head.nullable and tail.nullable)
        self.head, self.tail = head, tail


class Alt(Node):
    """One of *branches*, two or more."""

    __slots__ = ("branches",)

    def __init__(self, branches: frozenset[Node]) -> None:
        first = reduce(or_, (branch.first for branch in branches))
        super().__init__(first, nullable=any(branch.nullable for branch in branches))
        self.branches = branches


class Many(Node):
    """*inner*, which is not nullable, *low* to *high* times; a *high* of None is without end."""

    __slots__ = ("high", "inner", "low")

    def __init__(self, inner: Node, low: int, high: int | None) -> None:
        super().__init__(inner.first, nullable=low == 0)
        self.inner, self.low, self.high = inner, low, high


class Expressions:
    """Makes expressions and takes their steps; ``limit`` is how many there may be, and may be raised.

    ``left`` is the work that may still be done: it may be set, and goes down by one with every step that was not taken
    before, and with every branch that is put beside others. All methods that make an expression or take a step raise
    ``TooLargeError`` when there are too many, or nothing is left.
    """

    def __init__(self, limit: int = NODES, work: int = WORK) -> None:
        self.limit, self.left = limit, work
        self._known: dict[tuple[Any, ...], Node] = {}
        self._bytes: dict[int, Node] = {}
        self.empty = Node(0, nullable=True)

    def one(self, allowed: Iterable[int]) -> Node:
        """One byte of *allowed*."""
        return self._make(One, frozenset(allowed))

    def literal(self, text: bytes) -> Node:
        """Exactly *text*."""
        made = self.empty
        for byte in reversed(text):
            made = self._before(self._byte(byte), made)
        return made

    def _byte(self, byte: int) -> Node:
        found = self._bytes.get(byte)
        if found is None:
            found = self._bytes[byte] = self.one((byte,))
        return found

    def words(self, texts: Collection[bytes]) -> Node:
        """One of *texts*, which part where their bytes do: however many there are, a step stays cheap."""
        first, last = min(texts), max(texts)
        prefix = first[: shared(first, last)]
        rests: dict[int, set[bytes]] = {}
        for text in texts:
            if len(text) > len(prefix):
                rests.setdefault(text[len(prefix)], set()).add(text[len(prefix) + 1 :])
        branches = [self.seq(self._byte(byte), self.words(rest)) for byte, rest in rests.items()]
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
        if len(flat) == 1:
            return next(iter(flat))
        self._spend(len(flat))
        return self._make(Alt, flat)

    def maybe(self, node: Node) -> Node:
        """*node* or nothing."""
        return self.alt(self.empty, node)

    def many(self, inner: Node, low: int = 0, high: int | None = None) -> Node:
        """*inner*, which is not nullable, *low* to *high* times."""
        return self.empty if high == 0 else self._make(Many, inner, low, high)

    def step(self, node: Node, byte: int) -> Node | None:
        """What may follow *byte*; None: it may not come here."""
        if not node.first >> byte & 1:
            return None
        if node.after is None:
            node.after = {}
        elif byte in node.after:
            return node.after[byte]
        made = node.after[byte] = self._step(node, byte)
        return made

    def _step(self, node: Node, byte: int) -> Node | None:
        self._spend(1)
        match node:
            case One():
                return self.empty
            case Seq():
                began = self._then(self.step(node.head, byte), node.tail)
                return self._either([began, self.step(node.tail, byte)]) if node.head.nullable else began
            case Alt():
                self._spend(len(node.branches) // FILTERED)
                return self._either([self.step(one, byte) for one in node.branches if one.first >> byte & 1])
            case Many():
                left = None if node.high is None else node.high - 1
                return self._then(self.step(node.inner, byte), self.many(node.inner, max(node.low - 1, 0), left))
        return None

    @property
    def count(self) -> int:
        """How many expressions there are."""
        return len(self._known)

    def keep(self, node: Node) -> None:
        """Forget every expression that *node* is not made of, and all steps that were taken."""
        made_of = {one: key for key, one in self._known.items()}
        rest, kept = [node], set[Node]()
        while rest:
            one = rest.pop()
            if one not in kept:
                kept.add(one)
                one.after = None
                for part in made_of.get(one, ()):
                    rest += [
                        each for each in (part if isinstance(part, frozenset) else (part,)) if isinstance(each, Node)
                    ]
        self._known = {key: one for key, one in self._known.items() if one in kept}
        self._bytes = {}

    def _spend(self, work: int) -> None:
        self.left -= work
        if self.left < 0:
            raise TooLargeError

    def _then(self, began: Node | None, tail: Node) -> Node | None:
        return None if began is None else self._before(began, tail)

    def _either(self, nodes: Collection[Node | None]) -> Node | None:
        possible = [node for node in nodes if node is not None]
        return self.alt(*possible) if possible else None

    def _before(self, head: Node, tail: Node) -> Node:
        if tail is self.empty:
            return head
        if not isinstance(head, Seq) and head is not self.empty:
            return self._make(Seq, head, tail)
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
        key = (kind, *parts)
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= self.limit:
                raise TooLargeError
            found = self._known[key] = kind(*parts)
        return found


def shared(one: bytes, other: bytes) -> int:
    """How many bytes at the beginning are the same."""
    for place, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return place
    return min(len(one), len(other))
